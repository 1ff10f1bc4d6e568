"""A breach of each invariant is planted here, and the checker must find it."""

from collections.abc import Callable

import pytest

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.event import Budget, Record
from tests.faults.inputs import SENT_AGAIN, Input, Planted, plant
from tests.faults.verdict.checker import check as judged
from tests.faults.verdict.checker import longest_pause
from tests.faults.verdict.evidence import Evidence, Verdict
from tests.faults.verdict.good_run import OFFLINE, add, changed, good_run, published, sample, with_fields
from tests.faults.worker.stub import OTHER_MODEL
from tests.replacing import replace


def check(run: Evidence) -> Verdict:
    """The verdict, with I9."""
    return judged(run, OFFLINE)


def first(run: Evidence) -> Record:
    """The first tagged outcome."""
    return run.outcomes[Destination.TAGGED][0]


def with_outcome(run: Evidence, destination: Destination, **changes: object) -> Evidence:
    """One more outcome: the first of the tagged ones, with parts of its record changed."""
    added = replace(first(run), offset=len(run.outcomes[destination]), **changes)  # type: ignore[arg-type]
    return replace(run, outcomes={**run.outcomes, destination: [*run.outcomes[destination], added]})


def again(run: Evidence, **fields: object) -> Evidence:
    """The first tagged outcome once more, with some of its fields changed."""
    return with_outcome(run, Destination.TAGGED, value=with_fields(first(run), **fields).value)


def without_outcome(run: Evidence, destination: Destination, number: int) -> Evidence:
    """The run without one outcome; the others keep their places."""
    kept = [record for record in run.outcomes[destination] if record.offset != number]
    return replace(run, outcomes={**run.outcomes, destination: kept})


def changed_dead_letter(run: Evidence, **changes: object) -> Evidence:
    """The first dead letter, changed."""
    return changed(run, Destination.DLQ, 0, replace(run.outcomes[Destination.DLQ][0], **changes))  # type: ignore[arg-type]


def without_header(run: Evidence, name: str) -> Evidence:
    """The first dead letter without a header."""
    return changed_dead_letter(run, headers=tuple(one for one in run.outcomes[Destination.DLQ][0].headers if one[0] != name))


def swapped(run: Evidence) -> Evidence:
    """The run with the outcomes of two inputs of one partition exchanged, both before their commit."""
    tagged = list(run.outcomes[Destination.TAGGED])
    tagged[2], tagged[4] = replace(tagged[4], offset=2), replace(tagged[2], offset=4)
    return replace(run, outcomes={**run.outcomes, Destination.TAGGED: tagged})


def test_a_good_run_has_no_findings() -> None:
    """The checker finds no breach in a correct run."""
    verdict = check(good_run())

    assert verdict.broken == []
    assert verdict.duplicates == 0
    assert verdict.outcomes == 8


def test_a_duplicate_that_agrees_is_counted_and_breaks_nothing() -> None:
    """Redelivery is allowed: the same decision at another time is a duplicate, not a conflict."""
    verdict = check(
        with_outcome(
            good_run(), Destination.TAGGED, value=with_fields(first(good_run()), tagged_at="2027-12-31T00:00:00.000Z").value
        )
    )

    assert verdict.broken == []
    assert verdict.duplicates == 1


