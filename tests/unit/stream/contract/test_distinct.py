"""Consumers see each outcome once and learn of conflicts, in bounded memory."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.monitoring.vocabulary import Reason, Stage
from tagstream.stream.contract import dead_letter
from tagstream.stream.contract.answers import Answer, AnsweredEvent, order, read_answer, tagged_by_reviewer
from tagstream.stream.contract.distinct import ConflictError, Distinct, distinct
from tagstream.stream.contract.event import DEFAULT_LIMITS, FIRST_BYTES, Budget, Record
from tagstream.stream.contract.refusal import Refusal
from tests.answering import NOW_MS, SURE, UNSURE, answer, audited, decided, of_epoch, reviewed, shown
from tests.replacing import replace
from tests.unit.stream.contract.test_dead_letter import event, lying


def tagged(number: int, *, at: int = 0, **changes: Any) -> Record:
    """One decision, delivered as offset `at`."""
    value = b'{"id":"%d","tag":"mlops","p":1.10,"prediction_id":"p-%d","tagged_at":"%d"}' % (number, number, at)
    return Record(**{"topic": "tagged", "key": b"k", "value": value, "offset": at, **changes})


@given(st.lists(st.integers(0, 20), max_size=200), st.integers(21, 30))
def test_each_outcome_comes_once_in_order(numbers: list[int], remember: int) -> None:
    """With room for all outcomes, each is given once, in order, and the counts add up."""
    known = Distinct(remember=remember)
    admitted = [number for at, number in enumerate(numbers) if known.admit(tagged(number, at=at))]
    assert admitted == list(dict.fromkeys(numbers))
    assert (known.first, known.first + known.duplicates) == (len(admitted), len(numbers))


@given(st.lists(st.integers(0, 20), max_size=200), st.integers(1, 8))
def test_no_outcome_is_lost_with_any_memory(numbers: list[int], remember: int) -> None:
    """A memory that is too small lets duplicates through and never drops a first outcome."""
    records = (tagged(number, at=at) for at, number in enumerate(numbers))
    assert {record.value.split(b",")[0] for record in distinct(records, remember=remember) if record.value} == {
        b'{"id":"%d"' % number for number in numbers
    }


def test_a_repetition_is_known_within_the_bound_and_not_beyond() -> None:
    """A repetition is dropped with fewer than `remember` outcomes in between, and let through with as many."""
    known = Distinct(remember=3)
    assert [known.admit(tagged(number)) for number in (0, 1, 2, 0)] == [True, True, True, False]
    assert [known.admit(tagged(number)) for number in (3, 4, 5, 0)] == [True, True, True, True]


def test_another_token_for_viewers_is_no_conflict() -> None:
    """An event that comes again on a later day has another token; a producer's own `ask` is a field like any other."""
    form = b'{"id":"1","tag":"mlops","prediction_id":"p-1",%b"tagged_at":"9"}'
    asked = [
        tagged(1, value=form % part, at=at) for at, part in enumerate([b"", b'"ask":{"token":"a"},', b'"ask":{"token":"b"},'])
    ]
    assert list(distinct(asked)) == asked[:1]
    own = [
        tagged(1, value=b'{"id":"1","ask":%b,"tag":"mlops","prediction_id":"p-1","tagged_at":"9"}' % one)
        for one in (b"1", b"2")
    ]
    with pytest.raises(ConflictError):
        list(distinct(own))


@pytest.mark.parametrize(
    "changes",
    [
        {"key": b"other"},
        {"value": b'{"id":"1","tag":"other","p":1.10,"prediction_id":"p-1","tagged_at":"9"}'},
        {"value": b'{"id":"1","tag":"mlops","p":1.1,"prediction_id":"p-1","tagged_at":"9"}'},
        {"value": b'{"id":"1","tag":"mlops","prediction_id":"p-1","tagged_at":"9"}'},
    ],
)
def test_two_decisions_of_one_id_that_differ_are_a_conflict(changes: dict[str, Any]) -> None:
    """Two decisions that differ in key or in any field end with exit code 4 and both places."""
    known = Distinct()
    known.admit(tagged(1, at=5))
    with pytest.raises(ConflictError, match="tagged -1/5 and -1/9") as caught:
        known.admit(tagged(1, **{"at": 9, **changes}))
    assert caught.value.exit_code == 4


