"""
An application with a classifier of its own, as a user would write it: `python -m tests.integration.library.classifying`.

It reads events from a topic of its own and sends the decisions of `ForeignModel` at least once: it commits when the broker has
confirmed every record. BROKERS, EVENTS and GROUP name brokers, topic and group. A test may tell it at which step it kills itself
(DIES), and to be one of the applications that are wrong (WRONG).
"""

import hashlib
import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kafka import KafkaConsumer, KafkaProducer

from tagstream import ForeignModel, Record

LABELS = ("billing", "login", "other")
AT_ONCE = 8
CONFIRM_SECONDS = 60
DEATH = -signal.SIGKILL


class Step(StrEnum):
    """What the application has just done with a batch."""

    DECIDED = "decided"
    SENT_HALF = "sent_half"
    CONFIRMED = "confirmed"
    COMMITTED = "committed"


class Wrong(StrEnum):
    """What is wrong with an application that must be found out."""

    OTHER_VERSION = "other_version"
    OTHER_PROBABILITIES = "other_probabilities"
    COMMITS_FIRST = "commits_first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """Of a process: after which step of the batch in which it has taken so many events."""

    step: Step
    events: int

    def __str__(self) -> str:
        """As DIES has it."""
        return f"{self.step}:{self.events}"

    @classmethod
    def of(cls, text: str) -> "Death":
        """The one that DIES has."""
        step, _, events = text.partition(":")
        return cls(step=Step(step), events=int(events))


def model_of(version: str = "7") -> ForeignModel:
    """The model; topics and the draw for `audit` are those of the settings."""
    return ForeignModel("intents", version, LABELS, thresholds={"billing": 0.8, "login": 0.7, "other": 0.9})


def probabilities(event: dict[str, Any], salt: str = "") -> dict[str, float]:
    """The label by a hash of the title, with a confidence of 0.5 to 1."""
    drawn = hashlib.sha256(f"{salt}{event['title']}".encode()).digest()
    confidence = 0.5 + drawn[1] / 512
    first, second, third = (LABELS[(drawn[0] + number) % len(LABELS)] for number in range(len(LABELS)))
    return {first: confidence, second: (1 - confidence) * 0.75, third: (1 - confidence) * 0.25}


def reach(step: Step, taken: int) -> None:
    """Die here, if the test says so."""
    death = os.environ.get("DIES")
    if death and Death.of(death).step is step and taken >= Death.of(death).events:
        os.kill(os.getpid(), signal.SIGKILL)


def run() -> None:
    """Read, decide, send, commit."""
    wrong = os.environ.get("WRONG")
    model = model_of(f"7.{os.getpid()}" if wrong == Wrong.OTHER_VERSION else "7")
    salt = str(os.getpid()) if wrong == Wrong.OTHER_PROBABILITIES else ""
    producer = KafkaProducer(bootstrap_servers=os.environ["BROKERS"], acks="all", enable_idempotence=True)
    consumer = KafkaConsumer(
        os.environ["EVENTS"],
        bootstrap_servers=os.environ["BROKERS"],
        group_id=os.environ["GROUP"],
        # The next process has the partitions of a dead one at once, and not after its session.
        group_instance_id="same",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    taken = 0
    while True:
        read = [one for some in consumer.poll(timeout_ms=500, max_records=AT_ONCE).values() for one in some]
        if not read:
            continue
        taken += len(read)
        results = [
            model.decide(
                Record(key=one.key, value=one.value, headers=tuple(one.headers)), probabilities(json.loads(one.value), salt)
            )
            for one in read
        ]
        reach(Step.DECIDED, taken)
        if wrong == Wrong.COMMITS_FIRST:
            consumer.commit()
            reach(Step.COMMITTED, taken)
        send(producer, [record for result in results for record in result.records], taken)
        reach(Step.CONFIRMED, taken)
        consumer.commit()
        reach(Step.COMMITTED, taken)


def send(producer: KafkaProducer, records: Sequence[Record], taken: int) -> None:
    """Send the records, and wait for the broker to confirm each."""
    sent = []
    for number, record in enumerate(records, 1):
        sent.append(producer.send(record.topic, key=record.key, value=record.value, headers=list(record.headers)))
        if number == len(records) // 2:
            producer.flush(timeout=CONFIRM_SECONDS)
            reach(Step.SENT_HALF, taken)
    for confirmed in sent:
        confirmed.get(timeout=CONFIRM_SECONDS)


if __name__ == "__main__":
    run()
