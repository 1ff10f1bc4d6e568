"""Judges a fault run: inputs that the broker has acknowledged, against all that lies on the outcome topics. Pure.

    I1  every input has an outcome
    I2  no outcome without an input
    I3  all outcomes of one input by one model agree: the same destination, key and decision (all of the value but `tagged_at`)
    I4  committed offsets never run ahead of outcomes, in any sample
    I5  first outcomes follow the order of the input, per input partition and outcome partition, where a key ties an outcome
        to its partition: a dead letter without a key may lie in another one at every delivery
    I6  the dead letters are exactly the malformed inputs: their key, bytes (or the SHA-256 of those, in a reference) and headers,
        with where they came from
    I7  the longest time without a new outcome is bounded
    I8  in the end no event waits: each commit is behind the last event of its partition (behind which only the marker of a
        transaction may come) and not beyond the end of the log
    I9  every outcome is the one that the same pipeline gives offline for the bytes that were sent: destination, key, every field and header

Decisions and dead letters of reviewers' answers are taken out first; `answered.py` judges them and the copies for `audit` (I10 to I12).

The tests of this file plant a breach of each and see it found.
"""

import bisect
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.decide.pipeline import Draw
from tests.faults.inputs import Input, by_partition
from tests.faults.verdict.answered import audited, judge, split
from tests.faults.verdict.evidence import Evidence, Finding, Sample, Verdict
from tests.faults.verdict.matching import Matched, Model, Place, decision, is_intact, key_of, matched, model_of, name, place
from tests.faults.verdict.offline import Offline

# A finding quotes at most so many cases.
QUOTED = 3


def check(
    evidence: Evidence, offline: Offline | None = None, *, draw: Draw | None = None, reviewed: str = "reviewed"
) -> Verdict:
    """
    Look for a breach of each invariant.

    Args:
        evidence: The run.
        offline: Decides its inputs anew, for I9; without it I9 is not among the findings.
        draw: That of the workers, for I12; without it I12 is not among the findings.
        reviewed: The topic of answers.
    """
    written = split(evidence.outcomes, reviewed)
    answers = judge(evidence, written.answers, reviewed)
    found, invented = matched(evidence.inputs, written.events)
    by_input: dict[Place, list[Matched]] = defaultdict(list)
    for outcome in found:
        by_input[place(outcome.of)].append(outcome)
    lost = [one for one in evidence.inputs if place(one) not in by_input]
    for_good = _below_commits(lost, evidence.samples)
    findings = (
        _no_loss(evidence, lost, for_good),
        Finding(invariant="I2", cases=len(invented), says=f"{len(invented)} outcomes of no input{_quote(invented)}"),
        _no_conflict(by_input),
        _commits_behind_outcomes(evidence, by_input),
        _order(found),
        _dead_letters(evidence, by_input),
        _progress(evidence),
        _finished(evidence),
        *((_as_offline(evidence, by_input, offline),) if offline is not None else ()),
        *answers.findings,
        *((audited(written.events[Destination.TAGGED], evidence.audits, draw),) if draw is not None else ()),
    )
    total = len(found) + len(invented)
    return Verdict(
        findings=findings,
        outcomes=total,
        duplicated_at=tuple(sorted(_duplicated_at(evidence, by_input))),
        lost_for_good=for_good,
        answers_repeated=answers.repeated,
    )


def _duplicated_at(evidence: Evidence, by_input: Mapping[Place, Sequence[Matched]]) -> Iterator[float]:
    ends: defaultdict[tuple[Destination, int], list[int]] = defaultdict(list)
    for sample in evidence.samples:
        for lane, end in sample.written.items():
            ends[lane].append(end)
    for outcomes in by_input.values():
        seen = sorted(_first_look(outcome, ends, evidence.samples) for outcome in outcomes)
        yield from seen[1:]


def _first_look(outcome: Matched, ends: Mapping[tuple[Destination, int], Sequence[int]], samples: Sequence[Sample]) -> float:
    """The time of the first sample that has the outcome; of the last one for an outcome after that."""
    lane = ends.get((outcome.destination, outcome.record.partition), ())
    index = bisect.bisect_right(lane, outcome.record.offset)
    return samples[min(index, len(samples) - 1)].at_seconds if samples else 0.0


def _quote(cases: Sequence[str]) -> str:
    if not cases:
        return ""
    return ": " + ", ".join(cases[:QUOTED]) + (f" and {len(cases) - QUOTED} more" if len(cases) > QUOTED else "")


def _below_commits(lost: Sequence[Input], samples: Sequence[Sample]) -> int:
    committed: defaultdict[int, int] = defaultdict(int)
    for sample in samples:
        for partition, offset in sample.committed.items():
            committed[partition] = max(committed[partition], offset)
    return sum(one.offset < committed[one.partition] for one in lost)


def _no_loss(evidence: Evidence, lost: Sequence[Input], for_good: int) -> Finding:
    return Finding(
        invariant="I1",
        cases=len(lost),
        says=(
            f"{len(lost)} of {len(evidence.inputs)} inputs without an outcome, "
            f"{for_good} of them below a commit{_quote([name(one) for one in lost])}"
        ),
    )


def _no_conflict(by_input: Mapping[Place, Sequence[Matched]]) -> Finding:
    conflicts = [name(outcomes[0].of) for outcomes in by_input.values() if len(outcomes) > 1 and _disagree(outcomes)]
    return Finding(
        invariant="I3", cases=len(conflicts), says=f"{len(conflicts)} inputs with outcomes that differ{_quote(conflicts)}"
    )


