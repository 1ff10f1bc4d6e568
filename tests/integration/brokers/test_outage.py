"""A worker whose brokers are gone for a while, on a broker of its own."""

import os
import sys
import time
from pathlib import Path

import pytest

from tagstream.stream.broker.processes import Processes
from tagstream.stream.settings.loading import load
from tests.faults.cluster.brokers import StruckCluster
from tests.faults.cluster.topics import fault_environment, make_topics, send
from tests.faults.inputs import plant
from tests.faults.observer import TopicObserver
from tests.faults.worker.fleet import ROOT, Fleet, without_settings
from tests.integration.running import RunningWorker, all_committed, ended
from tests.waiting import HANG_SECONDS, until

pytestmark = pytest.mark.broker

EVENTS = 600
# For a minute without brokers; the clients alone would write some thousand lines.
MOST_LINES = 150


def test_a_worker_whose_brokers_are_away_says_so_and_comes_back(processes: Processes, tmp_path: Path) -> None:
    """A worker that has caught up is not ready while its brokers are gone, comes back with them, and keeps its log short."""
    with StruckCluster(nodes=1) as cluster:
        environ = {
            **fault_environment(cluster.bootstrap, "away"),
            "TAGSTREAM_STALL_TIMEOUT_SECONDS": "8",
            "TAGSTREAM_STATE_FOLDER": str(tmp_path / "state"),
        }
        settings = load(environ, folder=ROOT).settings
        make_topics(settings)
        fleet = Fleet(
            processes=processes, module="tests.faults.worker", environ=environ, seconds_per_batch=0.0, folder=tmp_path
        )
        worker = RunningWorker(fleet.add(1).process)
        with TopicObserver(settings) as observer:
            send(settings, plant(EVENTS, malformed=6, seed="before"))
            all_committed(observer)
        assert worker.get("/readyz")[0] == 200
        tail = processes.start(
            [sys.executable, "-m", "tagstream.stream.cli.main", "tail", "tagged", "--from-beginning"],
            env={
                **without_settings(os.environ),
                **environ,
                "PYTHONPATH": str(ROOT),
                "TAGSTREAM_STARTUP_TIMEOUT_SECONDS": "3",
            },
            log_file=tmp_path / "tail.log",
        )
        until(lambda: ".tagged " in tail.output(), "`tail` shows an outcome", process=tail)

        cluster.outage(seconds=HANG_SECONDS)
        # A machine that stalls gives another reason first.
        until(lambda: "the brokers have not answered for" in worker.get("/readyz")[1], "/readyz says who does not answer")
        assert worker.get("/readyz")[0] == 503
        assert worker.get("/healthz")[0] == 200
        assert time.time() - worker.metric("tagstream_position_timestamp_seconds") > 8
        # An empty topic and unreachable brokers look the same to a reader, so it asks the brokers.
        ended(tail)
        assert (tail.exit_code, "no Kafka broker answered" in tail.output()) == (3, True)
        cluster.mend()

        with TopicObserver(settings) as observer:
            send(settings, plant(EVENTS, malformed=6, seed="after", first=1000))
            all_committed(observer)
            worker.until_ready()
            assert sum(map(len, observer.outcomes().values())) >= 2 * EVENTS
        assert "position_known_again" in worker.process.output()
        assert len(worker.process.output().splitlines()) < MOST_LINES
        code = worker.stop()
    assert code == 0
    assert not list((tmp_path / "state").glob("*.mark"))