BREACHES: dict[str, tuple[str, Callable[[Evidence], Evidence]]] = {
    "an input without an outcome, committed": ("I1 I4", lambda run: without_outcome(run, Destination.TAGGED, 5)),
    "a malformed input without a dead letter": ("I1 I4", lambda run: without_outcome(run, Destination.DLQ, 1)),
    "an outcome of an id that nobody sent": ("I2", lambda run: again(run, id="event-99")),
    "an outcome that is not JSON": ("I2", lambda run: with_outcome(run, Destination.TAGGED, value=b"\xff")),
    "another tag at the second delivery": ("I3 I9", lambda run: again(run, tag="none of them")),
    "another topic at the second delivery": ("I3 I9", lambda run: with_outcome(run, Destination.REVIEW)),
    "another key at the second delivery": ("I3 I9", lambda run: with_outcome(run, Destination.TAGGED, key=b"else")),
    "a commit before the outcome": ("I4", lambda run: replace(run, samples=[sample(0.5, 2, 2, 0), *run.samples[2:]])),
    "a later input's outcome first": ("I5", swapped),
    "a changed byte": ("I6 I9", lambda run: changed_dead_letter(run, value=b"{6 ")),
    "a changed key": ("I6 I9", lambda run: changed_dead_letter(run, key=b"K")),
    "a lost header": ("I6 I9", lambda run: changed_dead_letter(run, headers=run.outcomes[Destination.DLQ][0].headers[1:])),
    "a stage that is missing": ("I6 I9", lambda run: without_header(run, "x-dlq-stage")),
    "a dead letter that points to another input": (
        "I1 I3 I4 I6 I9",
        lambda run: changed_dead_letter(run, headers=run.outcomes[Destination.DLQ][1].headers),
    ),
    "a dead letter that says not where from": ("I1 I2 I4", lambda run: changed_dead_letter(run, headers=())),
    "a long pause": ("I7", lambda run: replace(run, idle_bound_seconds=0.9)),
    "a commit short of the end": ("I8", lambda run: replace(run, samples=run.samples[:-1])),
    "a commit beyond the end": ("I8", lambda run: replace(run, ends={0: 4, 1: 3})),
    "no sample at all": ("I8", lambda run: replace(run, samples=[])),
}


def test_another_model_may_decide_otherwise() -> None:
    """During a replacement two models may decide an event differently, and each must agree with itself and with its offline decision."""
    run = good_run()
    by_another = {destination: list(records) for destination, records in run.outcomes.items()}
    add(by_another, published(run.inputs[0], OTHER_MODEL))

    assert check(replace(run, outcomes=by_another)).broken == []


def test_two_events_of_one_id_need_an_outcome_each() -> None:
    """The same id does not make one event of two: each has an outcome with its own headers, and one outcome is not enough for both."""
    run = good_run()
    event = run.inputs[1].planted
    again = Input(planted=replace(event, headers=(*event.headers, SENT_AGAIN)), partition=1, offset=4)
    outcomes = {destination: list(records) for destination, records in run.outcomes.items()}
    add(outcomes, published(again))
    last = replace(sample(4.0, 4, 7, 2), committed={0: 4, 1: 5})
    both = replace(run, inputs=[*run.inputs, again], outcomes=outcomes, samples=[*run.samples, last], ends={0: 4, 1: 5})

    assert check(both).broken == []
    assert check(without_outcome(both, Destination.TAGGED, 6)).broken == ["I1", "I4"]
    assert check(without_outcome(both, Destination.TAGGED, 1)).broken == ["I1", "I4"]


def test_offsets_without_an_event_are_no_events() -> None:
    """Transactions leave markers and aborted records: commits are compared with the events around them, up to the end of the log."""
    run = good_run()
    moved = replace(run, inputs=[replace(one, offset=2 * one.offset) for one in run.inputs[:6]], ends={0: 7, 1: 7})
    moved = replace(moved, outcomes={**run.outcomes, Destination.DLQ: []})

    for committed in (5, 6, 7):
        assert check(replace(moved, samples=[sample(1.0, committed, 6, 0)])).broken == []
    assert check(replace(moved, samples=[sample(1.0, 3, 3, 0)])).broken == ["I4", "I8"]
    assert check(replace(moved, samples=[sample(1.0, 8, 6, 0)])).broken == ["I8"]


@pytest.mark.parametrize(("expected", "breach"), BREACHES.values(), ids=BREACHES.keys())
def test_a_breach_is_found_as_a_breach_of_its_invariant(expected: str, breach: Callable[[Evidence], Evidence]) -> None:
    """The checker finds the planted breach, and no breach of an invariant that holds."""
    assert expected.split() == check(breach(good_run())).broken


