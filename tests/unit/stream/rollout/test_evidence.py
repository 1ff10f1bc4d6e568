"""The evidence of a challenger: each observation counts once, in any order, and only drawn events are people's evidence."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.stream.contract.rollout_records import GuardedSlice, Guards
from tagstream.stream.rollout import evidence as module
from tagstream.stream.rollout.evidence import (
    Arms,
    Evidence,
    Failures,
    Observation,
    Reported,
    Shadowed,
)
from tagstream.stream.rollout.verdict import RolloutStep, judge
from tests.replacing import replace
from tests.unit.stream.rollout.observed import answered, event, evidence, stream

TAGS = ("mlops", "other", "computer-vision")


def report(number: int, *, challenger: bool, unit: str = "") -> Reported:
    """A reader's report on an event, of a unit of its own if none is given."""
    return Reported(event_id=str(number), unit=unit or str(number), challenger=challenger)


@st.composite
def observations(draw: st.DrawFn) -> list[Observation]:
    """Up to sixty events with tags, doors and draws of every kind, answers and corrections on some of them and on others, reports, and totals."""
    found: list[Observation] = []
    for number in range(draw(st.integers(0, 60))):
        challenger, asked = draw(st.sampled_from(TAGS)), draw(st.sampled_from((None, 0.5, 1.0)))
        asks = draw(st.sampled_from(((False, False), (True, False), (False, True), (True, True))))
        slices = frozenset(draw(st.sampled_from(((), ("s",), ("unguarded",)))))
        found.append(event(number, challenger, asks=asks, probability=asked, slices=slices))
    for number, version in draw(st.lists(st.tuples(st.integers(0, 80), st.integers(1, 3)), unique=True, max_size=40)):
        tag, denies, drawn = draw(st.tuples(st.sampled_from((*TAGS, "none")), st.booleans(), st.booleans()))
        found.append(answered(number, tag, version=version, denies=denies, drawn=drawn))
    found += [report(number, challenger=number % 3 == 0) for number in range(draw(st.integers(0, 9)))]
    return [*found, Failures(challenger=draw(st.integers(0, 9)), champion=1), Arms(challenger=40, champion=60)]


SLICED = Guards(asked_at_least=0.5, slices=(GuardedSlice(name="s"),), promise=0.9)


@given(st.data(), observations())
def test_the_verdict_does_not_depend_on_the_order(data: st.DataObject, found: list[Observation]) -> None:
    """Answers may come before the shadow tells of their event, and a topic may be read before another one."""
    shuffled = data.draw(st.permutations(found))
    verdicts = [judge(evidence(order, guards=SLICED, share=0.4), days=1) for order in (found, shuffled)]
    assert verdicts[0] == verdicts[1]


@given(observations())
def test_what_is_read_again_counts_once(found: list[Observation]) -> None:
    """A controller that starts anew, and a shadow that repeats records, judge as before."""
    once = evidence(found, guards=SLICED, share=0.4)
    verdict = judge(once, days=1)
    assert not any(once.take(one) for one in found)
    assert judge(once, days=1) == verdict
    assert judge(evidence(found, guards=SLICED, share=0.4), days=1) == verdict


@pytest.mark.parametrize("order", [*permutations(range(4))])
def test_the_greatest_version_of_an_answer_holds_in_every_order(order: tuple[int, ...]) -> None:
    """A correction counts, and not what it replaced, also where the old answer is written again, or comes before its event."""
    given = [event(0, "other", probability=1.0), answered(0, "other"), answered(0, "mlops", version=2), answered(0, "other")]
    found = evidence(given[place] for place in order)
    assert (found.overall.favouring(1), found.overall.favouring(-1), found.overall.answered) == (0, 1, 1)


def test_an_answer_to_a_report_counts_where_it_corrects_one_on_a_drawn_event() -> None:
    """It is the greatest version then; alone it counts for nothing, since a reader picked the event."""
    first, second = answered(0, "other"), answered(0, "mlops", version=2, drawn=False)
    alone = evidence([event(0, "other", probability=1.0), second])
    assert (alone.overall.asked, alone.overall.answered) == (1, 0)
    alone.take(first)
    assert alone.overall.answers == {(-1, 1.0): 1}


