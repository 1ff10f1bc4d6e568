"""Where an event stands, as a function of its facts."""

import pytest

from tagstream.model_export.data import random_half
from tagstream.stream.review.store.records import BY_LOT, Door, EventStanding, Given, Known, standing

HOUR_MS = 3_600_000
WEEK_MS = 7 * 24 * HOUR_MS


def asked(**given: object) -> Known:
    """A decision that went to `review`."""
    values = {
        "in_audit": False,
        "in_review": True,
        "probabilities": {"a": 0.6, "b": 0.4},
        "threshold": 0.9,
        "tagged_ms": 0,
        **given,
    }
    return Known(**values)  # type: ignore[arg-type]


def opinion(tag: str = "a", *, version: int = 1, reviewer: str = "ann", asked_by: str = "review", at: int = 10) -> Given:
    """An answer on an event that the model calls `a`."""
    return Given(
        answer_id=f"{reviewer}-{version}",
        event_id="x",
        prediction_id="p",
        version=version,
        decided_at=str(at),
        tag=tag,
        model_tag="a",
        reviewer=reviewer,
        asked_by=asked_by,
        decided_ms=at,
        note=None,
        supersedes=None,
        blind=False,
        title="",
    )


def stands(decision: Known, *opinions: Given, reported: tuple[int, ...] = (), rate: float = 0.0) -> EventStanding:
    """The standing of event `x`."""
    return standing("x", decision, opinions, reported, rate)


def test_a_week_of_waiting_outweighs_any_margin() -> None:
    """Of two events of one age the doubtful one is first; one that waits a week longer is before both."""
    sure, doubtful = {"a": 1.0, "b": 0.0}, {"a": 0.5, "b": 0.5}
    old = stands(asked(probabilities=sure, tagged_ms=-WEEK_MS - 1)).urgency
    assert old < stands(asked(probabilities=doubtful)).urgency < stands(asked(probabilities=sure)).urgency


@pytest.mark.parametrize("sure", [{"a": 1.0, "b": 0.0}, {"a": 0.5, "b": 0.5}])
def test_half_of_what_nothing_certifies_is_asked_by_lot(sure: dict[str, float]) -> None:
    """Its id alone, and how long it has waited, say when; the other half, and all of a label with a threshold, go by doubt."""
    drawn = next(f"e{n}" for n in range(99) if random_half.is_drawn(f"e{n}"))
    other = next(f"e{n}" for n in range(99) if not random_half.is_drawn(f"e{n}"))
    uncertain = asked(threshold=1.0001, probabilities=sure, tagged_ms=WEEK_MS)
    assert standing(drawn, uncertain, (), (), 0.0).urgency == random_half.place(drawn) + 1 + BY_LOT < 0
    assert standing(other, uncertain, (), (), 0.0).urgency == 1 + sure["a"] - sure["b"]
    assert standing(drawn, asked(probabilities=sure), (), (), 0.0).urgency == sure["a"] - sure["b"]


def test_audits_are_served_as_drawn() -> None:
    """Whatever the doubt: the answered part must look like the drawn part."""
    first = stands(asked(in_audit=True, in_review=False, probabilities={"a": 1.0}, tagged_ms=1))
    second = stands(asked(in_audit=True, in_review=False, probabilities={"a": 0.5, "b": 0.5}, tagged_ms=2))
    assert (first.door, first.urgency < second.urgency) == (Door.AUDIT, True)


def test_a_tagged_event_that_nobody_reports_is_not_open() -> None:
    """It is known only because it was answered or reported once."""
    assert stands(asked(in_review=False)) == EventStanding(door=None, urgency=0.0)
    assert stands(asked(in_review=False), reported=(7, 5)) == EventStanding(door=Door.USER_REPORT, urgency=5)


@pytest.mark.parametrize(
    ("opinions", "door"),
    [
        ([opinion("b", asked_by="audit")], Door.SECOND_OPINION),
        ([opinion("off_subject", asked_by="audit")], Door.SECOND_OPINION),
        ([opinion("a", asked_by="audit")], None),
        ([opinion("b")], None),
        ([opinion("b", asked_by="import")], None),
        ([opinion("b", asked_by="user_report")], None),
        ([opinion("b", asked_by="audit"), opinion("b", version=2, reviewer="bob", asked_by="audit")], None),
        ([opinion("b", asked_by="audit"), opinion("a", version=2, reviewer="bob", asked_by="audit")], None),
        ([opinion("b", asked_by="audit"), opinion("c", version=2, asked_by="correction")], None),
        # The same person once more, from two windows: still one opinion.
        ([opinion("b", asked_by="audit"), opinion("c", version=2, asked_by="audit")], Door.SECOND_OPINION),
    ],
)
def test_when_a_second_person_is_asked(opinions: list[Given], door: Door | None) -> None:
    """About an audit whose answer contradicts the model, once, by another person."""
    assert stands(asked(), *opinions).door == door


def test_the_answer_that_holds() -> None:
    """The greatest by version, time and id."""
    found = stands(asked(), opinion("b", version=2, at=5), opinion("a", at=9), opinion("c", version=2, at=4))
    assert (found.version, found.tag) == (2, "b")


@pytest.mark.parametrize(("at", "door"), [(9, None), (10, None), (11, Door.USER_REPORT)])
def test_a_report_opens_what_was_answered_before_it(at: int, door: Door | None) -> None:
    """A report from before, or of the same millisecond, was there to be seen."""
    assert stands(asked(), opinion(at=10), reported=(at,)).door == door
