"""
The verdict on a challenger, from a table of gates. Each gate is a test that may be evaluated at any time.

| gate | causes a rollback | prevents promotion | required for promotion |
|---|---|---|---|
| failures | the challenger is proved to fail more often than the champion, or has `fallbacks` failures | | |
| time | the challenger is proved to take over twice the champion's time for most batches | | |
| sample ratio | | the shares of the arms differ from the plan: frozen | |
| draws | | people are asked more rarely than planned: frozen | |
| reports | it is proved that people find more of the challenger's reported decisions wrong | | |
| answers | the challenger is proved worse by more than the margin | | the challenger is proved not worse by the margin |
| each guarded slice | | | the challenger is proved not worse by the slice's margin |
| review share | | over the budget, overall or for a label | counted on enough events |
| promise | | the challenger is proved to be right in a smaller share of what it publishes than promised | |
| each required outcome | the challenger's mean is proved worse by more than the outcome's margin | | the challenger's mean is proved not worse by the margin |
| each other outcome | | | |

**Risk of error.** A promotion needs every proof at once. So each proof may have the whole risk: a false promotion is no likelier than
the error of the weakest proof. The risk is `alpha / (k * (k + 1))` for the k-th try against one champion, so that all tries together
have the risk `alpha`. With a fixed risk per try, a challenger that is tried often enough would be promoted by luck. The proofs that
cause a rollback share `alpha` in equal parts, required outcomes included, anew in each plan: for a rollback, further tries do no harm. The time gate has a small
risk of its own, since times are known at once. `fallbacks` failures need no proof: the harm has been seen.

**Outcomes** are measured anew with each share, since each share has arms of its own. So the k-th share of a try has `1 / (k * (k + 1))` of
the try's risk for them. Unlike the other proofs theirs holds for many units only (`means.py`). An outcome that the plan does not require
is shown with an interval whose risk is `alpha`, and decides nothing.

**Missing answers promote nothing.** With fewer than `LEAST_ANSWERS` answers, or with fewer than half of the questions answered, there is no
promotion, whatever else is proved. Beyond a twentieth, each unanswered question counts for the champion (`proof.py`). After `max_days` the
challenger is not proven.

**A report alone does not decide.** Readers choose what they report. So a report counts only while a person's answer says that its tag is
wrong; a corrected answer takes it back. A rollback by reports needs at least `LEAST_REPORTS` of the challenger's.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

import numpy as np

from tagstream.model_export.calibrate.martingale import log_wealth_of
from tagstream.monitoring.quality.sample import Floats, Ints
from tagstream.stream.contract.field_types import MAX_NOTE_CHARACTERS
from tagstream.stream.contract.rollout_records import BundleName, GateReading, Guards, RequiredOutcome, Verdict
from tagstream.stream.rollout import proof
from tagstream.stream.rollout.epochs import Models
from tagstream.stream.rollout.evidence import MOST_EVENTS, SLOW_TIMES, Evidence, Tally
from tagstream.stream.rollout.means import LEAST_UNITS, ArmMean, TwoMeans

# The number of gates that can cause a rollback by a proof with `alpha`, beside required outcomes: failures, answers, reports.
SENDING_BACK = 3
LEAST_FAILURES = 3
# Readers choose what they report, so a few reports prove nothing.
LEAST_REPORTS = 10
# A challenger is too slow if it takes too long for more than this share of the batches.
MOST_SLOW = 0.5
# The risks of the gates `time` and `sample ratio`. They are not part of `alpha`.
TIME_RISK = 0.001
RATIO_RISK = 0.005
# With fewer answers, a proof would depend more on the counting of events than on people.
LEAST_ANSWERS = 30
# If most questions have no answer, people may have answered only the easy questions.
LEAST_ANSWERED = 0.5
# The least number of events for comparing a review share with its budget.
LEAST_EVENTS = 1_000
LEAST_EVENTS_OF_LABEL = 200
# The relative differences of an outcome for which the needed events are said.
DIFFERENCES = (0.02, 0.1)


class RolloutStep(StrEnum):
    """The decision that follows from the evidence."""

    PROMOTE = "promote"
    ROLL_BACK = "roll_back"
    WAIT = "wait"
    FROZEN = "frozen"
    NOT_PROVEN = "not_proven"


ENDING = frozenset({RolloutStep.PROMOTE, RolloutStep.ROLL_BACK, RolloutStep.NOT_PROVEN})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengerVerdict:
    """
    The verdict on a challenger.

    Attributes:
        decision: The decision that follows from the evidence.
        says: A sentence for people.
        days: How long the challenger has been watched, in days.
        gates: The present reading of every gate.
    """

    decision: RolloutStep
    says: str
    days: float
    gates: tuple[GateReading, ...]

    def record(self, epoch: int, challenger: BundleName, *, at: str, by: str) -> Verdict:
        """Return the record of this verdict for the topic `rollout`."""
        return Verdict(
            epoch=epoch,
            at=at,
            by=by,
            why=self.says[:MAX_NOTE_CHARACTERS],
            challenger=challenger,
            decision=self.decision,
            days=self.days,
            gates=self.gates,
        )


def judge(evidence: Evidence, *, days: float) -> ChallengerVerdict:
    """
    Judge a challenger by the present evidence. It may be called at any time, and the first decision that is not `wait` may be acted on.

    Args:
        evidence: The evidence so far.
        days: How long the challenger has been watched, in days.
    """
    guards = evidence.guards
    gates = (
        _failures(evidence),
        _speed(evidence),
        _ratio(evidence),
        _draws(evidence),
        _reports(evidence),
        _answers(evidence, evidence.overall),
        *(_slice(evidence, one.name, one.margin) for one in guards.slices),
        *_shares(evidence),
        _promise(evidence),
        *_outcomes(evidence),
    )
    decision = _decision([gate.state for gate in gates], over=days >= guards.max_days)
    return ChallengerVerdict(decision=decision, says=_says(decision, gates, guards), days=days, gates=gates)


def tries_of(begun: Sequence[Models], verdicts: Iterable[Verdict], challenger: str) -> int:
    """
    Return the number of a challenger's try against the present champion, from 1.

    A try is a challenger in one epoch, or in several successive epochs, such as with larger shares. A challenger in shadow is a try if a
    verdict has ended it. The shadow that promoted this same challenger belongs to the same try.

    Args:
        begun: All epochs that have begun, in their order (`Epochs.begun`), at least one.
        verdicts: The verdicts of the topic that count.
        challenger: The digest of the bundle that is tried now.
    """
    champion = begun[-1].champion.digest
    others = [number for number, one in enumerate(begun) if one.champion.digest != champion]
    line = begun[others[-1] + 1 if others else 0 :]
    in_epoch = {one.epoch: one.challenger.bundle.digest if one.challenger is not None else "" for one in line}
    runs = [digest for digest, _ in groupby(in_epoch.values()) if digest]
    ended = [(one.challenger.digest, one.epoch, one.decision) for one in verdicts if one.decision in ENDING]
    shadows = sum(
        in_epoch.get(epoch, digest) != digest and (digest, decision) != (challenger, RolloutStep.PROMOTE)
        for digest, epoch, decision in ended
    )
    continues = in_epoch[begun[-1].epoch] == challenger
    return len(runs) + shadows + (not continues)


def _decision(states: Sequence[str], *, over: bool) -> RolloutStep:
    if "harms" in states:
        return RolloutStep.ROLL_BACK
    if "freezes" in states:
        return RolloutStep.NOT_PROVEN if over else RolloutStep.FROZEN
    if "worse" in states:
        return RolloutStep.ROLL_BACK
    if all(state == "passes" for state in states):
        return RolloutStep.PROMOTE
    return RolloutStep.NOT_PROVEN if over else RolloutStep.WAIT


def _says(decision: RolloutStep, gates: Sequence[GateReading], guards: Guards) -> str:
    def of(*states: str) -> str:
        return "; ".join(gate.says for gate in gates if gate.state in states)

    match decision:
        case RolloutStep.ROLL_BACK:
            return f"it goes back: {of('harms') or of('worse')}"
        case RolloutStep.FROZEN:
            return f"no verdict: {of('freezes')}"
        case RolloutStep.PROMOTE:
            return f"it is promoted: {next(gate.says for gate in gates if gate.name == 'answers')}"
        case RolloutStep.WAIT:
            return f"it is not decided yet: {of('forbids', 'waits')}"
        case RolloutStep.NOT_PROVEN:
            return f"after {guards.max_days:g} days it is not proven: {of('freezes', 'forbids', 'waits')}"


def _gate(name: str, state: str, says: str, **figures: float) -> GateReading:
    return GateReading(name=name, state=state, says=says, figures=figures)


def _risk_back(guards: Guards) -> float:
    """Return the part of `alpha` that each proof for a rollback has."""
    return guards.alpha / (SENDING_BACK + len(guards.required))


def _failures(evidence: Evidence) -> GateReading:
    failed, guards = evidence.failures, evidence.guards
    found = proof.more_than(failed.challenger, failed.challenger + failed.champion, 0.5)
    says = f"in shadow the challenger failed in {failed.challenger:,} batches, and the champion in {failed.champion:,} others"
    if failed.fallbacks:
        says = f"{says}; in the canary the champion decided {failed.fallbacks:,} events in the challenger's place"
    proved = failed.challenger >= LEAST_FAILURES and found >= _enough(_risk_back(guards))
    harms = proved or failed.challenger + failed.fallbacks >= guards.fallbacks
    return _gate(
        "failures",
        "harms" if harms else "passes",
        says,
        challenger=failed.challenger,
        champion=failed.champion,
        fallbacks=failed.fallbacks,
        evidence=_figure(found),
    )


def _speed(evidence: Evidence) -> GateReading:
    slow, batches = evidence.batches[True], evidence.batches.total()
    found = proof.more_than(slow, batches, MOST_SLOW)
    says = f"in shadow it took over {SLOW_TIMES:g} times the champion's time for {slow:,} of {batches:,} batches"
    harms = found >= _enough(TIME_RISK)
    return _gate("time", "harms" if harms else "passes", says, slow=slow, batches=batches, evidence=_figure(found))


def _ratio(evidence: Evidence) -> GateReading:
    arms, share = evidence.arms, evidence.share
    if share is None or share == 1:
        return _gate("sample ratio", "passes", "there are no arms to compare")
    units = arms.challenger + arms.champion
    found = proof.other_than(arms.challenger, units, share)
    seen = arms.challenger / units if units else 0.0
    says = f"the challenger has {seen:.2%} of {units:,} units, and {share:.2%} are planned"
    return _gate(
        "sample ratio", "freezes" if found >= _enough(RATIO_RISK) else "passes", says, share=seen, evidence=_figure(found)
    )


def _draws(evidence: Evidence) -> GateReading:
    guards, rare = evidence.guards, evidence.too_rare
    says = (
        f"people are asked about {rare:,} events more rarely than the plan counts on (asked_at_least {guards.asked_at_least:g}, audited_at_least "
        f"{guards.audited_at_least:g}), so answers prove nothing; draw more often, or plan with lower ones"
    )
    return _gate(
        "draws", "freezes" if rare else "passes", says if rare else "people are asked as often as planned", events=rare
    )


def _reports(evidence: Evidence) -> GateReading:
    share = evidence.share
    if share is None or share == 1:
        return _gate("reports", "passes", "there are no arms to compare")
    reports = evidence.reports
    its, units = reports[True], reports.total()
    found = proof.more_than(its, units, share)
    says = f"of {units:,} units of which people found a reported tag wrong {its:,} are the challenger's, and {share:.1%} would be by chance"
    proved = its >= LEAST_REPORTS and found >= _enough(_risk_back(evidence.guards))
    return _gate("reports", "worse" if proved else "passes", says, challenger=its, units=units, evidence=_figure(found))


def _answers(evidence: Evidence, tally: Tally) -> GateReading:
    guards = evidence.guards
    risk = _risk_back(guards)
    z, weight, count = cells(tally.answers)
    least = proof.least_share(_ints(tally.discordant), _ints(tally.compared), risk=proof.RATE_PART * risk)
    margin = proof.margin_of_rollback(guards.margin, least, anchoring=guards.anchoring)
    against = float(proof.worse(z, weight, count, margin=margin, largest=1 / guards.asked_at_least)[0])
    found = _not_worse(evidence, tally, guards.margin)
    figures = {
        "events": tally.compared,
        "disagreements": tally.discordant,
        "asked": tally.asked,
        "answers": tally.answered,
        "hidden": _hidden(tally).total(),
        "challenger": tally.favouring(1),
        "champion": tally.favouring(-1),
        "not_worse": _figure(found),
        "worse": _figure(against),
        "better": _figure(_not_worse(evidence, tally, 0.0)),
    }
    seen = _seen(tally)
    if against >= _enough((1 - proof.RATE_PART) * risk):
        return _gate("answers", "worse", f"it is worse by more than {_part(guards.margin)}: {seen}", **figures)
    state, says = _proved(evidence, tally, found, guards.margin)
    return _gate("answers", state, f"{says}: {seen}", **figures)


def _slice(evidence: Evidence, name: str, margin: float) -> GateReading:
    tally = evidence.slices[name]
    found = _not_worse(evidence, tally, margin)
    state, says = _proved(evidence, tally, found, margin)
    return _gate(f"slice {name}", state, f"in {name} {says}: {_seen(tally)}", answers=tally.answered, not_worse=_figure(found))


def _not_worse(evidence: Evidence, tally: Tally, margin: float) -> float:
    """Return the logarithm of the evidence that the challenger is not worse by the margin."""
    guards = evidence.guards
    z, weight, count = cells(tally.answers + _hidden(tally))
    risk = proof.RATE_PART * proof.risk_of_try(guards.alpha, evidence.tries)
    most = proof.most_share(_ints(tally.discordant), _ints(tally.compared), risk=risk)
    shrunk = proof.margin_of_promotion(margin, most, slips=guards.slips, labels=evidence.labels)
    return float(proof.not_worse(z, weight, count, margin=shrunk, largest=1 / guards.asked_at_least)[0])


def _proved(evidence: Evidence, tally: Tally, found: float, margin: float) -> tuple[str, str]:
    """Return the state of a proof that promotion requires, and its sentence for people."""
    what = f"worse by {_part(margin)} or more" if margin else "no better"
    if tally.answered < LEAST_ANSWERS:
        return "waits", f"{LEAST_ANSWERS} answers are needed"
    if tally.answered < LEAST_ANSWERED * tally.asked:
        return "waits", "fewer than half of the questions are answered"
    risk = (1 - proof.RATE_PART) * proof.risk_of_try(evidence.guards.alpha, evidence.tries)
    if found < _enough(risk):
        return "waits", f"it may still be {what}"
    return "passes", f"it is proved that it is not {what}"


def _shares(evidence: Evidence) -> list[GateReading]:
    """Return the gate of the review share over all events, and a gate for each champion's label whose share is over the budget."""
    budget, every = evidence.guards.review_budget, evidence.overall
    state = "waits" if every.compared < LEAST_EVENTS else "forbids" if every.more_review > budget else "passes"
    says = f"{every.more_review:+.2%} of {every.compared:,} events would go to people, {budget:.2%} more may"
    if state == "waits":
        says = f"{LEAST_EVENTS:,} events are needed to say how many would go to people, and {every.compared:,} are counted"
    over = [
        _gate(
            f"review share of {label}",
            "forbids",
            f"{one.more_review:+.2%} of {one.compared:,} events that the champion tags {label} would go to people, {budget:.2%} more may",
            more=one.more_review,
            events=one.compared,
        )
        for label, one in sorted(evidence.by_label.items())
        if one.compared >= LEAST_EVENTS_OF_LABEL and one.more_review > budget
    ]
    return [_gate("review share", state, says, more=every.more_review, events=every.compared), *over]


