"""The verdict: each gate alone, and which of them counts where several speak."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.stream.contract.event import Record
from tagstream.stream.contract.field_types import MAX_NOTE_CHARACTERS
from tagstream.stream.contract.rollout_records import (
    BundleName,
    Challenger,
    GateReading,
    GuardedSlice,
    Guards,
    RequiredOutcome,
    Verdict,
    read_rollout,
    write_rollout,
)
from tagstream.stream.rollout.epochs import Models
from tagstream.stream.rollout.evidence import Arms, Evidence, Failures, Observation, Reported
from tagstream.stream.rollout.measured import Measured
from tagstream.stream.rollout.verdict import RolloutStep, judge, tries_of
from tests.replacing import replace
from tests.unit.stream.rollout.observed import GUARDS, answered, event, evidence, stream

MOMENT = "2026-01-01T00:00:00.000Z"
BETTER = stream(events=2_000, won=70, lost=30)


def decided(
    observations: list[Observation], *, guards: Guards = GUARDS, share: float | None = None, days: float = 1
) -> RolloutStep:
    """The decision on what was observed."""
    return judge(evidence(observations, guards=guards, share=share), days=days).decision


def state(found: Evidence, name: str) -> str:
    """The state of one gate."""
    return next(gate.state for gate in judge(found, days=1).gates if gate.name == name)


def bundle(digest: str) -> BundleName:
    """A bundle."""
    return BundleName(digest=digest * 64, name="b", version="1")


def test_a_better_challenger_is_promoted() -> None:
    """Won disagreements prove that it is not worse."""
    verdict = judge(evidence(BETTER), days=1)
    assert verdict.decision is RolloutStep.PROMOTE
    assert "70 are for the challenger" in verdict.says


def test_a_worse_challenger_goes_back() -> None:
    """Lost disagreements prove that it is worse by more than the margin."""
    verdict = judge(evidence(stream(events=2_000, won=10, lost=90)), days=1)
    assert verdict.decision is RolloutStep.ROLL_BACK
    assert "it is worse by more than 0.01 of all events" in verdict.says


@pytest.mark.parametrize(
    "silence",
    [
        [],
        stream(events=50_000, silent=3_000),
        stream(events=50_000),
        stream(events=50_000, won=29, silent=10),
        stream(events=50_000, won=90, silent=110),
    ],
    ids=["nothing", "no answer", "no disagreement", "few answers", "fewer than half of the questions answered"],
)
def test_silence_promotes_nothing(silence: list[Observation]) -> None:
    """Without answers it stays, however long, and is not proven in the end."""
    assert [decided(silence, days=days) for days in (0, 13.9, 14, 1_000)] == [
        RolloutStep.WAIT,
        RolloutStep.WAIT,
        RolloutStep.NOT_PROVEN,
        RolloutStep.NOT_PROVEN,
    ]


def test_a_slice_that_is_not_proved_keeps_it_from_promotion() -> None:
    """The whole is better, and in the guarded slice it lost what it was asked about."""
    guards = Guards(asked_at_least=0.5, slices=(GuardedSlice(name="s"),))
    inside: list[Observation] = [
        event(number, "other", probability=1.0, slices=frozenset({"s"})) for number in range(5_000, 5_040)
    ]
    lost = [answered(number, "mlops") for number in range(5_000, 5_040)]
    won = stream(events=4_000, won=200, lost=40)
    verdict = judge(evidence([*won, *inside, *lost], guards=guards), days=1)
    assert verdict.decision is RolloutStep.WAIT
    assert "in s it may still be worse" in verdict.says
    assert decided([*won, *inside, *lost]) is RolloutStep.PROMOTE
    assert decided(stream(events=4_000, won=200, lost=40, slices=frozenset({"s"})), guards=guards) is RolloutStep.PROMOTE


@pytest.mark.parametrize(("challenger", "champion", "back"), [(2, 0, False), (12, 0, True), (12, 11, False), (30, 25, True)])
def test_more_failures_than_the_champion_send_it_back(challenger: int, champion: int, back: bool) -> None:
    """Proved against the champion's on the same events, or `fallbacks` of them, proved or not."""
    failures = Failures(challenger=challenger, champion=champion)
    guards = Guards(asked_at_least=0.5, fallbacks=30)
    assert (decided([*BETTER, failures], guards=guards) is RolloutStep.ROLL_BACK) is back


