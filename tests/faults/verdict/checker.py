"""Judges a fault run: inputs that the broker has acknowledged, against all that lies on the outcome topics. Pure.

    I1  every input has an outcome
    I2  no outcome without an input
    I3  all outcomes of one input by one model agree: the same door, key and decision (all of the value but `tagged_at`)
    I4  committed offsets never run ahead of outcomes, in any sample
    I5  first outcomes follow the order of the input, per input partition and outcome partition, where a key ties an outcome
        to its partition: a dead letter without a key may lie in another one at every delivery
    I6  the dead letters are exactly the malformed inputs: their key, bytes and headers, with where they came from
    I7  the longest time without a new outcome is bounded
    I8  in the end no event waits: the committed offsets are the ends of the log

The tests of this file plant a breach of each and see it found.
"""

import bisect
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from stream.contract.record import Record
from tests.faults.inputs import Input, by_partition
from tests.faults.verdict.evidence import Door, Evidence, Finding, Sample, Verdict

CLOCK = b',"tagged_at":'
# A finding quotes at most so many cases.
QUOTED = 3

Place = tuple[int, int]
"""Partition and offset."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """An outcome with the input that it is of."""

    door: Door
    record: Record
    of: Input


def check(evidence: Evidence) -> Verdict:
    """Look for a breach of each invariant."""
    matched, invented = _matched(evidence)
    by_input: dict[Place, list[_Outcome]] = defaultdict(list)
    for outcome in matched:
        by_input[_place(outcome.of)].append(outcome)
    lost = [one for one in evidence.inputs if _place(one) not in by_input]
    for_good = _below_commits(lost, evidence.samples)
    findings = (
        _no_loss(evidence, lost, for_good),
        Finding(invariant="I2", cases=len(invented), says=f"{len(invented)} outcomes of no input{_quote(invented)}"),
        _no_conflict(by_input),
        _commits_behind_outcomes(evidence, by_input),
        _order(matched),
        _dead_letters(evidence, by_input),
        _progress(evidence),
        _finished(evidence),
    )
    total = len(matched) + len(invented)
    return Verdict(
        findings=findings,
        outcomes=total,
        duplicated_at=tuple(sorted(_duplicated_at(evidence, by_input))),
        lost_for_good=for_good,
    )


def _duplicated_at(evidence: Evidence, by_input: Mapping[Place, Sequence[_Outcome]]) -> Iterator[float]:
    ends: defaultdict[tuple[Door, int], list[int]] = defaultdict(list)
    for sample in evidence.samples:
        for lane, end in sample.written.items():
            ends[lane].append(end)
    for outcomes in by_input.values():
        seen = sorted(_first_look(outcome, ends, evidence.samples) for outcome in outcomes)
        yield from seen[1:]


def _first_look(outcome: _Outcome, ends: Mapping[tuple[Door, int], Sequence[int]], samples: Sequence[Sample]) -> float:
    """The time of the first sample that has the outcome; of the last one for an outcome after that."""
    lane = ends.get((outcome.door, outcome.record.partition), ())
    index = bisect.bisect_right(lane, outcome.record.offset)
    return samples[min(index, len(samples) - 1)].at_seconds if samples else 0.0


def _place(one: Input) -> Place:
    return one.partition, one.offset


def _name(one: Input) -> str:
    return f"{one.planted.event_id or 'malformed'} at {one.partition}/{one.offset}"


def _quote(cases: Sequence[str]) -> str:
    if not cases:
        return ""
    return ": " + ", ".join(cases[:QUOTED]) + (f" and {len(cases) - QUOTED} more" if len(cases) > QUOTED else "")


def _matched(evidence: Evidence) -> tuple[list[_Outcome], list[str]]:
    by_id = {one.planted.event_id: one for one in evidence.inputs if one.planted.event_id is not None}
    by_place = {_place(one): one for one in evidence.inputs}
    matched: list[_Outcome] = []
    invented: list[str] = []
    for door, records in evidence.outcomes.items():
        for record in records:
            where = _source(record) if door is Door.DLQ else None
            found = by_id.get(_event_id(record) or "") if where is None else by_place.get(where)
            if found is None:
                invented.append(f"{door} {record.partition}/{record.offset}")
            else:
                matched.append(_Outcome(door, record, found))
    return matched, invented


def _event_id(record: Record) -> str | None:
    try:
        value = msgspec.json.decode(record.value or b"", type=dict[str, msgspec.Raw])
        return msgspec.json.decode(value["id"], type=str)
    except (msgspec.DecodeError, KeyError):
        return None


def _source(record: Record) -> Place | None:
    """The origin that a dead letter names, in the last headers, since the producer's own come first."""
    headers = dict(record.headers)
    try:
        return int(headers["__streams.errors.partition"]), int(headers["__streams.errors.offset"])
    except (KeyError, ValueError):
        return None


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
            f"{for_good} of them below a commit{_quote([_name(one) for one in lost])}"
        ),
    )