def _promise(evidence: Evidence) -> GateReading:
    guards, published = evidence.guards, evidence.published
    if guards.promise is None:
        return _gate("promise", "passes", "the plan names no promise of what is published")
    kinds = sorted(published.items())
    right = np.array([float(hit) for (hit, _), _ in kinds])
    weight = np.array([one for (_, one), _ in kinds])
    count = np.array([number for _, number in kinds], dtype=np.int64)
    # Slips may make this share of right decisions look wrong.
    promised = guards.promise * (1 - guards.slips)
    largest = 1 / min(guards.asked_at_least, guards.audited_at_least)
    found = float(log_wealth_of(1 - right, weight, count, target=np.float64(1 - promised), largest=largest))
    share = float((weight * count) @ right / (weight * count).sum()) if count.sum() else 1.0
    says = f"{share:.2%} of what it would publish seem right by {published.total():,} answers, and {guards.promise:.2%} are promised"
    broken = found >= _enough(guards.alpha)
    return _gate(
        "promise", "forbids" if broken else "passes", says, right=share, answers=published.total(), evidence=_figure(found)
    )


def _outcomes(evidence: Evidence) -> list[GateReading]:
    """Return a gate for each outcome that is measured or required, those with most values first."""
    required = {one.name: one for one in evidence.guards.required}
    return [_outcome(evidence, name, required.get(name)) for name in evidence.measured.names]