@pytest.mark.parametrize(("fallbacks", "challenger", "back"), [(9, 0, False), (10, 0, True), (8, 2, True)])
def test_events_that_the_champion_decided_in_its_place_count_too(fallbacks: int, challenger: int, back: bool) -> None:
    """With the failures in shadow they are `fallbacks` together, proved or not."""
    failures = Failures(challenger=challenger, champion=2, fallbacks=fallbacks)
    assert (decided([*BETTER, failures]) is RolloutStep.ROLL_BACK) is back


@pytest.mark.parametrize(("slow", "batches", "back"), [(20, 20, True), (150, 200, True), (10, 10, False), (550, 1_000, False)])
def test_a_slow_challenger_goes_back(slow: int, batches: int, back: bool) -> None:
    """Proved to take over twice the champion's time for most batches, whatever the answers say."""
    timed = [replace(event(9_000 + number), slow=number < slow) for number in range(batches)]
    assert decided([*BETTER, *timed]) is (RolloutStep.ROLL_BACK if back else RolloutStep.PROMOTE)


def test_arms_with_other_shares_than_planned_give_no_verdict() -> None:
    """Something loses units of one arm; only harm that is seen sends back then."""
    skewed = Arms(challenger=600, champion=400)
    assert decided([*BETTER, skewed], share=0.5) is RolloutStep.FROZEN
    assert decided([*BETTER, skewed], share=0.5, days=14) is RolloutStep.NOT_PROVEN
    assert decided([*BETTER, skewed, Failures(challenger=10, champion=0)], share=0.5) is RolloutStep.ROLL_BACK
    assert decided([*BETTER, Arms(challenger=520, champion=480)], share=0.5) is RolloutStep.PROMOTE


def test_reports_on_its_decisions_send_it_back_where_people_find_them_right() -> None:
    """More units with a wrong tag that readers reported are the challenger's than its share explains; without people's word nothing follows."""
    reports = [Reported(event_id=str(number), unit=str(number), challenger=number < 9_010) for number in range(9_000, 9_020)]
    found = [answered(number, "other", denies=True, drawn=False) for number in range(9_000, 9_020)]
    assert decided([*BETTER, *reports], share=0.05) is RolloutStep.PROMOTE
    assert decided([*BETTER, *reports, *found], share=0.05) is RolloutStep.ROLL_BACK
    assert decided([*BETTER, *reports, *found[1:]], share=0.05) is RolloutStep.PROMOTE, "nine of its units are a handful"
    assert decided([*BETTER, *reports, *found], share=0.5) is RolloutStep.PROMOTE
    assert decided([*BETTER, *reports, *found]) is RolloutStep.PROMOTE


def test_unanswered_questions_count_for_the_champion_beyond_a_twentieth() -> None:
    """What is proved by the answers is not proved once people leave out as much as could turn it, and is again once they have answered."""
    won, lost, silent = 140, 60, 100
    found = evidence(stream(events=5_000, won=won, lost=lost, silent=silent))
    verdict = judge(found, days=1)
    assert verdict.decision is RolloutStep.WAIT
    assert "of 300 questions 85 without an answer count for the champion too" in verdict.says
    for number in range(won + lost, won + lost + silent):
        found.take(answered(number, "other" if number % 2 else "mlops"))
    assert judge(found, days=1).decision is RolloutStep.PROMOTE
    assert decided(stream(events=5_000, won=won, lost=lost, silent=10)) is RolloutStep.PROMOTE


@pytest.mark.parametrize(("more", "less", "decision"), [(60, 0, RolloutStep.WAIT), (60, 30, RolloutStep.PROMOTE)])
def test_more_work_for_people_than_budgeted_keeps_it_from_promotion(more: int, less: int, decision: RolloutStep) -> None:
    """Counted on the same events: those that it alone sends to people, without those that the champion alone does."""
    moved = [event(9_000 + number, asks=(number >= more, number < more)) for number in range(more + less)]
    assert decided([*BETTER, *moved]) is decision