def test_a_conflict_is_counted_and_changes_nothing_else() -> None:
    """A caller may catch the error and go on: the first outcome is still known, and every record is counted once."""
    known = Distinct()
    other = tagged(1, at=2, value=b'{"id":"1","tag":"other","prediction_id":"p-1","tagged_at":"2"}')
    assert known.admit(tagged(1))
    for _ in range(2):
        with pytest.raises(ConflictError):
            known.admit(other)
    assert not known.admit(tagged(1, at=3))
    assert known.admit(tagged(2, at=4))
    assert (known.first, known.duplicates, known.conflicts, known.unidentified) == (2, 1, 2, 0)


def test_another_topic_is_another_outcome() -> None:
    """The same prediction id on another topic is another outcome, as when a reviewer decides an event of `review`."""
    known = Distinct()
    assert known.admit(tagged(1))
    assert known.admit(tagged(1, topic="review"))


def test_dead_letters_are_known_by_where_they_came_from() -> None:
    """Dead letters have no prediction id, so the place of their event identifies them."""
    known = Distinct()
    assert [known.admit(lying(event(), offset=offset)) for offset in (1, 2)] == [True, False]
    with pytest.raises(ConflictError):
        known.admit(lying(event(value=b"other"), offset=3))


def test_a_reference_repeats_the_dead_letter_that_is_whole() -> None:
    """Which dead letters of a compressed batch still fit its budget differs between deliveries; the event and its outcome are the same."""
    refusal = Refusal(stage=Stage.DECODE, reason=Reason.INVALID_JSON, message="not JSON")
    long_key = b"k" * (FIRST_BYTES + 1)
    forms = []
    for budget in (None, Budget(0), Budget(10_000)):
        record = Record(topic="content", partition=1, offset=5, key=long_key, value=b"{" * 5000, budget=budget)
        key, value, headers = dead_letter.write(record, refusal, DEFAULT_LIMITS)
        forms.append(Record(topic="content.dlq", key=key, value=value, headers=headers))
    other = replace(
        forms[1], headers=tuple((name, b"0" * 64 if name == "x-dlq-sha256" else said) for name, said in forms[1].headers)
    )

    known = Distinct()
    assert [known.admit(form) for form in forms] == [True, False, False]
    assert [form.value is None for form in forms] == [False, True, False]
    with pytest.raises(ConflictError):
        known.admit(other)


@pytest.mark.parametrize("value", [None, b"", b"[]", b"\xff", b'{"id":1}', b"[" * 100_000])
def test_a_value_that_is_no_outcome_is_let_through_and_counted(value: bytes | None) -> None:
    """A consumer still gets the records that it cannot interpret."""
    known = Distinct()
    assert known.admit(tagged(1, value=value))
    assert known.admit(tagged(1, value=value))
    assert known.unidentified == 2


def test_remembering_no_outcomes_is_refused() -> None:
    """With nothing remembered no duplicate could be found, so the setting is an error."""
    with pytest.raises(ValueError, match="remember=0"):
        Distinct(remember=0)


def by_reviewer(given: Answer, at: int, *, event: bytes = UNSURE) -> Record:
    """The decision on `tagged` that follows from an answer, delivered as offset `at`."""
    record = decided(event)
    answered = read_answer(reviewed(record, given))
    assert isinstance(answered, AnsweredEvent)
    key, value, headers, _ = tagged_by_reviewer(answered, NOW_MS + at)
    return Record(topic="tagged", key=key, value=value, headers=headers, offset=at)


def test_a_persons_decision_comes_after_the_models_and_stands_above_it() -> None:
    """It is admitted though the model has decided, and a decision of the model that comes later is dropped."""
    model, later = decided(SURE), decided(SURE, now_ms=NOW_MS + 5)
    person = by_reviewer(answer(model, "other"), 2, event=SURE)
    known = Distinct()
    assert [known.admit(record) for record in (model, person, later, person)] == [True, True, False, False]
    assert (known.first, known.duplicates, known.superseded) == (2, 2, 0)
    fresh = Distinct()
    assert [fresh.admit(record) for record in (person, model)] == [True, False]
    assert (fresh.first, fresh.duplicates, fresh.superseded) == (1, 0, 1)
    assert fresh.admit(decided(b'{"id":"another","title":"deployment"}'))


