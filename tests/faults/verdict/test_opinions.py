"""A breach of I13 is planted in each way, and the judge must find it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.second_opinions import SecondOpinion, tagged_by_second, write_opinion
from tests.answering import UNSURE, decided, shown
from tests.faults.verdict.checker import check
from tests.faults.verdict.good_run import good_run
from tests.faults.verdict.opinions import of_second
from tests.opinions import OF_A_BUNDLE
from tests.replacing import replace

ITEMS = [decided(UNSURE.replace(b"e-2", b"s-%d" % number)) for number in range(3)]


@dataclass(frozen=True, kw_only=True)
class Left:
    """What lies on `second`, what the second model has put on `tagged`, and what was asked about again."""

    opinions: Sequence[SecondOpinion]
    tagged: Sequence[Record]
    gold: Sequence[str] = ()
    ahead: Sequence[str] = ()


def opinion(item: Record, *, settles: bool) -> SecondOpinion:
    """An opinion on an item."""
    of = shown(item)
    made = replace(OF_A_BUNDLE, event_id=of.event.id, prediction_id=of.decision.prediction_id, model_tag=of.decision.tag)
    return replace(
        made,
        label="mlops",
        settles=settles,
        audit_probability=0.2 if settles else None,
        audited=False,
        decided_at="2023-11-14T22:13:21.000Z",
    )


def decision(item: Record, given: SecondOpinion) -> Record:
    """The decision that follows from an opinion."""
    key, value, headers, _ = tagged_by_second(shown(item), given, 1_700_000_001_000)
    return Record(topic="tagged", key=key, value=value, headers=headers)


SETTLING = [opinion(item, settles=True) for item in ITEMS[:2]]
WAITING = opinion(ITEMS[2], settles=False)
GOOD = Left(
    opinions=[*SETTLING, WAITING],
    tagged=[decision(item, given) for item, given in zip(ITEMS[:2], SETTLING, strict=True)],
)


def says(left: Left) -> str:
    """What the judge says."""
    run = good_run()
    outcomes = {**run.outcomes, Destination.REVIEW: ITEMS}
    opinions = [Record(topic="second", key=b"k", value=write_opinion(one)) for one in left.opinions]
    found = of_second(replace(run, outcomes=outcomes, opinions=opinions, gold=left.gold, ahead=left.ahead), left.tagged)
    return "" if found.holds else found.says


def test_what_is_right_passes() -> None:
    """One opinion an item, one decision an opinion that settles; and one opinion more of what was asked about again."""
    assert says(GOOD) == ""
    assert says(replace(GOOD, opinions=[*GOOD.opinions, WAITING], gold=[WAITING.prediction_id])) == ""


@pytest.mark.parametrize(
    ("breach", "words"),
    [
        (lambda left: replace(left, opinions=left.opinions[:2]), "has no opinion"),
        (lambda left: replace(left, opinions=[*left.opinions, WAITING]), "has 2 opinions"),
        (
            lambda left: replace(left, opinions=[*left.opinions, WAITING, WAITING], gold=[WAITING.prediction_id]),
            "has 3 opinions",
        ),
        (lambda left: replace(left, gold=[WAITING.prediction_id]), "has 1 opinions"),
        (
            lambda left: replace(left, opinions=[*left.opinions, SETTLING[0]], gold=[SETTLING[0].prediction_id]),
            "is settled by 2",
        ),
        (lambda left: replace(left, opinions=[*left.opinions, opinion(decided(), settles=False)]), "was never an item"),
        (lambda left: replace(left, tagged=left.tagged[:1]), "is settled, and has 0 decisions"),
        (lambda left: replace(left, tagged=[*left.tagged, left.tagged[0]]), "is settled, and has 2 decisions"),
        (
            lambda left: replace(left, tagged=[*left.tagged, decision(ITEMS[2], WAITING)]),
            "second has no opinion that settles it",
        ),
        (lambda left: replace(left, tagged=[replace(left.tagged[0], key=b"other"), left.tagged[1]]), "otherwise than"),
        (lambda left: replace(left, ahead=["seen too early"]), "seen too early"),
    ],
)
def test_each_breach_is_found(breach: Callable[[Left], Left], words: str) -> None:
    """Lost, repeated, invented, changed, and too early: each is called by its name."""
    assert words in says(breach(GOOD))


def test_a_decision_of_a_second_model_nobody_asked_is_a_breach() -> None:
    """Where no second model runs, its decisions are no outcome of an event, and are not passed over."""
    run = good_run()
    with_one = {**run.outcomes, Destination.TAGGED: [*run.outcomes[Destination.TAGGED], GOOD.tagged[0]]}
    assert check(replace(run, outcomes=with_one)).broken == ["I13"]