def test_one_label_alone_may_be_over_the_budget() -> None:
    """Of a label with few events, although the whole is within."""
    found = evidence(stream(events=20_000, won=200, lost=40))
    for number in range(300):
        found.take(replace(event(30_000 + number, "rare", asks=(False, number < 30)), champion="rare"))
    verdict = judge(found, days=1)
    assert verdict.decision is RolloutStep.WAIT
    assert [gate.name for gate in verdict.gates if gate.state == "forbids"] == ["review share of rare"]


def test_a_broken_promise_keeps_it_from_promotion() -> None:
    """The answers prove that less of what it would publish is right than is promised."""
    guards = Guards(asked_at_least=0.5, audited_at_least=0.5, promise=0.95)
    audited: list[Observation] = [event(9_000 + number, probability=0.5) for number in range(200)]
    answers = [answered(9_000 + number, "mlops" if number < 120 else "other") for number in range(200)]
    assert state(evidence([*BETTER, *audited, *answers], guards=guards), "promise") == "forbids"
    assert decided([*BETTER, *audited, *answers], guards=guards) is RolloutStep.WAIT
    assert decided([*BETTER, *audited, *answers]) is RolloutStep.PROMOTE


def test_a_later_try_needs_more_evidence() -> None:
    """What promotes in the first try does not in the tenth: whoever tries often enough would win by luck."""
    found = evidence(stream(events=2_000, won=21, lost=13))
    assert judge(found, days=1).decision is RolloutStep.PROMOTE
    found.tries = 10
    assert judge(found, days=1).decision is RolloutStep.WAIT


@given(won=st.integers(0, 120), lost=st.integers(0, 120), neither=st.integers(0, 40), tries=st.integers(1, 5))
def test_a_further_win_never_turns_promotion_into_rollback(won: int, lost: int, neither: int, tries: int) -> None:
    """Nor a promotion into anything else, nor anything else into a rollback."""
    found = evidence(stream(events=5_000, won=won, lost=lost, neither=neither, silent=1))
    found.tries = tries
    before = judge(found, days=1).decision
    found.take(answered(won + lost + neither, "other"))
    after = judge(found, days=1).decision
    assert before is not RolloutStep.PROMOTE or after is RolloutStep.PROMOTE
    assert before is RolloutStep.ROLL_BACK or after is not RolloutStep.ROLL_BACK


def test_a_margin_of_zero_asks_for_a_better_one() -> None:
    """Won as often as lost is promoted with a margin, and is no better."""
    even = stream(events=4_000, won=100, lost=100)
    assert decided(even, guards=Guards(asked_at_least=0.5, margin=0.03)) is RolloutStep.PROMOTE
    assert decided(even, guards=Guards(asked_at_least=0.5, margin=0.0)) is RolloutStep.WAIT
    assert decided(stream(events=4_000, won=100, lost=40), guards=Guards(asked_at_least=0.5, margin=0.0)) is RolloutStep.PROMOTE


def models(epoch: int, champion: str, challenger: str | None = None) -> Models:
    """An epoch."""
    arm = None if challenger is None else Challenger(bundle=bundle(challenger), share=0.1, unit="key", salt="s")
    return Models(epoch=epoch, champion=bundle(champion), challenger=arm)


def record(epoch: int, challenger: str, decision: RolloutStep = RolloutStep.NOT_PROVEN) -> Verdict:
    """A verdict of the topic."""
    return Verdict(epoch=epoch, at=MOMENT, by="t", challenger=bundle(challenger), decision=decision, days=1, gates=())


