"""What may decide about a challenger: the answer that holds, outcomes once each, and no reader's report by itself. From outside, by commands and topics."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import KafkaProducer

from tagstream.model_export.bundle import bundle as bundles
from tagstream.model_export.bundle.bundle import Bundle
from tagstream.stream.broker.processes import Processes
from tagstream.stream.contract.answers import Answer, Said, answer_to, write_answer
from tagstream.stream.contract.consumer_outcomes import ConsumerOutcome, write_outcome
from tagstream.stream.contract.outcome import ModelRef, timestamp
from tagstream.stream.contract.published import DecidedEvent, read_decision
from tagstream.stream.contract.reports import Report, write_report
from tagstream.stream.contract.shadow_records import Shadowed, ShadowSide, write_shadowed
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings
from tests.faults.worker.fleet import ROOT
from tests.integration.command_line import Command
from tests.integration.running import RunningWorker
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.slow]
EVENTS = 150
SHARE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A challenger with a share of the keys, and what both have decided: each event has a key of its own."""

    environ: dict[str, str]
    settings: Settings
    tagstream: Command
    events: list[DecidedEvent]

    def of(self, arm: str) -> list[DecidedEvent]:
        """The events that this arm decided."""
        return [one for one in self.events if one.decision.model.arm == arm]

    def put(self, topic: str, values: Iterable[tuple[str, bytes]]) -> None:
        """Write records, as anybody may who has the right to: event id and value."""
        producer = KafkaProducer(bootstrap_servers=self.settings.broker_list, acks="all")
        for event_id, value in values:
            producer.send(topic, key=event_id.encode(), value=value)
        producer.flush(HANG_SECONDS)
        producer.close()

    def answer(self, given: Iterable[tuple[DecidedEvent, Answer]]) -> None:
        """Write answers."""
        self.put(self.settings.topics.reviewed, ((on.event.id, write_answer(on.event.fields, one)) for on, one in given))

    def gate(self, name: str) -> dict[str, Any]:
        """A gate of the verdict as the command prints it now, with the decision of all of them and what does not count."""
        done = self.tagstream("rollout", "status", "--verdict", "--json", environ=self.environ)
        assert done.returncode == 0, done.stderr.decode()
        said = json.loads(done.stdout)
        beside = {name: said[name] for name in ("decision", "unread", "unknown_outcomes")}
        return next(one for one in said["gates"] if one["name"] == name) | beside

    def seen(self, name: str, holds: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """The gate once this holds of it: outcomes and reports are read when they are half a minute old."""
        until(lambda: holds(self.gate(name)), what, state=lambda: self.gate(name))
        return self.gate(name)


@pytest.fixture
def canary(environ: dict[str, str], processes: Processes, tagstream: Command, tiny_bundle: Bundle, tmp_path: Path) -> Canary:
    """A worker, a canary of the same network under another version, and the decisions of its epoch."""
    content = environ["TAGSTREAM_TOPICS__CONTENT"]
    environ = {
        **environ,
        "TAGSTREAM_BUNDLE": str(tiny_bundle.path),
        "TAGSTREAM_METRICS_PORT": "0",
        "TAGSTREAM_ROLLOUT__BUNDLES": str(tmp_path / "bundles"),
        "TAGSTREAM_ROLLOUT__TOPIC": f"{content}-rollout",
        "TAGSTREAM_ROLLOUT__WORKERS_TOPIC": f"{content}-rollout.workers",
    }
    settings = load(environ, folder=ROOT).settings
    argv = [sys.executable, "-m", "tagstream.stream.cli.main", "worker"]
    RunningWorker(processes.start(argv, env=environ, log_file=tmp_path / "worker.log")).until_ready()
    manifest = msgspec.structs.replace(tiny_bundle.manifest, version="2")
    new = bundles.write(tmp_path / "new", manifest=manifest, model=tiny_bundle.model, tokenizer=tiny_bundle.tokenizer)
    words = ("--share", str(SHARE), "--require", "outcome:clicks=0.1")
    done = tagstream("rollout", "canary", str(new.path), *words, environ=environ)
    assert done.returncode == 0, done.stderr.decode()
    found = Canary(environ=environ, settings=settings, tagstream=tagstream, events=[])
    ids = [f"e-{number}" for number in range(EVENTS)]
    found.put(content, ((name, json.dumps({"id": name, "title": f"a walk along the river, {name}"}).encode()) for name in ids))

    def decided() -> dict[str, DecidedEvent]:
        read = (
            read_decision(record)
            for topic in (settings.topics.tagged, settings.topics.review)
            for record in _all(settings, topic)
        )
        return {one.event.id: one for one in read if isinstance(one, DecidedEvent)}

    until(lambda: len(decided()) == EVENTS, "every event is decided")
    found.events.extend(decided().values())
    return found


def test_reports_of_readers_end_no_canary_by_themselves(canary: Canary) -> None:
    """One reader reports each decision of the challenger: nothing follows until people find its tags wrong, and their corrections take that back."""
    its = canary.of("challenger")
    assert len(its) >= 10, "150 units at a share of 0.2 give fewer once in a million runs"
    # A report on the champion's, which a person confirms: by it is seen that the others were read too.
    known = canary.of("champion")[0]
    reports = [Report(event_id=one.event.id, reporter="bob", reported_at=_now()) for one in (*its, known)]
    canary.put(canary.settings.topics.reports, ((one.event_id, write_report(one)) for one in reports))
    first = {one.event.id: _answer(one, right=False) for one in (known, *its)}
    canary.answer([(known, first[known.event.id])])
    found = canary.seen("reports", lambda gate: gate["figures"]["units"] > 0, "the reports are read")
    assert found["state"] == "passes", found
    assert found["figures"]["challenger"] == 0, found
    assert found["decision"] != "roll_back", found

    canary.answer([(one, first[one.event.id]) for one in its])
    found = canary.gate("reports")
    assert (found["figures"]["challenger"], found["state"]) == (len(its), "worse"), found

    canary.answer([(one, _answer(one, right=True, previous=first[one.event.id])) for one in its])
    found = canary.gate("reports")
    assert (found["figures"]["challenger"], found["state"]) == (0, "passes"), found
    assert found["decision"] != "roll_back", found


def test_an_old_answer_that_is_written_again_does_not_override_its_correction(canary: Canary) -> None:
    """The greatest version holds for the verdict as it does on `tagged`: every corrected answer speaks for the champion, whatever comes after it."""
    events = canary.of("champion")[:40]
    champion = events[0].decision.model
    challenger = canary.of("challenger")[0].decision.model
    canary.put(canary.settings.topics.shadow, ((one.event.id, _disagreement(one, champion, challenger)) for one in events))
    first = [(one, _answer(one, right=False)) for one in events]
    canary.answer([(one, _answer(one, right=True, previous=answer)) for one, answer in first])
    canary.answer(first)
    found = canary.seen("answers", lambda gate: gate["figures"]["events"] == len(events), "the shadow is read")
    counts = {name: found["figures"][name] for name in ("answers", "champion", "challenger")}
    assert counts == {"answers": len(events), "champion": len(events), "challenger": 0}, found


def test_outcomes_count_once_by_the_arm_of_their_event(canary: Canary) -> None:
    """Written twice, corrected, about a stranger's event, or no numbers: each unit has one value, and the rest is said and counted."""
    its, champion, topic = canary.of("challenger"), canary.of("champion"), canary.settings.topics.outcomes
    clicks = [(one.event.id, _outcome(one.event.id, "clicks", float(number % 2))) for number, one in enumerate(its)]
    clicks += [(one.event.id, _outcome(one.event.id, "clicks", 0.0)) for one in champion]
    minutes = [(one.event.id, _outcome(one.event.id, "minutes", 2.5)) for one in its]
    canary.put(topic, [*clicks, *clicks, *minutes])
    canary.put(topic, [(one.event.id, _outcome(one.event.id, "clicks", 1.0)) for one in champion])
    bad = [b'{"value":NaN}', clicks[0][1].replace(b"0.0", b'"0"'), clicks[0][1].replace(b"clicks", b"c" * 65)]
    strangers = [(f"ghost-{number}", _outcome(f"ghost-{number}", "clicks", 1.0)) for number in range(12)]
    # The last of each partition: once they are read, all is.
    canary.put(topic, [*(("", value) for value in bad), *strangers])
    found = canary.seen("outcome clicks", lambda gate: gate["unknown_outcomes"] == 12 and gate["unread"] == 3, "all are read")
    figures = found["figures"]
    assert (figures["units_challenger"], figures["units_champion"]) == (len(its), len(champion)), found
    assert figures["champion"] == 1.0, found
    assert figures["challenger"] == pytest.approx((len(its) // 2) / len(its)), found
    assert found["state"] == "waits", "it is required, and has no proof"
    assert canary.gate("outcome minutes")["state"] == "passes", "it is shown alone"
    said = canary.tagstream("rollout", "status", "--verdict", environ=canary.environ).stderr.decode()
    assert f"12 records of {topic} on events that this epoch has not decided do not count" in said
    assert "3 records of shadow, reviewed, reports or outcomes cannot be read, and do not count; the last: " in said


def _outcome(event_id: str, name: str, value: float) -> bytes:
    return write_outcome(ConsumerOutcome(event_id=event_id, name=name, value=value, at=_now()))


def _all(settings: Settings, topic: str) -> Iterator[Any]:
    with log_of(settings, topic) as log:
        yield from log.read()


def _now() -> str:
    return timestamp(int(time.time() * 1000))


def _other(shown: DecidedEvent) -> str:
    return next(label for label in shown.decision.probabilities if label != shown.decision.tag)


def _answer(shown: DecidedEvent, *, right: bool, previous: Answer | None = None) -> Answer:
    """A person's answer on a decision: its tag is right, or another one is."""
    said = Said(tag=shown.decision.tag if right else _other(shown), reviewer="ann", blind=False, asked_by="review")
    return answer_to(shown, said, now_ms=int(time.time() * 1000), previous=previous)


def _disagreement(shown: DecidedEvent, champion: ModelRef, challenger: ModelRef) -> bytes:
    """What a shadow would write of an event on which the challenger names another tag, and about which people are asked."""
    tags = {"champion": (shown.decision.tag, champion), "challenger": (_other(shown), challenger)}
    sides = {
        arm: ShadowSide(tag=tag, confidence=0.5, destination="review", prediction_id=shown.decision.prediction_id, model=model)
        for arm, (tag, model) in tags.items()
    }
    return write_shadowed(
        Shadowed(event_id=shown.event.id, partition=0, offset=0, inclusion_probability=1.0, compared_at=_now(), **sides)
    )
