"""A challenger is promoted or sent back by what people answer, by a program that reads the topics alone."""

import asyncio
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from kafka import KafkaProducer

from tagstream.model_export.bundle import bundle as bundles
from tagstream.model_export.bundle.bundle import Bundle
from tagstream.stream.broker.processes import Processes
from tagstream.stream.contract.answers import Said, answer_to, write_answer
from tagstream.stream.contract.outcome import ModelRef, timestamp
from tagstream.stream.contract.published import DecidedEvent, read_decision
from tagstream.stream.contract.rollout_records import Verdict
from tagstream.stream.contract.shadow_records import Shadowed, ShadowSide, read_shadowed, write_shadowed
from tagstream.stream.decide.pipeline import Draw
from tagstream.stream.rollout import evidence_reader
from tagstream.stream.rollout.control import Begun
from tagstream.stream.rollout.history import history
from tagstream.stream.rollout.verdict import RolloutStep
from tagstream.stream.rollout.watch import Judged, Watch
from tagstream.stream.settings.settings import Settings
from tests.data import make_tiny_bundle
from tests.integration.command_line import Command
from tests.integration.rollout.conftest import Producer, StartReal, judged, records, sent
from tests.integration.running import get
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(1800)]
BIN = Path(sys.executable).parent
LABELS = ("computer-vision", "mlops")
DISAGREEMENTS = 600


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of `shadow` count at once: the outcomes are in the topics before these tests write them."""
    monkeypatch.setattr(evidence_reader, "SETTLED_MS", 0)


class Crowd:
    """Writes what a shadow and people would: disagreements about published events, and answers that favour one side."""

    def __init__(self, settings: Settings, models: dict[str, ModelRef]) -> None:
        """Speak of these two models."""
        self._settings = settings
        self._models = models

    def disagree(self, events: Iterator[DecidedEvent], number: int, right: str) -> None:
        """The two name other tags for so many events, and a person agrees with one of them; on the others they agree."""
        producer = KafkaProducer(bootstrap_servers=self._settings.broker_list, acks="all")
        now_ms = int(time.time() * 1000)
        for place, shown in zip(count(), events, strict=False):
            key = shown.event.id.encode()
            tags = (
                dict(zip(("champion", "challenger"), LABELS, strict=True))
                if place < number
                else dict.fromkeys(self._models, LABELS[0])
            )
            sides = {
                arm: ShadowSide(
                    tag=tags[arm], confidence=0.5, destination="review", prediction_id=shown.decision.prediction_id, model=model
                )
                for arm, model in self._models.items()
            }
            said = Shadowed(
                event_id=shown.event.id,
                partition=0,
                offset=place,
                inclusion_probability=1.0,
                compared_at=timestamp(now_ms),
                **sides,
            )
            producer.send(self._settings.topics.shadow, key=key, value=write_shadowed(said))
            if place < number:
                words = Said(tag=tags[right], reviewer="ann", blind=True, asked_by="review")
                answer = answer_to(shown, words, now_ms=now_ms)
                producer.send(self._settings.topics.reviewed, key=key, value=write_answer(shown.event.fields, answer))
        producer.flush(60)
        producer.close()


def published(settings: Settings) -> Iterator[DecidedEvent]:
    """Every decision of the canary's epoch."""
    for record in records(settings, settings.topics.tagged, settings.topics.review):
        found = read_decision(record)
        if isinstance(found, DecidedEvent) and found.decision.model.epoch == "1":
            yield found