@pytest.mark.parametrize(
    ("begun", "verdicts", "tries"),
    [
        ([models(0, "a")], [], 1),
        ([models(0, "a"), models(1, "a", "c")], [record(1, "c", RolloutStep.WAIT)], 1),
        ([models(0, "a"), models(1, "a", "c"), models(2, "a", "c")], [record(2, "c")], 1),
        ([models(0, "a"), models(1, "a", "d"), models(2, "a", "c")], [record(1, "d")], 2),
        ([models(0, "a"), models(1, "a", "c"), models(2, "a")], [record(1, "c")], 2),
        ([models(0, "a")], [record(0, "d"), record(0, "c"), record(0, "c", RolloutStep.WAIT)], 3),
        ([models(0, "a"), models(1, "a", "c")], [record(0, "c", RolloutStep.PROMOTE)], 1),
        ([models(0, "a"), models(1, "a", "c")], [record(0, "d", RolloutStep.PROMOTE)], 2),
        ([models(0, "a"), models(1, "a", "d"), models(2, "b")], [record(1, "d")], 1),
    ],
    ids=[
        "first",
        "in its epoch",
        "larger share",
        "after another",
        "again",
        "in shadow",
        "its shadow",
        "shadow before",
        "new champion",
    ],
)
def test_tries_against_one_champion_are_counted(begun: list[Models], verdicts: list[Verdict], tries: int) -> None:
    """A challenger in epochs without a pause, and one in shadow that had its verdict, are a try each."""
    assert tries_of(begun, verdicts, "c" * 64) == tries


def test_a_verdict_is_read_from_the_topic_as_it_was_found() -> None:
    """Its record has the sentence, every gate and its figures, and holds also where many slices wait."""
    guards = Guards(asked_at_least=0.5, slices=tuple(GuardedSlice(name=f"{'n' * 120}{number}") for number in range(32)))
    verdict = judge(evidence(BETTER, guards=guards), days=2.5)
    written = verdict.record(7, bundle("c"), at=MOMENT, by="watch")
    assert read_rollout(Record(key=None, value=write_rollout(written))) == written
    assert (written.decision, written.days, written.gates) == ("wait", 2.5, verdict.gates)
    assert len(verdict.says) > MAX_NOTE_CHARACTERS


CLICKS = RequiredOutcome(name="clicks", margin=0.1)


def measured(
    challenger: tuple[int, int], champion: tuple[int, int] = (400, 2_000), name: str = "clicks", *, clicked: float = 1.0
) -> list[Observation]:
    """Clicks of units, and the units of each arm; each arm's events are as many."""
    arms = ((True, *challenger), (False, *champion))
    return [
        Arms(challenger=challenger[1], champion=champion[1], events=2 * (challenger[1] + champion[1])),
        *(
            Measured(
                name=name,
                event=b"%d" % number,
                unit=b"%d%d" % (its, number),
                challenger=its,
                value=clicked * (number < clicks),
                at_ms=1,
                written_ms=1,
            )
            for its, clicks, units in arms
            for number in range(units)
        ),
    ]


def outcome(found: Evidence, name: str = "clicks") -> GateReading:
    """The gate of an outcome."""
    return next(gate for gate in judge(found, days=1).gates if gate.name == f"outcome {name}")


@pytest.mark.parametrize("clicks", [0, 100, 400, 1_900])
def test_an_outcome_alone_neither_promotes_nor_sends_back(clicks: int) -> None:
    """It is shown, whatever it says, and the other gates decide."""
    assert decided([*BETTER, *measured((clicks, 2_000))], share=0.5) is RolloutStep.PROMOTE
    assert decided([*measured((clicks, 2_000))], share=0.5) is RolloutStep.WAIT


@pytest.mark.parametrize(
    ("clicks", "state_", "step"),
    [(600, "passes", RolloutStep.PROMOTE), (400, "waits", RolloutStep.WAIT), (150, "worse", RolloutStep.ROLL_BACK)],
)
def test_a_required_outcome_needs_its_proof(clicks: int, state_: str, step: RolloutStep) -> None:
    """Proved not worse by its margin it lets a promotion pass, proved worse it sends back; without a proof nothing follows."""
    guards = Guards(asked_at_least=0.5, outcomes=(CLICKS,))
    observations = [*BETTER, *measured((clicks, 2_000))]
    assert outcome(evidence(observations, guards=guards, share=0.5)).state == state_
    assert decided(observations, guards=guards, share=0.5) is step


def test_less_of_a_required_outcome_can_be_better() -> None:
    """The same numbers turn round."""
    guards = Guards(asked_at_least=0.5, outcomes=(replace(CLICKS, less=True),))
    assert decided([*BETTER, *measured((150, 2_000))], guards=guards, share=0.5) is RolloutStep.PROMOTE
    assert decided([*BETTER, *measured((600, 2_000))], guards=guards, share=0.5) is RolloutStep.ROLL_BACK


