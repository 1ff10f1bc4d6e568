"""
Judges what became of reviewers' answers, and of the copies for `audit`. Pure.

    I10  each answer is on `tagged` at least once, with key, headers and all bytes but `tagged_at` as its record gives them, and nothing
         else is there in a reviewer's name; each record that is no answer is a dead letter of `reviewed`, as it came; no commit runs ahead
         of a decision, and in the end none waits; of all decisions on an event, the greatest by version is that of the newest answer
    I11  first decisions follow the order of the answers, per partition of `reviewed` and of `tagged`
    I12  each tagged decision that the draw names is on `audit`, with its bytes, the probability and its key and headers, and no other is
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.answers import AnsweredEvent, answer_id, read_answer
from tagstream.stream.contract.event import Headers, Record, weight
from tagstream.stream.contract.outcome import Publication, audit_copy
from tagstream.stream.decide.pipeline import Draw
from tagstream.stream.decide.reviewer_answers import ReviewerAnswers
from tests.faults.inputs import STRANGER, Input
from tests.faults.verdict.evidence import Evidence, Finding
from tests.faults.verdict.matching import Matched, is_intact, origin, place, without_clock

TOPIC_HEADER = "__streams.errors.topic"
QUOTED = 3

Content = tuple[Destination, bytes | None, bytes | None, Headers]
"""Destination, key, value without the time of the clock, and headers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The outcome topics' records: those of events, and those of answers."""

    events: Mapping[Destination, Sequence[Record]]
    answers: Mapping[Destination, Sequence[Record]]


def split(outcomes: Mapping[Destination, Sequence[Record]], reviewed: str) -> Split:
    """Tell them apart: by the decider, and by the topic that a dead letter names. `reviewed` is the topic of answers."""
    events: dict[Destination, list[Record]] = {destination: [] for destination in outcomes}
    answers: dict[Destination, list[Record]] = {destination: [] for destination in outcomes}
    for destination, records in outcomes.items():
        for record in records:
            (answers if _is_of_an_answer(destination, record, reviewed) else events)[destination].append(record)
    return Split(events=events, answers=answers)


def _is_of_an_answer(destination: Destination, record: Record, reviewed: str) -> bool:
    if destination is Destination.DLQ:
        return dict(record.headers).get(TOPIC_HEADER) == reviewed.encode()
    return _fields(record).get("decider") == b'"reviewer"'


