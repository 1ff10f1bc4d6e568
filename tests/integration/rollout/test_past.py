"""`tagstream rollout shadow` over the past, on a real broker: the same bundle differs nowhere, another one exactly where the two differ on the texts."""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.model import OnnxClassifier
from tagstream.model_export.measure import paired
from tagstream.stream.broker.processes import Processes
from tagstream.stream.contract.answers import Said, answer_to, write_answer
from tagstream.stream.contract.event import ContentEvent, Record, decode
from tagstream.stream.contract.published import DecidedEvent, read_decision
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.settings.settings import Settings
from tests.faults.upstream.producers import end_hung, send_varied
from tests.faults.upstream.variety import varied
from tests.hostile.corpus import corpus
from tests.integration.command_line import Command, lines
from tests.integration.delivery.test_hostile import send, sendable
from tests.integration.rollout.conftest import StartReal, altered, records, sent
from tests.waiting import until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(1800), pytest.mark.slow]
BIN = Path(sys.executable).parent


def compared(tagstream: Command, environ: dict[str, str], *words: str | Path) -> dict[str, Any]:
    """The comparison of a run that ends well."""
    done = tagstream("rollout", "shadow", "--json", "--since", "beginning", *words, environ=environ)
    assert done.returncode == 0, done.stderr.decode()
    (found,) = lines(done.stdout)
    return found