def _disagree(outcomes: Sequence[Matched]) -> bool:
    """
    Whether outcomes of one input contradict each other.

    Two models may decide differently while one replaces the other; one model may not. No model decides whether an event is malformed.
    """
    if len({outcome.destination is Destination.DLQ for outcome in outcomes}) > 1:
        return True
    said: defaultdict[Model | None, set[tuple[Destination, bytes | None, bytes | None]]] = defaultdict(set)
    for outcome in outcomes:
        said[model_of(outcome)].add((outcome.destination, key_of(outcome), decision(outcome)))
    return any(len(different) > 1 for different in said.values())


def _commits_behind_outcomes(evidence: Evidence, by_input: Mapping[Place, Sequence[Matched]]) -> Finding:
    ahead: list[str] = []
    inputs = by_partition(evidence.inputs)
    offsets = {partition: [one.offset for one in found] for partition, found in inputs.items()}
    looked: defaultdict[int, int] = defaultdict(int)
    for sample in evidence.samples:
        for partition, committed in sample.committed.items():
            # Transactions leave offsets without an input.
            behind = bisect.bisect_left(offsets.get(partition, ()), committed)
            # Each input is checked in the first sample that has it committed, since later ones only know more outcomes.
            ahead += [
                f"{name(one)} at {sample.at_seconds:.1f} s under the commit {committed}"
                for one in inputs.get(partition, [])[looked[partition] : behind]
                if not any(_is_written(outcome, sample) for outcome in by_input.get(place(one), ()))
            ]
            looked[partition] = max(looked[partition], behind)
    return Finding(
        invariant="I4",
        cases=len(ahead),
        says=f"{len(ahead)} inputs committed before their outcome, in {len(evidence.samples)} samples{_quote(ahead)}",
    )


def _is_written(outcome: Matched, sample: Sample) -> bool:
    return outcome.record.offset < sample.written.get((outcome.destination, outcome.record.partition), 0)


def _order(found: Sequence[Matched]) -> Finding:
    swapped: list[str] = []
    last: dict[tuple[Destination, int, int], int] = {}
    seen: set[Place] = set()
    for outcome in sorted(found, key=lambda outcome: (outcome.destination, outcome.record.partition, outcome.record.offset)):
        if place(outcome.of) in seen or outcome.record.key is None:
            continue
        seen.add(place(outcome.of))
        lane = (outcome.destination, outcome.record.partition, outcome.of.partition)
        if outcome.of.offset < last.get(lane, -1):
            swapped.append(name(outcome.of))
        last[lane] = max(outcome.of.offset, last.get(lane, -1))
    return Finding(
        invariant="I5", cases=len(swapped), says=f"{len(swapped)} first outcomes behind those of later inputs{_quote(swapped)}"
    )


def _dead_letters(evidence: Evidence, by_input: Mapping[Place, Sequence[Matched]]) -> Finding:
    wrong: list[str] = []
    malformed = 0
    for one in evidence.inputs:
        is_malformed = one.planted.event_id is None
        malformed += is_malformed
        for outcome in by_input.get(place(one), ()):
            if (outcome.destination is Destination.DLQ) != is_malformed:
                wrong.append(f"{name(one)} went to {outcome.destination}")
            elif is_malformed and not is_intact(one, outcome):
                wrong.append(f"{name(one)} came back changed")
    return Finding(
        invariant="I6",
        cases=len(wrong),
        says=f"{malformed} malformed inputs; {len(wrong)} outcomes through the wrong destination or not as they came{_quote(wrong)}",
    )


def _progress(evidence: Evidence) -> Finding:
    longest = longest_pause(evidence.samples)
    too_long = longest > evidence.idle_bound_seconds
    return Finding(
        invariant="I7",
        cases=int(too_long),
        says=f"at most {longest:.1f} s without a new outcome (bound {evidence.idle_bound_seconds:g} s)",
    )


def longest_pause(samples: Sequence[Sample]) -> float:
    """The longest time in seconds from a sample with a new outcome to the next such one, or to the last; from the first outcome on."""
    longest = 0.0
    since: Sample | None = None
    for sample in samples:
        if since is None:
            since = sample if any(sample.written.values()) else None
            continue
        longest = max(longest, sample.at_seconds - since.at_seconds)
        if sample.written != since.written:
            since = sample
    return longest


def _finished(evidence: Evidence) -> Finding:
    committed = evidence.samples[-1].committed if evidence.samples else {}
    behind: defaultdict[int, int] = defaultdict(int)
    for one in evidence.inputs:
        behind[one.partition] = max(behind[one.partition], one.offset + 1)
    wrong = [
        f"partition {partition}: {committed.get(partition, 0)} of {behind[partition]}"
        for partition, end in sorted(evidence.ends.items())
        if not behind[partition] <= committed.get(partition, 0) <= end
    ]
    return Finding(
        invariant="I8",
        cases=len(wrong),
        says=f"committed is not behind the last event in {len(wrong)} of {len(evidence.ends)} partitions{_quote(wrong)}",
    )


def _as_offline(evidence: Evidence, by_input: Mapping[Place, Sequence[Matched]], offline: Offline) -> Finding:
    wrong = list(offline.differences(evidence.inputs, by_input))
    return Finding(invariant="I9", cases=len(wrong), says=f"{len(wrong)} outcomes not as decided offline{_quote(wrong)}")