@pytest.mark.parametrize(("clicks", "step"), [(250, RolloutStep.PROMOTE), (600, RolloutStep.ROLL_BACK)])
def test_a_champion_below_zero_has_a_margin_too(clicks: int, step: RolloutStep) -> None:
    """Costs as negative numbers: fewer of them are better."""
    guards = Guards(asked_at_least=0.5, outcomes=(CLICKS,))
    assert decided([*BETTER, *measured((clicks, 2_000), clicked=-1.0)], guards=guards, share=0.5) is step


def test_a_required_outcome_that_nobody_measures_promotes_nothing() -> None:
    """Nor one with few units, nor one where there are no arms to compare."""
    guards = Guards(asked_at_least=0.5, outcomes=(CLICKS,))
    for observations in (BETTER, [*BETTER, *measured((40, 40), (1, 40))], [*BETTER, *measured((600, 2_000), name="other")]):
        assert decided(observations, guards=guards, share=0.5) is RolloutStep.WAIT
    assert decided([*BETTER, *measured((600, 2_000))], guards=guards, share=1.0) is RolloutStep.WAIT
    # As for a name that was mistyped.
    assert "no record of the topic outcomes names it" in outcome(evidence([*BETTER], guards=guards, share=0.5)).says


def test_an_outcome_that_is_not_required_says_that_it_decides_nothing() -> None:
    """Its gate passes even where the interval lies below the champion's mean."""
    found = outcome(evidence([*BETTER, *measured((150, 2_000))], guards=Guards(asked_at_least=0.5), share=0.5))
    assert (found.state, "decides nothing" in found.says) == ("passes", True)


def test_a_later_share_and_a_later_try_need_more_of_an_outcome() -> None:
    """Each share begins anew, so each is a chance more of a false proof."""
    found = evidence(measured((460, 2_000)), guards=Guards(outcomes=(CLICKS,)), share=0.5)
    assert outcome(found).state == "passes"
    found.shares = 10
    assert outcome(found).state == "waits"
    found.shares, found.tries = 1, 10
    assert outcome(found).state == "waits"


def test_a_required_outcome_shares_the_risk_of_a_false_rollback() -> None:
    """What sends back alone is not enough beside eight required outcomes."""
    failures = [*BETTER, Failures(challenger=9, champion=0)]
    assert state(evidence(failures), "failures") == "harms"
    many = tuple(RequiredOutcome(name=f"n{number}") for number in range(8))
    assert state(evidence(failures, guards=Guards(asked_at_least=0.5, outcomes=many)), "failures") == "passes"


def test_an_outcome_says_its_interval_and_what_it_needs() -> None:
    """For people and as figures, which the topic can hold: also with the fewest values."""
    gate = outcome(evidence(measured((440, 2_000)), share=0.5))
    assert "0.22 by 2,000 units for the challenger, 0.2 by 2,000 units for the champion: +10.0% of the champion's" in gate.says
    assert "a difference of 2% takes more than the 500,000 events that are counted, and one of 10% takes about" in gate.says
    assert gate.figures["low"] < 0 < gate.figures["high"]
    assert 20_000 < gate.figures["events_10"] < 50_000
    for observations in ([], measured((1, 1), (0, 1)), measured((0, 2_000), (0, 2_000)), measured((440, 2_000))):
        verdict = judge(evidence(observations, guards=Guards(outcomes=(CLICKS,)), share=0.5), days=1)
        written = verdict.record(7, bundle("c"), at=MOMENT, by="watch")
        assert read_rollout(Record(topic="r", partition=0, offset=0, key=None, value=write_rollout(written))) == written


def test_a_plan_without_required_outcomes_has_no_field_that_older_workers_refuse() -> None:
    """Workers of 0.1.0 know no such field; a plan that requires outcomes keeps them."""
    assert b"outcomes" not in msgspec.json.encode(Guards())
    guards = Guards(outcomes=(CLICKS,))
    assert msgspec.json.decode(msgspec.json.encode(guards), type=Guards) == guards
