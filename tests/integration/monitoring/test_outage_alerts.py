"""A broker that is killed and comes back, seen by a real Prometheus with the project's rules at their real pace."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tagstream.stream.broker.ports import free_ports
from tagstream.stream.broker.processes import Processes
from tagstream.stream.settings.loading import load
from tests.faults.cluster.topics import fresh_environment, make_topics, send
from tests.faults.inputs import Planted
from tests.faults.worker.fleet import ROOT
from tests.integration.monitoring.watching import launched, started, watching
from tests.kafka_cluster import KafkaCluster
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.long, pytest.mark.needs("prometheus")]

BEFORE_SECONDS, OUTAGE_SECONDS, AFTER_SECONDS = 20.0, 75.0, 300.0
EVENTS, EVERY_SECONDS = 20, 5.0


def test_no_page_fires_within_five_minutes_of_a_brokers_return(
    processes: Processes, tmp_path: Path, tiny_bundle_folder: Path, publish_report: Callable[[object], None]
) -> None:
    """A broker is killed for more than a minute under a steady stream; no alert of the tier `page` fires until five minutes later."""
    (port,) = free_ports(1)
    with KafkaCluster(data_dir=tmp_path / "kafka", start_timeout_seconds=HANG_SECONDS) as kafka:
        environ = {
            **fresh_environment(kafka.bootstrap, "outage-alerts"),
            "TAGSTREAM_BUNDLE": str(tiny_bundle_folder),
            "TAGSTREAM_METRICS_PORT": str(port),
            "TAGSTREAM_STATE_FOLDER": str(tmp_path / "state"),
        }
        settings = load(environ, folder=ROOT).settings
        make_topics(settings)
        numbers = itertools.count()
        worker = started(processes, environ, tmp_path / "worker.log")
        worker.until_ready()
        process = worker.process
        prometheus = watching(processes, {"tagstream": [worker.url]}, tmp_path, real_pace=True)

        def goes_on(seconds: float, *, sends: bool) -> None:
            """Live for so long; a worker that has ended is started again, as an orchestrator does."""
            end, due = time.monotonic() + seconds, 0.0

            def step() -> bool:
                nonlocal process, due
                if not process.running():
                    process = launched(processes, environ, tmp_path / "worker.log")
                if sends and time.monotonic() >= due:
                    due = time.monotonic() + EVERY_SECONDS
                    send(settings, [planted(next(numbers)) for _ in range(EVENTS)])
                return time.monotonic() >= end

            until(step, f"{seconds:g} s are over", seconds=HANG_SECONDS)

        goes_on(BEFORE_SECONDS, sends=True)
        began = time.time()
        kafka.kill(1)
        goes_on(OUTAGE_SECONDS, sends=False)
        kafka.start()
        back = time.time()
        goes_on(AFTER_SECONDS, sends=True)
        during = prometheus.states(since=began, before=back)
        after = prometheus.states(since=back, before=time.time())
        publish_report(f"during the outage: {sorted(during)}; in the five minutes after: {sorted(after)}")
        assert prometheus.value('sum(up{job="tagstream"})') == 1
        assert worker.until_ready()
    assert {one for one in (*during, *after) if one[1:] == ("page", "firing")} == set()


def planted(number: int) -> Planted:
    """An ordinary event."""
    return Planted(
        event_id=f"e{number}", key=None, value=b'{"id": "e%d", "title": "Deploying models with Kubernetes"}' % number
    )
