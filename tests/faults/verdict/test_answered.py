"""A breach of each invariant of answers and of copies for `audit` is planted here, and must be found."""

from collections.abc import Callable

import pytest

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.event import Record
from tagstream.stream.decide.pipeline import Draw, Pipeline
from tagstream.stream.decide.reviewer_answers import ReviewerAnswers
from tests.fakes import RecordingObserver
from tests.faults.answers.planned import answers_to
from tests.faults.inputs import STRANGER, Input, plant
from tests.faults.stranger import Stranger, mingled
from tests.faults.verdict.answered import audited, judge, split
from tests.faults.verdict.evidence import Evidence, Sample
from tests.faults.verdict.good_run import SETTINGS, with_fields
from tests.faults.verdict.matching import without_clock
from tests.faults.worker.stub import stub_decider
from tests.replacing import replace

COUNT, STRANGE = 300, 22
BROKEN = Callable[[Evidence], Evidence]


def good_run() -> Evidence:
    """Answers of every case in one partition, each with its decision or dead letter, two looks, all in order."""
    genuine = answers_to(plant(400, malformed=0, seed="a"), COUNT - STRANGE, settings=SETTINGS, seed="a")
    planted = mingled(genuine, Stranger(SETTINGS, "a").answers(STRANGE), seed="a")
    answers = [Input(planted=one, partition=0, offset=offset) for offset, one in enumerate(planted)]
    outcomes: dict[Destination, list[Record]] = {destination: [] for destination in Destination}
    records = [
        Record(topic="reviewed", partition=0, offset=at, key=one.key, value=one.value, headers=one.headers)
        for at, one in enumerate(planted)
    ]
    for made in ReviewerAnswers().publications(records, clock=lambda: 1_800_000_000.0):
        outcomes[made.destination].append(
            Record(
                topic=made.destination.value,
                key=made.key,
                value=made.value,
                headers=made.headers,
                partition=0,
                offset=len(outcomes[made.destination]),
            )
        )
    written = {(destination, 0): len(found) for destination, found in outcomes.items()}
    return Evidence(
        inputs=(),
        outcomes=outcomes,
        samples=[
            Sample(at_seconds=0.0, committed={}, written=dict.fromkeys(written, 0)),
            Sample(at_seconds=1.0, committed={}, written=written, answered={0: COUNT}),
        ],
        ends={},
        idle_bound_seconds=5.0,
        answers=answers,
        answers_ends={0: COUNT},
    )


RUN = good_run()


def broken(run: Evidence) -> list[str]:
    """The invariants of answers that do not hold."""
    written = split(run.outcomes, "reviewed")
    assert not any(written.events.values())
    return [finding.invariant for finding in judge(run, written.answers, "reviewed").findings if not finding.holds]


def with_tagged(run: Evidence, change: Callable[[list[Record]], list[Record]]) -> Evidence:
    """The run with other decisions, in their places."""
    records = [replace(record, offset=offset) for offset, record in enumerate(change(list(run.outcomes[Destination.TAGGED])))]
    return replace(run, outcomes={**run.outcomes, Destination.TAGGED: records})


def corrected(run: Evidence) -> int:
    """The place of a decision of version 3."""
    return next(at for at, record in enumerate(run.outcomes[Destination.TAGGED]) if b'"version":3' in (record.value or b""))


def later(record: Record) -> Record:
    """The same decision, published at another time."""
    return replace(record, value=without_clock(record.value or b"") + b',"tagged_at":"2030-01-01T00:00:00.000Z"}')


def without_last_version(run: Evidence) -> Evidence:
    """The newest decision on one event is missing."""
    place = corrected(run)
    return with_tagged(run, lambda records: records[:place] + records[place + 1 :])


def other_content(run: Evidence) -> Evidence:
    """One more decision with the id of an answer and another tag."""
    return with_tagged(run, lambda records: [*records, with_fields(records[0], tag="of nobody")])


def other_header(run: Evidence) -> Evidence:
    """A decision without a header of its answer."""
    return with_tagged(run, lambda records: [replace(records[0], headers=(("x", b"1"),)), *records[1:]])


def ahead(run: Evidence) -> Evidence:
    """A commit that was there before any decision."""
    return replace(run, samples=[replace(run.samples[0], answered={0: 1}), *run.samples[1:]])


def unfinished(run: Evidence) -> Evidence:
    """The last answer is not committed."""
    return replace(run, samples=[run.samples[0], replace(run.samples[1], answered={0: COUNT - 1})])


def beyond(run: Evidence) -> Evidence:
    """A commit beyond the end of the log."""
    return replace(run, samples=[run.samples[0], replace(run.samples[1], answered={0: COUNT + 1})])


def without_dead_letter(run: Evidence) -> Evidence:
    """A bad record vanished."""
    return replace(run, outcomes={**run.outcomes, Destination.DLQ: run.outcomes[Destination.DLQ][1:]})