def test_the_same_bundle_differs_on_no_event(
    tagstream: Command, rollout_environ: dict[str, str], rollout_settings: Settings, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """Over all sizes, codecs, transactions and hostile bytes: each event is compared and alike, or a dead letter for both."""
    planted = varied(3000, malformed=60, seed="past")
    send_varied(rollout_settings, planted)
    end_hung(rollout_settings)
    hostile = [sendable(record) for _, record in corpus(2000)]
    send(rollout_settings, hostile)
    rows = tmp_path / "rows.jsonl"
    found = compared(tagstream, rollout_environ, altered(tiny_bundle, tmp_path, "2"), "--rows", rows)
    events = sum(one.is_event for one in planted) + len(hostile)
    assert (found["events"], found["drawn"]) == (events, events)
    assert found["compared"] + found["dead_letters"] == events
    assert found["dead_letters"] == sum(one.is_event and one.event_id is None for one in planted) + sum(
        bool(one.codes) for one in hostile
    )
    assert found["same"] == found["compared"] > 3000
    assert (found["discordant"], found["moved"], found["refused_by_new"], found["refused_by_old"]) == (0, 0, 0, 0)
    assert rows.read_bytes() == b""


def test_another_bundle_differs_exactly_where_an_evaluation_says_so(
    tagstream: Command,
    rollout_environ: dict[str, str],
    rollout_settings: Settings,
    tiny_bundle: Bundle,
    another: Bundle,
    tmp_path: Path,
) -> None:
    """The rows are those whose predictions differ, and who was right is what the paired test of `model evaluate --against` counts."""
    texts = sent(rollout_settings, 1500)
    labels = tiny_bundle.manifest.labels
    gold = {event_id: labels[number % len(labels)] for number, event_id in enumerate(texts)}
    answer(rollout_settings, gold)
    ours, theirs = (OnnxClassifier(one).classify(list(texts.values())) for one in (another, tiny_bundle))
    test = paired.compare(ours, theirs, [gold[event_id] for event_id in texts], labels=labels)
    discordant = {one for one, new, old in zip(texts, ours, theirs, strict=True) if new.label != old.label}
    rows, page = tmp_path / "rows.jsonl", tmp_path / "page.html"
    found = compared(tagstream, rollout_environ, another.path, "--rows", rows, "--html", page)
    written = lines(rows.read_bytes())
    assert {row["id"] for row in written if row["old"]["tag"] != row["new"]["tag"]} == discordant
    assert len(discordant) > 100
    assert found["discordant"] == found["answered"] == len(discordant)
    assert (found["new_right"], found["old_right"]) == (test.only_ours, test.only_theirs)
    assert found["new_right"] > 0 < found["old_right"]
    assert {row["id"]: row["answer"] for row in written} == {row["id"]: gold[row["id"]] for row in written}
    assert "title" not in written[0]
    assert found["slices"]["source"].keys() == {"web", "mail"}
    assert f"Of {len(discordant):,} discordant" in page.read_text(encoding="utf-8")
    # A sample is a part of it, the same each time, and a range ends where it is told to.
    part, again = (compared(tagstream, rollout_environ, another.path, "--sample", "0.3") for _ in range(2))
    assert part == again
    assert 300 < part["drawn"] < 600
    assert 0 < part["discordant"] < found["discordant"]
    ends = "0:10,1:0,2:0,3:0,4:0,5:0"
    assert compared(tagstream, rollout_environ, another.path, "--until", ends)["events"] == 10


def test_what_was_published_is_an_end(
    tagstream: Command,
    rollout_environ: dict[str, str],
    rollout_settings: Settings,
    start_real: StartReal,
    another: Bundle,
    tiny_bundle_folder: Path,
) -> None:
    """A worker's decisions are those of its bundle in every figure; people's decisions on `tagged` are answers and no end."""
    texts = sent(rollout_settings, 600)
    start_real(0)
    topics = rollout_settings.topics
    until(lambda: sum(1 for _ in records(rollout_settings, topics.tagged, topics.review)) >= len(texts), "all are decided")
    answer(rollout_settings, dict.fromkeys(list(texts)[:50], "other"))
    until(
        lambda: sum(1 for _ in records(rollout_settings, topics.tagged, topics.review)) >= len(texts) + 50,
        "answers are decided",
    )
    same = compared(tagstream, rollout_environ, tiny_bundle_folder, "--against", "recorded")
    assert (same["compared"], same["same"], same["unrecorded"]) == (600, 600, 0)
    bundle, recorded = (compared(tagstream, rollout_environ, another.path, *words) for words in ((), ("--against", "recorded")))
    assert bundle["discordant"] > 0
    for name in ("tags", "doors", "labels", "slices", "same", "answered", "new_right", "old_right"):
        assert recorded[name] == bundle[name], name
    later = compared(tagstream, rollout_environ, another.path, "--against", "recorded", "--since", "2020-01-01T00:00Z")
    assert later["tags"] == recorded["tags"]


def test_a_run_that_is_killed_goes_on_to_the_same_counts(
    tagstream: Command,
    processes: Processes,
    rollout_environ: dict[str, str],
    rollout_settings: Settings,
    another: Bundle,
    tmp_path: Path,
) -> None:
    """The rows are the same bytes too; another question under the same state is refused."""
    sent(rollout_settings, 1200)
    whole = compared(tagstream, rollout_environ, another.path, "--rows", tmp_path / "whole.jsonl")
    state, rows = tmp_path / "state.json", tmp_path / "rows.jsonl"
    words = (str(another.path), "--rows", str(rows), "--state", str(state))
    began = time.monotonic()
    running = processes.start(
        [BIN / "tagstream", "rollout", "shadow", "--since", "beginning", *words, "--rate", "100"],
        env=os.environ | rollout_environ,
        log_file=tmp_path / "log",
    )
    until(state.exists, "a state is written", process=running)
    running.kill()
    kept = json.loads(state.read_text(encoding="utf-8"))["comparison"]["events"]
    assert 0 < kept < 1200
    # At most a second's worth of events ahead of the rate, and the time of the start.
    assert kept <= 100 * (time.monotonic() - began + 1)
    found = compared(tagstream, rollout_environ, *words)
    assert {**found, "shown": None} == {**whole, "shown": None}
    assert rows.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert compared(tagstream, rollout_environ, *words) == found
    refused = tagstream("rollout", "shadow", "--since", "beginning", *words, "--sample", "0.5", environ=rollout_environ)
    assert (refused.returncode, b"--sample was 1.0, and is 0.5" in refused.stderr) == (2, True), refused.stderr


def test_bad_input_is_a_sentence(
    tagstream: Command, rollout_environ: dict[str, str], rollout_settings: Settings, another: Bundle, tmp_path: Path
) -> None:
    """Each with the next step, and no traceback."""
    sent(rollout_settings, 300)
    new = str(another.path)
    cases: list[tuple[tuple[str, ...], dict[str, str], int, str]] = [
        (("0" * 64,), {}, 1, "there is no such folder"),
        (("0" * 64,), {"TAGSTREAM_ROLLOUT__BUNDLES": ""}, 1, "TAGSTREAM_ROLLOUT__BUNDLES"),
        (("nowhere",), {}, 2, "nor the digest"),
        ((str(tmp_path),), {}, 1, "is refused"),
        ((new, "--since", "2026-02-01T00:00Z", "--until", "2026-01-01T00:00Z"), {}, 2, "--since lies after --until"),
        ((new, "--since", "0:1", "--until", "0:0"), {}, 2, "--since lies after --until in partition 0"),
        ((new, "--until", "0:99999"), {}, 2, "ends there at"),
        ((new, "--since", "77:0"), {}, 2, "names partition 77"),
        ((new, "--since", "yesterday"), {}, 2, "neither a time nor offsets"),
        ((new,), {"TAGSTREAM_TOPICS__CONTENT": "no.such.topic"}, 2, "has no topic 'no.such.topic'"),
        ((new, "--with-text"), {}, 2, "--rows"),
        ((new, "--rows", str(tmp_path / "no" / "rows")), {}, 1, "cannot be written"),
    ]
    for words, changes, code, said in cases:
        done = tagstream("rollout", "shadow", "--since", "beginning", *words, environ={**rollout_environ, **changes})
        shown = done.stderr.decode()
        assert (done.returncode, said in shown, "Traceback" in shown) == (code, True, False), (words, shown)
        assert "Next: " in shown, words


def answer(settings: Settings, tags: dict[str, str]) -> None:
    """A person's answer on each of these events, whose texts are in the topic."""
    pipeline = pipeline_of(settings)
    producer = KafkaProducer(bootstrap_servers=settings.broker_list, acks="all")
    for record, shown in _decided(settings, pipeline.publications):
        if shown.event.id in tags:
            said = Said(tag=tags[shown.event.id], reviewer="bo", blind=True, asked_by="review")
            made = answer_to(shown, said, now_ms=int(time.time() * 1000))
            producer.send(settings.topics.reviewed, key=record.key, value=write_answer(shown.event.fields, made))
    producer.flush(60)
    producer.close()


def _decided(settings: Settings, publications: Any) -> Iterator[tuple[Record, DecidedEvent]]:
    content = [one for one in records(settings, settings.topics.content) if isinstance(decode(one), ContentEvent)]
    for record, publication in zip(content, publications(content), strict=True):
        found = read_decision(
            Record(topic=publication.destination.value, key=publication.key, value=publication.value, headers=())
        )
        assert isinstance(found, DecidedEvent)
        yield record, found
