"""What the tests of the process of a second model read and write: items, people's answers, opinions, decisions."""

import json
from collections.abc import Sequence

from tagstream.stream.broker.processes import Process
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.published import PublishedDecision
from tagstream.stream.contract.second_opinions import SecondOpinion
from tagstream.stream.kafka.producer import verbatim_sender
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.review.store.records import unix_ms
from tagstream.stream.settings.settings import Settings
from tests.answering import decided
from tests.faults.verdict.opinions import opinions_of, settled_of
from tests.replacing import replace
from tests.waiting import until


def item(name: str, title: str) -> Record:
    """A record of `review`."""
    return decided(json.dumps({"id": name, "title": title}).encode(), now_ms=unix_ms() - 1000)


def send(settings: Settings, records: Sequence[Record]) -> None:
    """Write records to the topics of the test, each to the partition of its key."""
    there = [replace(record, topic=getattr(settings.topics, record.topic), partition=-1) for record in records]
    with verbatim_sender(settings, idempotent=True) as sender:
        assert sender.deliver(there) == [None] * len(there)


def records_of(settings: Settings, topic: str) -> list[Record]:
    """All committed records of a topic."""
    with log_of(settings, topic) as log:
        return list(log.read(log.starts(), log.ends()))


def opinions_in(settings: Settings) -> list[SecondOpinion]:
    """What is on `second`, by partition in its order."""
    return opinions_of(records_of(settings, settings.topics.second))


def opinion_on(settings: Settings, name: str, process: Process) -> SecondOpinion:
    """The opinion on an event, when it is there."""
    return until(
        lambda: next((one for one in opinions_in(settings) if one.event_id == name), None),  # type: ignore[arg-type,return-value]
        f"{name} has an opinion",
        process=process,
    )


def settled_in(settings: Settings) -> list[PublishedDecision]:
    """The second model's decisions on `tagged`."""
    return settled_of(records_of(settings, settings.topics.tagged))