def _no_conflict(by_input: Mapping[Place, Sequence[_Outcome]]) -> Finding:
    conflicts = [_name(outcomes[0].of) for outcomes in by_input.values() if len(outcomes) > 1 and _disagree(outcomes)]
    return Finding(
        invariant="I3", cases=len(conflicts), says=f"{len(conflicts)} inputs with outcomes that differ{_quote(conflicts)}"
    )


def _disagree(outcomes: Sequence[_Outcome]) -> bool:
    """
    Whether outcomes of one input contradict each other.

    Two models may decide differently while one replaces the other; one model may not. No model decides whether an event is malformed.
    """
    if len({outcome.door is Door.DLQ for outcome in outcomes}) > 1:
        return True
    said: defaultdict[str | None, set[tuple[Door, bytes | None, bytes | None]]] = defaultdict(set)
    for outcome in outcomes:
        said[_digest(outcome)].add((outcome.door, outcome.record.key, decision(outcome)))
    return any(len(different) > 1 for different in said.values())


def _digest(outcome: _Outcome) -> str | None:
    if outcome.door is Door.DLQ:
        return None
    value = msgspec.json.decode(outcome.record.value or b"{}", type=dict[str, msgspec.Raw])
    return msgspec.json.decode(value["model"], type=dict[str, str])["digest"] if "model" in value else None


def decision(outcome: _Outcome) -> bytes | None:
    """The outcome's value without the fields that the clock wrote."""
    value = outcome.record.value
    if outcome.door is Door.DLQ or value is None:
        return value
    before, found, _ = value.rpartition(CLOCK)
    return before if found else value


def _commits_behind_outcomes(evidence: Evidence, by_input: Mapping[Place, Sequence[_Outcome]]) -> Finding:
    ahead: list[str] = []
    inputs = by_partition(evidence.inputs)
    looked: defaultdict[int, int] = defaultdict(int)
    for sample in evidence.samples:
        for partition, committed in sample.committed.items():
            # Each input is checked in the first sample that has it committed, since later ones only know more outcomes.
            ahead += [
                f"{_name(one)} at {sample.at_seconds:.1f} s under the commit {committed}"
                for one in inputs.get(partition, [])[looked[partition] : committed]
                if not any(_is_written(outcome, sample) for outcome in by_input.get(_place(one), ()))
            ]
            looked[partition] = max(looked[partition], committed)
    return Finding(
        invariant="I4",
        cases=len(ahead),
        says=f"{len(ahead)} inputs committed before their outcome, in {len(evidence.samples)} samples{_quote(ahead)}",
    )


def _is_written(outcome: _Outcome, sample: Sample) -> bool:
    return outcome.record.offset < sample.written.get((outcome.door, outcome.record.partition), 0)


def _order(matched: Sequence[_Outcome]) -> Finding:
    swapped: list[str] = []
    last: dict[tuple[Door, int, int], int] = {}
    seen: set[Place] = set()
    for outcome in sorted(matched, key=lambda outcome: (outcome.door, outcome.record.partition, outcome.record.offset)):
        if _place(outcome.of) in seen or outcome.record.key is None:
            continue
        seen.add(_place(outcome.of))
        lane = (outcome.door, outcome.record.partition, outcome.of.partition)
        if outcome.of.offset < last.get(lane, -1):
            swapped.append(_name(outcome.of))
        last[lane] = max(outcome.of.offset, last.get(lane, -1))
    return Finding(
        invariant="I5", cases=len(swapped), says=f"{len(swapped)} first outcomes behind those of later inputs{_quote(swapped)}"
    )


def _dead_letters(evidence: Evidence, by_input: Mapping[Place, Sequence[_Outcome]]) -> Finding:
    wrong: list[str] = []
    malformed = 0
    for one in evidence.inputs:
        is_malformed = one.planted.event_id is None
        malformed += is_malformed
        for outcome in by_input.get(_place(one), ()):
            if (outcome.door is Door.DLQ) != is_malformed:
                wrong.append(f"{_name(one)} went to {outcome.door}")
            elif is_malformed and not _is_intact(one, outcome.record):
                wrong.append(f"{_name(one)} came back changed")
    return Finding(
        invariant="I6",
        cases=len(wrong),
        says=f"{malformed} malformed inputs; {len(wrong)} outcomes through the wrong door or not as they came{_quote(wrong)}",
    )


def _is_intact(one: Input, record: Record) -> bool:
    planted = one.planted
    return (
        record.value == planted.value
        and record.key == planted.key
        and record.headers[: len(planted.headers)] == planted.headers
        and bool(dict(record.headers).get("x-dlq-stage"))
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
    waiting = {
        partition: end - committed.get(partition, 0)
        for partition, end in evidence.ends.items()
        if committed.get(partition, 0) != end
    }
    listed = [f"partition {partition}: {left}" for partition, left in sorted(waiting.items())]
    return Finding(
        invariant="I8",
        cases=len(waiting),
        says=f"committed is not the end of the log in {len(waiting)} of {len(evidence.ends)} partitions{_quote(listed)}",
    )
