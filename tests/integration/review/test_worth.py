"""What a stream is worth: the command says what a person computes by hand from the topics `tagged`, `review` and `reviewed` alone."""

import json
import time
from collections.abc import Sequence
from datetime import datetime
from itertools import cycle, pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition

from tagstream.stream.contract.event import Record
from tagstream.stream.kafka.producer import verbatim_sender
from tagstream.stream.review.answer_saver import AnswerSaver, Saved
from tagstream.stream.review.follower import StoreFollower
from tagstream.stream.review.store.records import unix_ms
from tagstream.stream.review.store.store import open_store
from tagstream.stream.settings.settings import Settings
from tests.console.real_console import is_ready
from tests.faults.worker.stub import LABELS, THRESHOLD, decide
from tests.integration.command_line import Command
from tests.integration.running import Start
from tests.waiting import HANG_SECONDS, until

pytestmark = pytest.mark.broker

PUBLISHED, ASKED, OPEN, WRONG = 60, 12, 5, 6
PERSON_MINUTE = 0.8
PRICES = dict(zip(LABELS, (3.0, 7.0, 20.0, 2.0), strict=True))
# Seconds between two answers. After a pause over ten minutes the time of an answer is not known.
PAUSES = (4, 9, 23, 5, 700, 12, 31)


class Desk:
    """A clock that people's answers move. It begins four hours early, so that no answer is later than the command."""

    def __init__(self) -> None:
        self.now_ms = unix_ms() - 4 * 3_600_000

    def __call__(self) -> int:
        """Unix milliseconds."""
        return self.now_ms


def titles() -> list[str]:
    """Titles of which the stub model is sure, and of which it is not."""
    every = [f"deployment {number}" for number in range(2_000)]
    sure, unsure = ([one for one in every if (decide(one).confidence >= THRESHOLD) is is_sure] for is_sure in (True, False))
    return [*sure[:PUBLISHED], *unsure[:ASKED]]


def on(settings: Settings, topic: str) -> list[dict[str, Any]]:
    """All values on a topic."""
    consumer = KafkaConsumer(bootstrap_servers=settings.broker_list, enable_auto_commit=False)
    try:
        places = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        ends, found = consumer.end_offsets(places), []
        deadline = time.monotonic() + HANG_SECONDS
        while any(consumer.position(place) < end for place, end in ends.items()):
            assert time.monotonic() < deadline, f"{topic} is not read to its end"
            found += [json.loads(one.value) for batch in consumer.poll(timeout_ms=500).values() for one in batch]
    finally:
        consumer.close()
    return found


def by_hand(settings: Settings) -> dict[str, float]:
    """Events, the share without a person, answers, minutes and money, with no code of the project."""
    published = [one for one in on(settings, settings.topics.tagged) if one["decider"] != "reviewer"]
    asked, answers = on(settings, settings.topics.review), on(settings, settings.topics.reviewed)
    seconds: list[float] = []
    for person in {one["reviewer"] for one in answers}:
        moments = sorted(datetime.fromisoformat(one["decided_at"]) for one in answers if one["reviewer"] == person)
        seconds += [gap for one, other in pairwise(moments) if 1 <= (gap := (other - one).total_seconds()) <= 600]
    minute = median(seconds) / 60
    waiting = len({one["id"] for one in asked} - {one["event_id"] for one in answers})
    mistakes = 0.0
    for tag in {one["tag"] for one in published}:
        ids = {one["id"] for one in published if one["tag"] == tag}
        last = {
            one["event_id"]: one["tag"] for one in sorted(answers, key=lambda one: one["version"]) if one["event_id"] in ids
        }
        wrong = len(ids) * sum(said != tag for said in last.values()) / len(last)
        mistakes += wrong * PRICES[tag]
    events = len(published) + len(asked)
    return {
        "events": events,
        "alone": len(published) / events,
        "answers": len(answers),
        "waiting": waiting,
        "seconds": median(seconds),
        "minutes": len(answers) * minute,
        "saved": (events - len(answers) - waiting) * minute,
        "cost": (len(answers) + waiting) * minute * PERSON_MINUTE + mistakes,
        "everything": events * minute * PERSON_MINUTE,
    }


def answer_all(settings: Settings, store: str, sent: Sequence[str]) -> None:
    """Two people answer in turn, until few items of `review` are left; they agree that the first published decisions are wrong."""
    desk = Desk()
    with (
        open_store(store, clock=desk, second_opinion_rate=0.0) as opened,
        StoreFollower(opened, settings) as follower,
        verbatim_sender(settings, idempotent=True) as sender,
    ):
        until(lambda: is_ready(follower), "the answers are read")
        waits = opened.queue.figures
        until(lambda: waits().length == len(sent), "all items are open", state=waits)
        decided = opened.samples.totals
        until(lambda: sum(one.decisions for one in decided(0, 2 * unix_ms())) == len(sent), "all decisions are counted")
        saver, pauses = AnswerSaver(opened, sender, settings.topics, clock=desk), cycle(PAUSES)
        for person in cycle(("ann", "bob")):
            if waits().length <= OPEN:
                break
            claim = opened.queue.claim(person)
            # Only the other person may have what is left: a second opinion.
            if claim is None:
                continue
            desk.now_ms += 1000 * next(pauses)
            place, tag = sent.index(claim.item.event.id), claim.item.decision.tag
            other = LABELS[(LABELS.index(tag) + 1) % len(LABELS)]
            said = saver.save(claim.item.event.id, claim.token, other if place < WRONG else tag)
            assert isinstance(said, Saved), said


def test_the_command_says_what_a_person_computes_from_the_topics(
    settings: Settings, environ: dict[str, str], start: Start, tagstream: Command, tmp_path: Path
) -> None:
    """Events, the share without a person, answers, minutes and money of a stream that a worker decides and two people review."""
    store = f"sqlite:///{tmp_path}/store.db"
    (tmp_path / "costs.toml").write_text(
        f"person_minute = {PERSON_MINUTE}\n[wrong_publication]\n" + "".join(f"{tag} = {one}\n" for tag, one in PRICES.items()),
        encoding="utf-8",
    )
    start(TAGSTREAM_AUDIT_RATE="1").until_ready()
    texts = titles()
    sent = [f"e-{number}" for number in range(len(texts))]
    events = [
        Record(topic=settings.topics.content, key=None, value=json.dumps({"id": one, "title": title}).encode())
        for one, title in zip(sent, texts, strict=True)
    ]
    with verbatim_sender(settings, idempotent=True) as sender:
        assert sender.deliver(events) == [None] * len(events)
    answer_all(settings, store, sent)
    done = tagstream("quality", "--value", "--json", "--store", store, environ=environ)
    assert done.returncode == 0, done.stderr.decode()
    found, hand = json.loads(done.stdout)["value"], by_hand(settings)
    whole, ways = found["whole"], {way["name"]: way for way in found["ways"]}
    assert (whole["events"], whole["answers"], whole["waiting"]) == (hand["events"], hand["answers"], hand["waiting"])
    assert hand["waiting"] == OPEN
    assert whole["alone"] == pytest.approx(hand["alone"])
    assert found["seconds"]["value"] == pytest.approx(hand["seconds"])
    assert [whole["minutes"]["value"], whole["saved_minutes"]["value"]] == pytest.approx([hand["minutes"], hand["saved"]])
    assert [ways["now"]["cost"]["value"], ways["everything"]["cost"]["value"]] == pytest.approx(
        [hand["cost"], hand["everything"]]
    )