def test_an_answer_about_an_event_that_was_not_drawn_counts_for_nothing() -> None:
    """Somebody picked it, such as a reader who reported it, so it says nothing about the others."""
    for order in (
        [event(0, "other"), answered(0, "other")],
        [answered(0, "other"), event(0, "other")],
    ):
        found = evidence(order)
        assert (found.overall.discordant, found.overall.answered, found.published.total()) == (1, 0, 0)


def test_an_answer_weighs_one_over_its_probability() -> None:
    """One on a disagreement that was drawn with probability one half speaks for two."""
    found = evidence([event(0, "other", probability=0.5), answered(0, "other")])
    assert found.overall.answers == {(1, 2.0): 1}


@pytest.mark.parametrize("challenger", ["other", "mlops"])
def test_an_event_that_is_drawn_more_rarely_than_planned_freezes_the_verdict(challenger: str) -> None:
    """One answer would weigh more than the bets allow, and without it the others do not speak for all; harm still sends back."""
    found = evidence([*stream(events=2_000, won=70, lost=30), event(9_000, challenger, probability=0.001)])
    found.take(answered(9_000, "other"))
    assert (found.too_rare, found.overall.answered) == (1, 100)
    assert judge(found, days=1).decision is RolloutStep.FROZEN
    found.take(Failures(challenger=10, champion=0))
    assert judge(found, days=1).decision is RolloutStep.ROLL_BACK


def test_batches_are_counted_by_the_events_that_they_begin_with() -> None:
    """An event that no batch begins with, or that was taken before, adds none."""
    found = evidence([replace(event(0), slow=True), replace(event(1), slow=False), event(2), replace(event(0), slow=True)])
    assert found.batches == {True: 1, False: 1}


def test_a_unit_reports_once() -> None:
    """One key with many events that are wrong cannot send a challenger back."""
    reports = [report(number, challenger=True, unit="k") for number in range(50)]
    found = evidence([*reports, *(answered(number, "other", denies=True) for number in range(50))])
    assert found.reports == {True: 1}


def test_a_report_counts_once_a_person_has_found_the_tag_wrong() -> None:
    """Not before, not where the person says that it is right, and no longer after a correction which says so."""
    found = evidence([report(0, challenger=True), report(1, challenger=False), answered(1, "mlops")])
    assert not found.reports
    found.take(answered(0, "other", denies=True, drawn=False))
    assert found.reports == {True: 1}
    found.take(answered(0, "mlops", version=2, drawn=False))
    assert not found.reports


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events beyond the bound count for nothing, and answers ahead of their event are forgotten, the oldest first."""
    monkeypatch.setattr(module, "MOST_EVENTS", 3)
    monkeypatch.setattr(module, "MOST_ANSWERS_AHEAD", 2)
    found = Evidence(guards=Guards(), labels=4)
    for number in range(9):
        found.take(answered(number, "other"))
    taken = [found.take(event(number, "other", probability=1.0)) for number in range(5, 9)]
    assert taken == [True, True, True, False]
    assert (found.overall.compared, found.overall.answered) == (3, 1)


def test_only_what_the_challenger_would_publish_is_evidence_of_its_promise() -> None:
    """Events that it sends to people, and answers on events that were not drawn, are not."""
    asked: list[Observation] = [
        event(0, probability=0.5),
        event(1, "other", probability=1.0, asks=(True, False)),
        event(2, "other", probability=1.0, asks=(False, True)),
        event(3),
    ]
    found = evidence([*asked, *(answered(number, "other") for number in range(4))])
    assert found.published == {(False, 2.0): 1, (True, 1.0): 1}


def test_a_tag_that_neither_gave_favours_neither() -> None:
    """Nor does one that is no label of the bundles."""
    disagreement: Shadowed = event(0, "other")
    assert [disagreement.favours(tag) for tag in ("other", "mlops", "computer-vision", "new")] == [1, -1, 0, 0]