def _outcome(evidence: Evidence, name: str, required: RequiredOutcome | None) -> GateReading:
    """Return the gate of an outcome. Without a requirement it is shown alone, and always passes."""
    gate, open_ = f"outcome {name}", "passes" if required is None else "waits"
    if evidence.share is None or evidence.share == 1:
        return _gate(gate, open_, f"of {name}, there are no arms to compare")
    arms, alpha = evidence.measured.means(name), evidence.guards.alpha
    figures = {
        "units_challenger": float(arms.challenger.units[0]),
        "units_champion": float(arms.champion.units[0]),
        "challenger": float(arms.challenger.mean[0]),
        "champion": float(arms.champion.mean[0]),
    }
    if not arms.enough[0]:
        return _gate(gate, open_, f"of {name}, {_too_few(arms)}", **figures)
    says = f"{_mean(arms.challenger)} for the challenger, {_mean(arms.champion)} for the champion"
    champion = figures["champion"]
    low, high = sorted((float(bound[0]) - 1) * math.copysign(1, champion) for bound in arms.interval(alpha))
    if math.isfinite(low):
        figures |= {"low": low, "high": high}
        says = f"{says}: {(figures['challenger'] - champion) / abs(champion):+.1%} of the champion's, {low:+.1%} to {high:+.1%}"
    else:
        says = f"{says}: a relative difference is not known, since the champion's may be 0"
    # The events of the stream for each unit that is measured.
    each = evidence.arms.events / float(arms.units[0])
    needed = {f"{apart:.0%}": float(arms.units_to_see(apart, alpha)[0]) * each for apart in DIFFERENCES}
    takes = ", and one of ".join(f"{apart} takes {_events(events)}" for apart, events in needed.items())
    says = f"{says}; to see a difference of {takes}"
    figures |= {f"events_{apart.rstrip('%')}": events for apart, events in needed.items()}
    if required is None:
        return _gate(gate, "passes", f"decides nothing, since the plan does not require it: {says}", **figures)
    # The mean to which the challenger's is compared, as a part of the champion's: lower where more is better.
    ratio = 1 - required.margin * math.copysign(1, champion) * (-1 if required.less else 1)
    not_worse, worse = (float(arms.evidence(ratio, above=above)[0]) for above in (not required.less, required.less))
    figures |= {"not_worse": _figure(not_worse), "worse": _figure(worse)}
    part = f"worse by {required.margin:.1%} or more" if required.margin else "no better"
    if worse >= _enough(_risk_back(evidence.guards)):
        return _gate(gate, "worse", f"its mean of {name} is proved worse by more than {required.margin:.1%}: {says}", **figures)
    risk = proof.risk_of_try(proof.risk_of_try(alpha, evidence.tries), evidence.shares)
    if not_worse >= _enough(risk):
        return _gate(gate, "passes", f"it is proved that its mean of {name} is not {part}: {says}", **figures)
    if required.margin:
        figures["events_to_prove"] = proving = float(arms.units_to_prove(ratio, risk)[0]) * each
        says = f"{says}; if both are equal, the proof takes {_events(proving)}"
    return _gate(gate, "waits", f"its mean of {name} may still be {part}: {says}", **figures)