def _fields(record: Record) -> dict[str, bytes]:
    try:
        found = msgspec.json.decode(record.value or b"{}", type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        # An outcome that is no JSON is of no answer, and of no input either.
        return {}
    return {name: bytes(raw) for name, raw in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The findings on the answers, and how many of their decisions are repetitions."""

    findings: tuple[Finding, ...]
    repeated: int


def judge(evidence: Evidence, written: Mapping[Destination, Sequence[Record]], reviewed: str) -> Judged:
    """
    I10 and I11.

    Args:
        evidence: Answers, samples and ends.
        written: The outcomes of answers.
        reviewed: The topic of answers.
    """
    found: defaultdict[Content, list[Record]] = defaultdict(list)
    for destination, records in written.items():
        for record in records:
            found[_content(destination, record.key, record.value, record.headers)].append(record)
    expected = list(zip(evidence.answers, _expected(evidence.answers, reviewed, found), strict=True))
    planted = Counter(content for _, content in expected)
    wrong = [
        *(f"{_name(one)} is lost" for one, content in expected if content not in found),
        *(f"{record.topic} {record.partition}/{record.offset} is of no answer" for record in _invented(found, planted)),
        *_ahead(evidence, expected, found),
        *_unfinished(evidence),
        *_not_the_last(expected, written[Destination.TAGGED], reviewed),
    ]
    swapped = list(_swapped(expected, found))
    repeated = sum(max(0, len(records) - planted[content]) for content, records in found.items() if content in planted)
    strange = sum(STRANGER in one.planted.headers for one in evidence.answers)
    good = sum(one.planted.event_id is not None for one in evidence.answers) - strange
    return Judged(
        findings=(
            Finding(
                invariant="I10",
                cases=len(wrong),
                says=(
                    f"{good} answers, {strange} records of a stranger and {len(evidence.answers) - good - strange} that are none; "
                    f"{len(wrong)} breaches{_quote(wrong)}"
                ),
            ),
            Finding(
                invariant="I11",
                cases=len(swapped),
                says=f"{len(swapped)} first decisions behind later answers{_quote(swapped)}",
            ),
        ),
        repeated=repeated,
    )


def _expected(answers: Sequence[Input], reviewed: str, found: Mapping[Content, Sequence[Record]]) -> list[Content]:
    """
    The consequences of the records, without Kafka, workers or faults.

    A worker may know more of who has written than is known here: a stranger's record may be a dead letter for a reason of the worker's.
    """
    made = map(_of, ReviewerAnswers().publications([_record(one, reviewed) for one in answers], clock=lambda: 0.0))
    refused = {origin(records[0]): content for content, records in found.items() if content[0] is Destination.DLQ}

    def told(one: Input, content: Content) -> Content:
        if content in found or STRANGER not in one.planted.headers:
            return content
        letter = refused.get(place(one))
        intact = letter is not None and is_intact(one, Matched(Destination.DLQ, found[letter][0], one))
        return letter if letter is not None and intact else content

    return [told(*pair) for pair in zip(answers, made, strict=True)]


def _record(one: Input, reviewed: str) -> Record:
    planted = one.planted
    return Record(
        topic=reviewed,
        partition=one.partition,
        offset=one.offset,
        key=planted.key,
        value=planted.value,
        headers=planted.headers,
    )


def _of(publication: Publication) -> Content:
    return _content(publication.destination, publication.key, publication.value, publication.headers)


def _content(destination: Destination, key: bytes | None, value: bytes | None, headers: Headers) -> Content:
    return destination, key, value if value is None or destination is Destination.DLQ else without_clock(value), headers


def _invented(found: Mapping[Content, Sequence[Record]], planted: Mapping[Content, int]) -> Iterator[Record]:
    for content, records in found.items():
        if content not in planted:
            yield from records


def _ahead(
    evidence: Evidence, expected: Sequence[tuple[Input, Content]], found: Mapping[Content, Sequence[Record]]
) -> Iterator[str]:
    """Answers that a sample has committed and not written; each is looked at in the first sample that has it committed."""
    for one, content in expected:
        sample = next((sample for sample in evidence.samples if sample.answered.get(one.partition, 0) > one.offset), None)
        if sample is None:
            continue
        ends = sample.written
        if not any(record.offset < ends.get((content[0], record.partition), 0) for record in found.get(content, ())):
            yield f"{_name(one)} is committed before its decision at {sample.at_seconds:.1f} s"


def _unfinished(evidence: Evidence) -> Iterator[str]:
    committed = evidence.samples[-1].answered if evidence.samples else {}
    behind: defaultdict[int, int] = defaultdict(int)
    for one in evidence.answers:
        behind[one.partition] = max(behind[one.partition], one.offset + 1)
    for partition, last in sorted(behind.items()):
        if not last <= committed.get(partition, 0) <= evidence.answers_ends.get(partition, 0):
            yield f"partition {partition} of the answers is committed up to {committed.get(partition, 0)} of {last}"


def _not_the_last(expected: Sequence[tuple[Input, Content]], tagged: Sequence[Record], reviewed: str) -> Iterator[str]:
    """Events whose newest decision on `tagged`, by the order that docs/consumers.md gives to readers, is not the newest answer."""
    newest: dict[str, tuple[int, str, str]] = {}
    for one, content in expected:
        read = read_answer(_record(one, reviewed))
        if content[0] is Destination.TAGGED and isinstance(read, AnsweredEvent):
            order = (read.answer.version, read.answer.decided_at, answer_id(read.answer))
            newest[read.event.id] = max(order, newest.get(read.event.id, order))
    seen: dict[str, tuple[int, str, str]] = {}
    for record in tagged:
        value = msgspec.json.decode(record.value or b"")
        order = (value["version"], value["decided_at"], value["prediction_id"])
        seen[value["id"]] = max(order, seen.get(value["id"], order))
    for event_id, order in newest.items():
        if seen.get(event_id) != order:
            yield f"the newest decision on {event_id} is not version {order[0]}"


def _swapped(expected: Sequence[tuple[Input, Content]], found: Mapping[Content, Sequence[Record]]) -> Iterator[str]:
    firsts: list[tuple[Record, Input]] = []
    # Of equal records the first one counts: which of them a decision is of cannot be told.
    seen: set[Content] = set()
    for one, content in sorted(expected, key=lambda pair: (pair[0].partition, pair[0].offset)):
        if content in seen or content not in found or content[0] is Destination.DLQ:
            continue
        seen.add(content)
        firsts.append((min(found[content], key=lambda record: record.offset), one))
    last: dict[tuple[int, int], int] = {}
    for record, one in sorted(firsts, key=lambda pair: (pair[0].partition, pair[0].offset)):
        lane = (record.partition, one.partition)
        if one.offset < last.get(lane, -1):
            yield _name(one)
        last[lane] = max(one.offset, last.get(lane, -1))


def audited(tagged: Sequence[Record], audits: Sequence[Record], draw: Draw) -> Finding:
    """
    I12.

    Args:
        tagged: The decisions of the model on `tagged`.
        audits: Every record of `audit`.
        draw: That of the workers.
    """
    drawn: dict[Content, str] = {}
    for record in tagged:
        value = msgspec.json.decode(record.value or b"")
        probability = draw.inclusion_probability(value["id"], value["tag"])
        if probability is not None:
            copy = audit_copy(record.value or b"", probability)
            if weight(record.key, copy, record.headers) <= draw.most_bytes:
                drawn[_content(Destination.TAGGED, record.key, copy, record.headers)] = value["id"]
    copied = {_content(Destination.TAGGED, record.key, record.value, record.headers) for record in audits}
    wrong = [
        *(f"{event_id} was drawn and is not there" for content, event_id in drawn.items() if content not in copied),
        *(f"a copy of {_id_of(content)} that was not drawn, or is not its decision" for content in copied - drawn.keys()),
    ]
    return Finding(
        invariant="I12", cases=len(wrong), says=f"{len(drawn)} decisions drawn for audit; {len(wrong)} breaches{_quote(wrong)}"
    )


def _id_of(content: Content) -> str:
    return str(msgspec.json.decode((content[2] or b"") + b"}").get("id"))


def _name(one: Input) -> str:
    return f"answer to {one.planted.event_id or 'nothing'} at {one.partition}/{one.offset}"


def _quote(cases: Sequence[str]) -> str:
    if not cases:
        return ""
    return ": " + ", ".join(cases[:QUOTED]) + (f" and {len(cases) - QUOTED} more" if len(cases) > QUOTED else "")
