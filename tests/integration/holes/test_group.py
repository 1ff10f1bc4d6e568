"""A consumer group that was deleted: its workers decide old events again, and it is said."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from tagstream import ForeignModel
from tagstream.stream.broker.processes import Processes
from tests.integration.command_line import Command, lines
from tests.integration.running import RunningWorker, Start
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.slow]

EVENTS = 5


def test_a_deleted_group_is_said_by_the_doctor_and_by_the_next_worker(
    environ: dict[str, str], processes: Processes, tagstream: Command, tmp_path: Path
) -> None:
    """The first worker of a new installation says nothing of the kind; after the group is deleted, both say that events come again."""
    rules = environ | {"TAGSTREAM_DECIDER": "rules"}

    def worker(number: int) -> RunningWorker:
        argv = [sys.executable, "-m", "tagstream.stream.cli.main", "worker"]
        started = RunningWorker(processes.start(argv, env=rules, log_file=tmp_path / f"worker-{number}.log"))
        started.until_ready()
        return started

    first = worker(1)
    producer = KafkaProducer(bootstrap_servers=environ["TAGSTREAM_BROKERS"], acks="all")
    for number in range(EVENTS):
        event = json.dumps({"id": f"e-{number}", "title": "a walk along the river"}).encode()
        producer.send(environ["TAGSTREAM_TOPICS__CONTENT"], value=event).get(timeout=HANG_SECONDS)
    first.until_metric("tagstream_events_published_total", lambda count: count == EVENTS)
    first.until_metric("tagstream_committed_lag_events", lambda lag: lag == 0)
    assert first.stop() == 0
    before = checks(tagstream, rules)["last commit"]
    assert before["status"] == "OK"
    again = worker(2)
    assert again.stop() == 0
    for one in (first, again):
        assert "group_has_no_commit" not in one.process.output()

    client = KafkaAdminClient(bootstrap_servers=environ["TAGSTREAM_BROKERS"])
    until(lambda: client.delete_groups([environ["TAGSTREAM_GROUP"]]) or True, "the group is deleted")
    client.close()
    found = checks(tagstream, rules)["last commit"]
    assert found["status"] == "WARN"
    assert f"{EVENTS} outcomes" in found["detail"]
    assert f"decide {EVENTS} events again" in found["detail"]
    last = worker(3)
    last.until_metric("tagstream_events_published_total", lambda count: count == EVENTS)
    said = [json.loads(line) for line in last.process.output().splitlines() if "group_has_no_commit" in line]
    assert [(one["outcomes"], one["group"]) for one in said] == [(EVENTS, environ["TAGSTREAM_GROUP"])]


def test_a_worker_beside_an_application_with_a_model_of_its_own_says_nothing_of_the_kind(
    environ: dict[str, str], start: Start
) -> None:
    """Outcomes lie on the topics, and no event: the first worker of the group, which publishes answers, decides nothing again."""
    producer = KafkaProducer(bootstrap_servers=environ["TAGSTREAM_BROKERS"], acks="all")
    found = ForeignModel("intents", "7", ["billing", "login"], thresholds=0.8, settings={"audit_rate": 0}).decide(
        {"id": "t-1", "title": "I cannot sign in"}, {"billing": 0.1, "login": 0.9}
    )
    producer.send(environ["TAGSTREAM_TOPICS__TAGGED"], value=found.records[0].value).get(timeout=HANG_SECONDS)
    producer.close()
    worker = start()
    worker.until_ready()
    assert worker.stop() == 0
    assert "group_has_no_commit" not in worker.process.output()


def checks(tagstream: Command, environ: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The doctor's findings, by check."""
    return {str(one["check"]): one for one in lines(tagstream("doctor", "--json", environ=environ).stdout)}
