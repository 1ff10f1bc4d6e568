"""`tagstream doctor` on the consumer group: with events that wait and no worker, and with a worker."""

import json

import pytest

from tagstream.stream.settings.settings import Settings
from tests.faults.cluster.topics import send
from tests.faults.inputs import plant
from tests.faults.observer import TopicObserver
from tests.integration.command_line import Command
from tests.integration.running import Start, all_committed

pytestmark = [pytest.mark.broker, pytest.mark.slow]

EVENTS = 200


def test_events_that_wait_without_a_worker_fail_the_doctor(
    tagstream: Command, environ: dict[str, str], settings: Settings, start: Start
) -> None:
    """Without a worker `doctor` ends with 1 and the lag by partition, and with one with 0 and the worker's name."""
    send(settings, plant(EVENTS, malformed=6, seed="doctor"))
    alone = tagstream("doctor", environ=environ)
    said = alone.stdout.decode()
    count, partitions = EVENTS, settings.topic_partitions
    each = [count // partitions + (number < count % partitions) for number in range(partitions)]
    by_partition = ", ".join(f"{number}: {waiting}" for number, waiting in enumerate(each))
    assert alone.returncode == 1, said
    assert f"{count} events of {settings.topics.content} (by partition {by_partition}); the oldest was written " in said
    assert f"the group {settings.group} has no member" in said
    assert f"the group {settings.group} has never committed on {settings.topics.content}" in said

    worker = start()
    with TopicObserver(settings) as observer:
        all_committed(observer)
    watched = tagstream("doctor", "--json", environ={**environ, "TAGSTREAM_METRICS_PORT": worker.url.rpartition(":")[2]})
    found = {line["check"]: line for line in map(json.loads, watched.stdout.splitlines())}
    assert watched.returncode == 0, watched.stdout.decode()
    assert (
        f"1 member of {settings.group}, {partitions} of {partitions} partitions of {settings.topics.content} held: faust-"
        in found["members"]["detail"]
    )
    assert found["waiting"]["detail"] == f"no event of {settings.topics.content} waits"
    assert [place["committed"] for place in found["waiting"]["standing"]["places"]] == each
    assert "the newest committed event was written " in found["last commit"]["detail"]
    assert found["metrics"]["fix"] == ""
    assert found["metrics"]["detail"] == f"a worker answers at {worker.url}/metrics"

    assert worker.stop() == 0
    send(settings, plant(1, malformed=0, seed="later", first=1000))
    left = tagstream("doctor", "--json", environ=environ)
    waiting = next(line for line in map(json.loads, left.stdout.splitlines()) if line["check"] == "waiting")
    assert (left.returncode, waiting["status"]) == (1, "FAIL")
    assert waiting["detail"].startswith(f"1 event of {settings.topics.content} (by partition 0: 1)")