def _too_few(arms: TwoMeans) -> str:
    if not arms.units[0]:
        return "no record of the topic outcomes names it for an event that this epoch has decided"
    counted = f"{arms.challenger.units[0]:,.0f} of the challenger and {arms.champion.units[0]:,.0f} of the champion are counted"
    if min(arms.challenger.variance[0], arms.champion.variance[0]) == 0:
        return f"values that differ are needed in each arm: {counted}"
    least = math.ceil(max(arms.challenger.least_units[0], arms.champion.least_units[0]))
    why = " by the skewness of the values" if least > LEAST_UNITS else ""
    return f"{least:,} units in each arm are needed{why}: {counted}"


def _mean(arm: ArmMean) -> str:
    return f"{arm.mean[0]:.4g} by {arm.units[0]:,.0f} units"


def _events(number: float) -> str:
    """Return about how many events of the stream, to two digits."""
    if number > MOST_EVENTS:
        return f"more than the {MOST_EVENTS:,} events that are counted"
    return f"about {float(f'{number:.2g}'):,.0f} events in all"


def cells(answers: Counter[tuple[int, float]]) -> tuple[Floats, Floats, Ints]:
    """Return, by kind of answer: whom it favours and its weight, shape (kinds,), and the number of answers, shape (1, kinds)."""
    # Sorted, so that sums do not depend on the order of arrival.
    kinds = sorted(answers.items())
    return (
        np.array([float(favours) for (favours, _), _ in kinds]),
        np.array([weight for (_, weight), _ in kinds]),
        np.array([[count for _, count in kinds]], dtype=np.int64),
    )


