"""`tagstream serve` on Apache Kafka: what it publishes, and what it says where the topic is missing."""

import json
from pathlib import Path

import httpx
import msgspec
import pytest

from tagstream.monitoring.drift.findings import Finding
from tagstream.monitoring.drift.learning import ReferenceNote
from tagstream.stream.settings.settings import Settings
from tests.integration.dead_letters.planted_letters import contents
from tests.serving.running import service
from tests.waiting import HANG_SECONDS, until

pytestmark = pytest.mark.broker
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
EVENTS = [b'{"id": 7, "title": "Deploying models", "n": 1.50}', b'{"title": "A walk"}']


def test_an_answer_means_that_the_broker_has_the_events(environ: dict[str, str], settings: Settings, tmp_path: Path) -> None:
    """The events are on `content` byte by byte, with the trace of the request and without a key; a rejected one is not."""
    with service(tmp_path, **environ) as running:
        content = b"[%b, {}]" % b", ".join(EVENTS)
        found = httpx.post(
            f"{running.url}/classify?publish=true", content=content, headers={"traceparent": TRACE}, timeout=HANG_SECONDS
        )
        assert (found.status_code, found.headers["tagstream-published"]) == (200, "2"), found.text
        records = contents(settings, settings.topics.content)
        # A second request uses the same producer.
        again = httpx.post(f"{running.url}/classify?publish=true", content=EVENTS[0], timeout=HANG_SECONDS)
        assert again.status_code == 200
    assert sorted(record.value or b"" for record in records) == sorted(EVENTS)
    assert {(record.key, record.headers) for record in records} == {(None, (("traceparent", TRACE.encode()),))}
    assert [answer["destination"] for answer in found.json()][2] == "dlq"
    assert json.loads(again.content)["id"] == "7"


def test_a_topic_that_is_missing_is_said(environ: dict[str, str], tmp_path: Path) -> None:
    """The decision alone does not need it."""
    with service(tmp_path, **environ | {"TAGSTREAM_TOPICS__CONTENT": "missing-topic"}) as running:
        found = httpx.post(f"{running.url}/classify?publish=true", content=EVENTS[0], timeout=HANG_SECONDS)
        assert found.status_code == 503
        assert "missing-topic" in found.json()["detail"]
        assert httpx.post(f"{running.url}/classify", content=EVENTS[0], timeout=HANG_SECONDS).status_code == 200


def test_processes_share_a_reference_of_their_own_and_publish_what_they_find(
    environ: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    """The reference is under `GROUP-serve`; a process that starts later has it, and a flood of one client is on the topic `drift` by name."""
    small = {"TAGSTREAM_DRIFT_WINDOW_EVENTS": "100", "TAGSTREAM_DRIFT_LEARNING_SECONDS": "0"}
    folders = [tmp_path / name for name in ("first", "later")]
    for folder in folders:
        folder.mkdir()

    def ask(url: str, events: int, word: str = "", source: str = "app") -> None:
        rows = [{"title": f"Deploying model {at} {word}", "source": source} for at in range(events)]
        httpx.post(f"{url}/classify", content=json.dumps(rows).encode(), timeout=HANG_SECONDS).raise_for_status()

    def learned(url: str) -> bool:
        return "tagstream_reference_events 500.0" in httpx.get(f"{url}/metrics", timeout=HANG_SECONDS).text

    with service(folders[0], **environ, **small) as first:
        ask(first.url, 500)
        until(lambda: learned(first.url), "the first process has learned", state=first.log)
        notes = until(
            lambda: [
                note
                for record in contents(settings, settings.topics.references)
                if not (note := msgspec.json.decode(record.value or b"", type=ReferenceNote)).worker
            ],
            "the reference is on its topic",
            state=first.log,
        )
        assert {note.group for note in notes} == {f"{settings.group}-serve"}
        with service(folders[1], **environ, **small) as later:
            until(lambda: learned(later.url), "the later process has the reference of the first", state=later.log)
            ask(later.url, 100, "quantabyte", "crawler")
            found = until(
                lambda: [
                    msgspec.json.decode(record.value or b"", type=Finding)
                    for record in contents(settings, settings.topics.drift)
                ],
                "a finding is on the topic",
                state=later.log,
            )
    assert {one.flood and one.flood.source for one in found if one.score is not None} == {"crawler"}