def refs(settings: Settings) -> dict[str, ModelRef]:
    """The two models of the first epoch."""
    _, epochs = asyncio.run(history(settings))
    models = epochs.models(1)
    assert models.challenger is not None
    pairs = {"champion": models.champion, "challenger": models.challenger.bundle}
    return {
        arm: ModelRef(name=one.name, version=one.version, digest=one.digest, epoch="1", arm=arm) for arm, one in pairs.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("ending", [("challenger", "promote", "2"), ("champion", "roll_back", "1")], ids=["better", "worse"])
def test_people_decide_which_of_two_models_stays(
    start_real: StartReal,
    rollout_settings: Settings,
    rollout_environ: dict[str, str],
    promote: Callable[..., bytes],
    tagstream: Command,
    ending: tuple[str, str, str],
) -> None:
    """Of 2,000 events they disagree on 600. Two watchers see the proof, one of them acts; the reason is in the topic; no event has two models."""
    right, decision, version = ending
    start_real(0)
    promote("2", "--share", "0.3", "--margin", "0.02", verb="canary")
    producer = Producer(rollout_settings, 400)
    while producer.sent < 2_000:
        time.sleep(0.1)
    total = producer.stop()
    judged(rollout_settings, total)
    waiting = tagstream("rollout", "status", "--verdict", "--json", environ=rollout_environ)
    assert waiting.returncode == 0, waiting.stderr.decode()
    assert json.loads(waiting.stdout)["decision"] == "wait"
    Crowd(rollout_settings, refs(rollout_settings)).disagree(published(rollout_settings), DISAGREEMENTS, right)
    one, two = Watch(rollout_settings), Watch(rollout_settings)

    async def look_and_act() -> tuple[Judged, Begun | None, Begun | None]:
        seen, also = await one.look(), await two.look()
        return seen, await one.act(seen), await two.act(also)

    seen, begun, again = asyncio.run(look_and_act())
    assert seen.verdict.decision == decision, seen.verdict
    assert seen.unread == 0
    of_epoch = {one.event.id: one.decision.model.arm for one in published(rollout_settings)}
    champion, challenger = seen.lines
    assert (champion.events, challenger.events) == tuple(Counter(of_epoch.values())[arm] for arm in ("champion", "challenger"))
    # The crowd answers all at one moment, as a person does who settles near-duplicates by one answer.
    assert champion.feedback.answers + challenger.feedback.answers == 1
    assert begun is not None
    assert again is None
    assert begun.models.champion.version == version
    assert begun.models.challenger is None
    entries, _ = asyncio.run(history(rollout_settings))
    verdicts = [entry.record for entry in entries if isinstance(entry.record, Verdict)]
    assert [(one.epoch, one.decision) for one in verdicts] == [(1, RolloutStep(decision))]
    assert any(gate.name == "answers" and gate.figures["answers"] == DISAGREEMENTS for gate in verdicts[0].gates)
    late = tagstream("rollout", "status", "--verdict", environ=rollout_environ)
    assert (late.returncode, b"no challenger decides" in late.stderr) == (1, True)
    found = judged(rollout_settings, total)
    assert found.is_right, found


@pytest.fixture
def rival(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """The tiny bundle with a network that calls almost everything mlops: it disagrees about published events too."""
    monkeypatch.setattr(make_tiny_bundle, "BIAS", (0.0, 4.0, 0.0, 0.25))
    make_tiny_bundle.main(tmp_path / "rival")
    return bundles.read(tmp_path / "rival")


@pytest.mark.slow
def test_people_are_asked_about_drawn_disagreements_and_the_verdict_counts_their_answers(
    start_real: StartReal,
    processes: Processes,
    rollout_settings: Settings,
    rollout_environ: dict[str, str],
    tagstream: Command,
    rival: Bundle,
    tmp_path: Path,
) -> None:
    """
    A real follower copies the drawn ones to `audit`, blind and with their probability, and no other. With those on `review` they are all that is asked.

    Half of the published disagreements, by the hash of the audits. Each is what was published, to the byte, so no page can say which model said what.
    """
    topics = rollout_settings.topics
    start_real(0)
    words = ("--share", "0.1", "--ask", "0.5", "--guard", "source: web=0.1", "--guard", "label: other")
    done = tagstream("rollout", "canary", str(rival.path), *words, environ=rollout_environ)
    assert done.returncode == 0, done.stderr.decode()
    count = len(sent(rollout_settings, 1_200))
    until(lambda: sum(1 for _ in records(rollout_settings, topics.tagged, topics.review)) >= count, "all are decided")
    argv = [BIN / "tagstream", "rollout", "shadow", rival.path, "--from-beginning", "--sample", "1", "--metrics-port", "0"]
    shadow = processes.start(argv, env=os.environ | rollout_environ, log_file=tmp_path / "shadow.log")
    until(lambda: sum(1 for _ in records(rollout_settings, topics.shadow)) >= count, "all are compared", process=shadow)
    shadow.ask_to_end()
    assert shadow.wait(HANG_SECONDS)
    assert shadow.exit_code == 0, shadow.output()

    disagreements = {}
    for record in records(rollout_settings, topics.shadow):
        one = read_shadowed(record)
        assert isinstance(one, Shadowed)
        assert one.champion is not None
        assert one.challenger is not None
        if one.champion.tag != one.challenger.tag:
            disagreements[one.event_id] = one.champion
    half = Draw(rate=0.5, salt=rollout_settings.audit_salt)
    drawn = {
        event_id
        for event_id, side in disagreements.items()
        if side.destination == "tagged" and half.inclusion_probability(event_id, side.tag) is not None
    }
    values = {(record.value or b"").rpartition(b',"tagged_at":')[0] for record in records(rollout_settings, topics.tagged)}
    asked = {}
    for record in records(rollout_settings, topics.audit):
        shown = read_decision(record)
        assert isinstance(shown, DecidedEvent)
        assert (shown.door, (record.value or b"").rpartition(b',"inclusion_probability":')[0] in values) == ("audit", True)
        if shown.decision.inclusion_probability == 0.5:
            asked[shown.event.id] = shown
    assert asked.keys() == drawn
    assert len(drawn) > 5

    for record in records(rollout_settings, topics.review):
        shown = read_decision(record)
        assert isinstance(shown, DecidedEvent)
        if shown.event.id in disagreements:
            asked[shown.event.id] = shown
    with KafkaProducer(bootstrap_servers=rollout_settings.broker_list, acks="all") as producer:
        for event_id, shown in asked.items():
            said = Said(tag=shown.decision.tag, reviewer="ann", blind=True, asked_by=shown.door)  # type: ignore[arg-type]
            answer = answer_to(shown, said, now_ms=int(time.time() * 1000))
            producer.send(topics.reviewed, key=event_id.encode(), value=write_answer(shown.event.fields, answer))
    verdict = asyncio.run(Watch(rollout_settings).look()).verdict
    gates = {gate.name: gate for gate in verdict.gates}
    figures = gates["answers"].figures
    assert (figures["answers"], figures["asked"], figures["disagreements"]) == (len(asked), len(asked), len(disagreements))
    assert figures["champion"] == len(asked)
    assert verdict.decision == "roll_back", verdict
    assert 0 < gates["slice source: web"].figures["answers"] < len(asked)
    assert len(drawn) <= gates["slice label: other"].figures["answers"] < len(asked)
    assert gates["time"].figures["batches"] > 0
    assert gates["draws"].state == "passes"


def test_the_watcher_ends_when_it_is_told_to(processes: Processes, rollout_environ: dict[str, str], tmp_path: Path) -> None:
    """Without a rollout it says so once, is ready, looks again, and ends with 0 at SIGTERM."""
    argv = [BIN / "tagstream", "rollout", "watch", "--every", "1", "--metrics-port", "0"]
    running = processes.start(argv, env=os.environ | rollout_environ, log_file=tmp_path / "watch.log")
    until(lambda: "there is no topic" in running.output(), "the watcher says that there is no rollout", state=running.output)
    address = re.search(r"metrics at (\S+)/metrics", running.output())
    assert address is not None
    status, why = get(f"{address[1]}/readyz")
    assert (status, "there is no topic" in why) == (200, True)
    running.ask_to_end()
    assert running.wait(HANG_SECONDS)
    assert running.exit_code == 0, running.output()
    assert running.output().count("there is no topic") == 1