def changed_dead_letter(run: Evidence) -> Evidence:
    """A bad record came back with other bytes."""
    first, *rest = run.outcomes[Destination.DLQ]
    return replace(run, outcomes={**run.outcomes, Destination.DLQ: [replace(first, value=b"changed"), *rest]})


def swapped(run: Evidence) -> Evidence:
    """Two decisions in the wrong order."""
    return with_tagged(run, lambda records: [records[1], records[0], *records[2:]])


def test_a_correct_run_has_no_breach() -> None:
    """All cases of answers are in it, and bad records too."""
    assert broken(RUN) == []
    assert len(RUN.outcomes[Destination.DLQ]) >= 2
    assert sum(len(found) for found in RUN.outcomes.values()) == COUNT


@pytest.mark.parametrize(
    ("breach", "invariant"),
    [
        (without_last_version, "I10"),
        (other_content, "I10"),
        (other_header, "I10"),
        (ahead, "I10"),
        (unfinished, "I10"),
        (beyond, "I10"),
        (without_dead_letter, "I10"),
        (changed_dead_letter, "I10"),
        (swapped, "I11"),
    ],
)
def test_a_breach_is_found(breach: BROKEN, invariant: str) -> None:
    """Each by its invariant, and by no other."""
    assert broken(breach(RUN)) == [invariant]


def refused(run: Evidence, *, also_taken: bool = False) -> Evidence:
    """A worker that knows who writes has refused a stranger's answer; or it has refused it and taken it too."""
    taken = next(record for record in run.outcomes[Destination.TAGGED] if STRANGER in record.headers)
    one = next(one for one in run.answers if one.planted.key == taken.key)
    letter = Record(
        topic="dlq",
        key=one.planted.key,
        value=one.planted.value,
        headers=(
            *one.planted.headers,
            ("__streams.errors.topic", b"reviewed"),
            ("__streams.errors.partition", b"%d" % one.partition),
            ("__streams.errors.offset", b"%d" % one.offset),
            ("x-dlq-stage", b"validate"),
            ("x-dlq-code", b"of_a_reason_that_the_judge_does_not_know"),
        ),
        partition=0,
        offset=len(run.outcomes[Destination.DLQ]),
    )
    written = {**run.samples[-1].written, (Destination.DLQ, 0): letter.offset + 1}
    changed = replace(
        run,
        outcomes={**run.outcomes, Destination.DLQ: [*run.outcomes[Destination.DLQ], letter]},
        samples=[run.samples[0], replace(run.samples[-1], written=written)],
    )
    return changed if also_taken else with_tagged(changed, lambda records: [one for one in records if one is not taken])


def test_a_strangers_answer_is_taken_or_refused() -> None:
    """Which of the two is the worker's affair; both, or neither, is a breach."""
    assert sum(STRANGER in record.headers for record in RUN.outcomes[Destination.TAGGED]) > 0
    assert sum(STRANGER in record.headers for record in RUN.outcomes[Destination.DLQ]) > 0
    assert broken(refused(RUN)) == []
    assert broken(refused(RUN, also_taken=True)) == ["I10"]
    without = with_tagged(RUN, lambda records: [one for one in records if STRANGER not in one.headers])
    assert broken(without) == ["I10"]


def test_a_decision_that_is_repeated_is_counted_and_no_breach() -> None:
    """At least once: the same bytes at another time. An answer that was written twice may have two decisions."""
    again = with_tagged(RUN, lambda records: [*records, later(records[0])])
    assert broken(again) == []
    for run, repeated in ((RUN, 0), (again, 1)):
        assert judge(run, split(run.outcomes, "reviewed").answers, "reviewed").repeated == repeated


def test_copies_for_audit_are_exactly_those_of_the_draw() -> None:
    """A copy that is missing, one that was not drawn, and one with another decision are each found."""
    draw = Draw(rate=0.3)
    pipeline = Pipeline(decider=stub_decider(), observer=RecordingObserver())
    pipeline.draw = draw
    records = [Record(key=one.key, value=one.value, headers=one.headers) for one in plant(200, malformed=0, seed="a")]
    made = [one for one in pipeline.publications(records) if one.destination is Destination.TAGGED]
    tagged = [Record(topic="tagged", key=one.key, value=one.value, headers=one.headers) for one in made]
    copies = [Record(topic="audit", key=one.key, value=one.audit, headers=one.headers) for one in made if one.audit]
    assert 0 < len(copies) < len(tagged)
    assert audited(tagged, copies, draw).holds
    # A redelivered event is copied again, at another time.
    assert audited(tagged, [*copies, later(copies[0])], draw).holds
    assert not audited(tagged, copies[1:], draw).holds
    assert not audited(tagged, copies, Draw(rate=0.31)).holds
    assert not audited(tagged, [with_fields(copies[0], tag="of nobody"), *copies[1:]], draw).holds
    assert not audited(tagged, [replace(copies[0], key=b"other"), *copies[1:]], draw).holds