def test_a_valid_event_among_the_dead_letters_is_found() -> None:
    """A good event among the dead letters breaks I6, although it is not lost."""
    run = good_run()
    place = (("__streams.errors.partition", b"0"), ("__streams.errors.offset", b"0"))
    letter = replace(run.outcomes[Destination.DLQ][0], headers=place, offset=2)
    moved = without_outcome(run, Destination.TAGGED, 0)
    moved = replace(moved, outcomes={**moved.outcomes, Destination.DLQ: [*moved.outcomes[Destination.DLQ], letter]})

    assert "I6" in check(moved).broken
    assert "I1" not in check(moved).broken


def test_a_reference_to_an_event_without_a_key_is_intact() -> None:
    """It has an empty key and a header that says so, since no client sends a record without key and value; without the header I6 breaks."""
    run = good_run()
    malformed = Planted(event_id=None, key=None, value=b'{"title": "' + b"word " * 1000, codec="gzip")
    keyless = Input(planted=malformed, partition=0, offset=4)
    outcomes = {destination: list(records) for destination, records in run.outcomes.items()}
    add(outcomes, published(keyless, budget=Budget(0)))
    add(outcomes, published(keyless))
    last = replace(sample(4.0, 4, 6, 4), committed={0: 5, 1: 4})
    both = replace(run, inputs=[*run.inputs, keyless], outcomes=outcomes, samples=[*run.samples, last], ends={0: 5, 1: 4})
    reference = outcomes[Destination.DLQ][2]
    unsaid = tuple(one for one in reference.headers if one[0] != "x-dlq-null-key")

    assert (reference.key, reference.value) == (b"", None)
    assert check(both).broken == []
    assert check(changed(both, Destination.DLQ, 2, replace(reference, headers=unsaid))).broken == ["I3", "I6", "I9"]


def test_outcomes_without_a_key_have_no_order() -> None:
    """A dead letter without a key has no fixed partition, so a redelivered one does not break the order."""
    run = swapped(good_run())
    keyless = [replace(record, key=None) for record in run.outcomes[Destination.TAGGED]]

    assert "I5" not in check(replace(run, outcomes={**run.outcomes, Destination.TAGGED: keyless})).broken


def test_a_pause_lasts_until_the_next_outcome_is_seen() -> None:
    """A pause is measured to the sample that shows the next outcome, and the start-up does not count."""
    run = [sample(0, 0, 0, 0), sample(7, 0, 1, 0), sample(8, 0, 1, 0), sample(11, 0, 2, 0), sample(12, 0, 2, 0)]

    assert longest_pause(run) == 4
    assert longest_pause([]) == 0


def test_a_finding_says_how_many_and_which() -> None:
    """A finding shows the count and a few cases, not all of them."""
    run = good_run()
    verdict = check(replace(run, outcomes=dict.fromkeys(Destination, ())))

    assert verdict["I1"].cases == 8
    assert "and 5 more" in str(verdict["I1"])
    assert str(verdict["I2"]).startswith("I2 holds")


def test_an_event_lost_below_a_commit_is_lost_for_good() -> None:
    """A lost event below a commit is lost for good; one above it will be read again by the next worker."""
    uncommitted = [sample(1.0, 2, 2, 0)]
    without = without_outcome(without_outcome(good_run(), Destination.TAGGED, 0), Destination.TAGGED, 5)

    assert check(good_run()).lost_for_good == 0
    assert check(replace(without, samples=uncommitted)).lost_for_good == 1
    assert check(without).lost_for_good == 2


def test_the_planted_inputs_are_the_same_for_the_same_seed() -> None:
    """The same seed plants the same inputs, with unique ids."""
    planted = plant(500, malformed=50, seed="s")

    assert planted == plant(500, malformed=50, seed="s")
    assert planted != plant(500, malformed=50, seed="t")
    ids = [one.event_id for one in planted if one.event_id is not None]
    assert len(set(ids)) == len(ids) == 450