def _hidden(tally: Tally) -> Counter[tuple[int, float]]:
    """Return the unanswered questions that count as answers for the champion."""
    answered = Counter[float]()
    for (_, weight), count in tally.answers.items():
        answered[weight] += count
    return Counter(
        {(-1, weight): int(proof.hidden(_ints(asked), _ints(answered[weight]))[0]) for weight, asked in tally.questions.items()}
    )


def _ints(number: int) -> Ints:
    return np.array([number], dtype=np.int64)


def _enough(risk: float) -> float:
    return -math.log(risk)


def _figure(logged: float) -> float:
    """Return evidence as people read it: the wealth of a bet that began with 1, at most 1e12."""
    return round(math.exp(min(logged, 12 * math.log(10))), 4)


def _seen(tally: Tally) -> str:
    says = (
        f"of {tally.compared:,} events the two disagree on {tally.discordant:,}; of {tally.answered:,} answers there {tally.favouring(1):,} are for the "
        f"challenger, {tally.favouring(-1):,} for the champion, {tally.favouring(0):,} for neither"
    )
    hidden = _hidden(tally).total()
    return f"{says}; of {tally.asked:,} questions {hidden:,} without an answer count for the champion too" if hidden else says


def _part(margin: float) -> str:
    return f"{margin:.4g} of all events"
