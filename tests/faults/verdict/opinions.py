"""
Judges what a second model's process has left on `second` and on `tagged`. Pure.

    I13  each item of `review` has one opinion, and one more only if it was asked about again for gold; each opinion that settles has one
         decision on `tagged`, with the key, headers and bytes (but `tagged_at`) that follow from the opinion and the item; no other decision
         is there in a second model's name, and none was ever there before its opinion
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import SecondDecision
from tagstream.stream.contract.published import DecidedEvent, PublishedDecision, read_decision
from tagstream.stream.contract.second_opinions import SecondOpinion, read_opinion, tagged_by_second
from tests.faults.verdict.evidence import Evidence, Finding
from tests.faults.verdict.matching import without_clock

QUOTED = 3


def opinions_of(records: Sequence[Record]) -> list[SecondOpinion]:
    """The opinions in records of `second`, all of which are some."""
    found = [read_opinion(record) for record in records]
    assert all(isinstance(one, SecondOpinion) for one in found), found
    return [one for one in found if isinstance(one, SecondOpinion)]


def settled_of(records: Sequence[Record]) -> list[PublishedDecision]:
    """The second model's decisions among records of `tagged`."""
    found = [read_decision(record) for record in records]
    return [one for one in found if isinstance(one, PublishedDecision) and isinstance(one.decision, SecondDecision)]


def items_of(records: Sequence[Record]) -> list[DecidedEvent]:
    """What a second model is asked about among records of `review`."""
    found = [read_decision(record) for record in records]
    return [one for one in found if isinstance(one, DecidedEvent) and one.decision.decider == "model"]


def item_of(decided: PublishedDecision) -> str:
    """The `prediction_id` on `review` of what a second model has settled."""
    assert isinstance(decided.decision, SecondDecision)
    return decided.decision.supersedes


def repeated(opinions: Sequence[SecondOpinion]) -> list[str]:
    """The items that have more than one opinion, each as often as it was repeated."""
    given = Counter(one.prediction_id for one in opinions)
    return [identity for identity, count in given.items() for _ in range(count - 1)]


def ahead(decisions: Sequence[PublishedDecision], opinions: Sequence[SecondOpinion]) -> list[str]:
    """What is wrong at any time: decisions that do not follow from an opinion that can be read. Read the decisions first."""
    labels = {one.prediction_id: one.label for one in opinions if one.settles}
    return [
        f"{item_of(one)} is on tagged as {one.decision.tag}, and second has no opinion that settles it so"
        for one in decisions
        if labels.get(item_of(one)) != one.decision.tag
    ]


def wrong_at_the_end(
    items: Sequence[DecidedEvent],
    decisions: Sequence[PublishedDecision],
    opinions: Sequence[SecondOpinion],
    gold: Sequence[str],
) -> list[str]:
    """
    What is wrong when all is done: `ahead`, and whatever was lost, done twice or changed.

    Args:
        items: What was on `review`. Several may have one `prediction_id`, if producers use an id again.
        decisions: Those of the second model on `tagged`.
        opinions: Those on `second`.
        gold: The items that were asked about again, to see whether the endpoint answers alike. A record does not say so: who wants to know
            reads `repeated` before the first fault. After that nothing is asked again for a day.
    """
    by_id: defaultdict[str, list[DecidedEvent]] = defaultdict(list)
    for item in items:
        by_id[item.decision.prediction_id].append(item)
    given = Counter(one.prediction_id for one in opinions)
    settling = {one.prediction_id: one for one in opinions if one.settles}
    settled = Counter(one.prediction_id for one in opinions if one.settles)
    again = Counter(gold)
    published = Counter(map(item_of, decisions))
    return [
        *ahead(decisions, opinions),
        *(f"{one} has no opinion" for one in by_id if one not in given),
        *(f"{one} was never an item" for one in given if one not in by_id),
        *(f"{one} has {count} opinions" for one, count in given.items() if count != 1 + again[one]),
        *(f"{one} is settled by {count} opinions" for one, count in settled.items() if count > 1),
        *(f"{one} is settled, and has {published[one]} decisions" for one in settled if published[one] != 1),
        *_changed(by_id, decisions, settling),
    ]


def of_second(evidence: Evidence, tagged: Sequence[Record]) -> Finding:
    """
    I13.

    Args:
        evidence: The run.
        tagged: The second model's decisions on `tagged`.
    """
    items = items_of(evidence.outcomes[Destination.REVIEW])
    decisions, opinions = settled_of(tagged), opinions_of(evidence.opinions)
    wrong = [*evidence.ahead, *wrong_at_the_end(items, decisions, opinions, evidence.gold)]
    return Finding(
        invariant="I13",
        cases=len(wrong),
        says=(
            f"{len(opinions)} opinions of a second model, {len(decisions)} decisions by it; {len(wrong)} breaches"
            + (f": {', '.join(wrong[:QUOTED])}" if wrong else "")
        ),
    )


def _changed(
    items: Mapping[str, Sequence[DecidedEvent]], decisions: Sequence[PublishedDecision], settling: Mapping[str, SecondOpinion]
) -> Iterator[str]:
    for one in decisions:
        opinion, found = settling.get(item_of(one)), one.event.record
        if opinion is None:
            continue
        made = [tagged_by_second(item, opinion, 0) for item in items.get(item_of(one), ())]
        expected = [(key, without_clock(value), headers) for key, value, headers, _ in made]
        if (found.key, without_clock(found.value or b""), found.headers) not in expected:
            yield f"{item_of(one)} is on tagged otherwise than its item and its opinion say"
