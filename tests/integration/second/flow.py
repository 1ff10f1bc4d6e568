"""What the tests of the process of a second model read and write: items, people's answers, opinions, decisions."""

import json
from collections import Counter
from collections.abc import Collection, Sequence

from tagstream.stream.broker.processes import Process
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import SecondDecision
from tagstream.stream.contract.published import PublishedDecision, read_decision
from tagstream.stream.contract.second_opinions import SecondOpinion, read_opinion
from tagstream.stream.kafka.producer import verbatim_sender
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.review.store.records import unix_ms
from tagstream.stream.second.ledger import GOLD
from tagstream.stream.settings.settings import Settings
from tests.answering import decided
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
    found = [read_opinion(record) for record in records_of(settings, settings.topics.second)]
    assert all(isinstance(one, SecondOpinion) for one in found), found
    return [one for one in found if isinstance(one, SecondOpinion)]


def opinion_on(settings: Settings, name: str, process: Process) -> SecondOpinion:
    """The opinion on an event, when it is there."""
    return until(
        lambda: next((one for one in opinions_in(settings) if one.event_id == name), None),  # type: ignore[arg-type,return-value]
        f"{name} has an opinion",
        process=process,
    )


def settled_in(settings: Settings) -> list[PublishedDecision]:
    """The second model's decisions on `tagged`."""
    found = [read_decision(record) for record in records_of(settings, settings.topics.tagged)]
    return [one for one in found if isinstance(one, PublishedDecision) and isinstance(one.decision, SecondDecision)]


def item_of(decided: PublishedDecision) -> str:
    """The `prediction_id` on `review` of what a second model has settled."""
    assert isinstance(decided.decision, SecondDecision)
    return decided.decision.supersedes


def ahead(decisions: Sequence[PublishedDecision], opinions: Sequence[SecondOpinion]) -> list[str]:
    """What is wrong at any time: decisions that do not follow from an opinion that can be read. Read the decisions first."""
    labels = {one.prediction_id: one.label for one in opinions if one.settles}
    return [
        f"{item_of(one)} is on tagged as {one.decision.tag}, and second has no opinion that settles it so"
        for one in decisions
        if labels.get(item_of(one)) != one.decision.tag
    ]


def wrong_at_the_end(
    items: Collection[str], decisions: Sequence[PublishedDecision], opinions: Sequence[SecondOpinion]
) -> list[str]:
    """What is wrong when all is done: `ahead`, and whatever was lost or done twice."""
    given = Counter(one.prediction_id for one in opinions)
    settled = Counter(one.prediction_id for one in opinions if one.settles)
    published = Counter(map(item_of, decisions))
    # So many are asked about again each day, to see whether the endpoint answers alike.
    repeated = sum(given.values()) - len(given)
    return [
        *ahead(decisions, opinions),
        *(f"{one} has no opinion" for one in items if one not in given),
        *(f"{one} was never an item" for one in given if one not in items),
        *(f"{one} is settled by {count} opinions" for one, count in settled.items() if count > 1),
        *(f"{one} is settled, and has {published[one]} decisions" for one in settled if published[one] != 1),
        *([f"{repeated} opinions are repeated, and {GOLD} may be"] if repeated > GOLD else []),
    ]