@given(st.permutations(range(4)), st.booleans())
def test_the_model_of_the_last_epoch_holds_in_every_order(arrival: list[int], answered: bool) -> None:
    """A late decision of a model that was replaced is dropped, whatever its time; a person's stands above all of them."""
    decisions = [decided(SURE, now_ms=NOW_MS + 100), *(decided(SURE, now_ms=NOW_MS - at, by=of_epoch(at)) for at in (1, 2, 11))]
    known = Distinct()
    if answered:
        assert known.admit(by_reviewer(answer(decisions[0], "other"), 2, event=SURE))
    through = [at for at in arrival if known.admit(decisions[at])]
    assert through == ([] if answered else [at for place, at in enumerate(arrival) if at >= max(arrival[:place], default=0)])


@given(st.permutations(range(4)), st.lists(st.sampled_from(("tagged", "review")), min_size=4, max_size=4))
def test_the_last_epoch_holds_on_whichever_topic_it_came(arrival: list[int], topics: list[str]) -> None:
    """Two models may send one event through different doors, and the two topics have no order: the decision of the older one is dropped."""
    decisions = [
        replace(decided(SURE, by=of_epoch(epoch)), topic=topic) for epoch, topic in zip((1, 2, 3, 4), topics, strict=True)
    ]
    known = Distinct()
    through = [at for at in arrival if known.admit(decisions[at])]
    assert through == [at for place, at in enumerate(arrival) if at >= max(arrival[:place], default=0)]


def test_a_persons_decision_stands_above_the_models_on_review_and_takes_no_copy_and_no_answer() -> None:
    """What a person decided is on `tagged`; the model's decision on `review` comes too late then, and copies and answers are of their own topics."""
    model = decided(UNSURE)
    tagged_, person = decided(UNSURE, by=of_epoch(1)), by_reviewer(answer(model, "other"), 2)
    assert model.topic == "review"
    known = Distinct()
    copy = audited(replace(decided(SURE), value=(decided(SURE).value or b"").replace(b'"e-1"', b'"e-2"')))
    later = reviewed(model, answer(model, "mlops", previous=answer(model, "other")))
    assert [known.admit(record) for record in (later, person, model, tagged_, copy)] == [True, True, False, False, True]
    assert known.superseded == 2


@given(st.permutations(range(5)), st.lists(st.integers(0, 4), max_size=5))
def test_the_last_version_holds_in_every_order(arrival: list[int], again: list[int]) -> None:
    """Of five answers the last one that is let through is the greatest by order, and none is let through below one that was."""
    record = decided(UNSURE)
    versions = [answer(record, "other")]
    for tag in ("mlops", "computer-vision"):
        versions.append(answer(record, tag, previous=versions[-1]))
    # Two consoles that correct the same answer at once: one version, two contents.
    versions += [answer(record, tag, previous=versions[-2], reviewer="bob") for tag in ("mlops", "other")]
    known = Distinct()
    through = [
        versions[number] for at, number in enumerate([*arrival, *again]) if known.admit(by_reviewer(versions[number], at))
    ]
    assert through == sorted(through, key=order)
    assert through[-1] == max(versions, key=order)
    assert known.conflicts == 0
    assert known.first + known.superseded == len(versions)


def test_answers_are_told_apart_on_their_own_topic() -> None:
    """Two answers on one decision are no conflict, and a copy of an answer is a duplicate."""
    record = decided(UNSURE)
    first = answer(record, "other")
    second = answer(record, "mlops", previous=first)
    known = Distinct()
    written = [replace(reviewed(record, given_), offset=at) for at, given_ in enumerate((first, second, first, second))]
    assert [known.admit(one) for one in written] == [True, True, False, False]
    assert (known.duplicates, known.superseded, known.conflicts) == (2, 0, 0)


def test_an_answer_with_another_content_is_a_conflict() -> None:
    """The id of an answer says what was answered: another event under it is no correction."""
    person = by_reviewer(answer(decided(UNSURE)), 1)
    assert person.value is not None
    other = replace(person, value=person.value.replace(b"maybe deployment", b"maybe translation"), offset=2)
    known = Distinct()
    assert known.admit(person)
    with pytest.raises(ConflictError):
        known.admit(other)


def test_a_producer_cannot_pose_as_a_reviewer() -> None:
    """Fields of an event that are named like those of a person's decision change nothing: they stand aside, or decide nothing."""
    posing = decided(b'{"id":"e","title":"deployment","decider":"reviewer","version":9,"decided_at":"2030"}')
    model = replace(
        posing,
        value=(posing.value or b"").replace(b"d" * 64, b"e" * 64).replace(shown(posing).decision.prediction_id.encode(), b"p"),
    )
    known = Distinct()
    assert [known.admit(record) for record in (posing, model)] == [True, True]
    assert known.superseded == 0
