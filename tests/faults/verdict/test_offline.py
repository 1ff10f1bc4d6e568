"""I9: an outcome that differs from the offline decision in any part is found, by the name of that part."""

import hashlib
from collections.abc import Callable, Sequence

import msgspec
import pytest

from tagstream.model_export.bundle.model import Prediction
from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.event import Budget, Headers, Record
from tagstream.stream.contract.outcome import ASKED_FIELDS, Decision
from tests.faults.inputs import Input, Planted
from tests.faults.verdict.checker import check
from tests.faults.verdict.evidence import Evidence, Finding
from tests.faults.verdict.good_run import OFFLINE, add, changed, good_run, published, sample, with_fields
from tests.faults.verdict.offline import AT_ONCE, Remembering
from tests.faults.worker.stub import MODEL, OTHER_MODEL, StubClassifier
from tests.replacing import replace

HEADERS_OF_A_DEAD_LETTER = (
    "x-dlq-code",
    "x-dlq-stage",
    "x-dlq-attempts",
    "__streams.errors.exception",
    "__streams.errors.message",
    "__streams.errors.topic",
)
# Without `tags`, which only some bundles have, and `model`, which has a test of its own. An outcome of another id breaks I2.
FIELDS = sorted({*Decision.__struct_fields__, "title", "description", "extra"} - ASKED_FIELDS - {"model"})


def found(run: Evidence) -> Finding:
    """The finding on I9."""
    return check(run, OFFLINE)["I9"]


def with_tagged(change: Callable[[Record], Record]) -> Evidence:
    """The good run with its first tagged outcome changed."""
    run = good_run()
    return changed(run, Destination.TAGGED, 0, change(run.outcomes[Destination.TAGGED][0]))


def with_dead_letter(change: Callable[[Record], Record]) -> Evidence:
    """The good run with its first dead letter changed."""
    run = good_run()
    return changed(run, Destination.DLQ, 0, change(run.outcomes[Destination.DLQ][0]))


def spoiled(headers: Headers, name: str) -> Headers:
    """The headers with another value of one of them, the last of this name."""
    last = max(number for number, (one, _) in enumerate(headers) if one == name)
    return (*headers[:last], (name, b"spoiled"), *headers[last + 1 :])


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("content", ["spoiled", 1.5, None])
def test_each_field_must_be_the_offline_one(name: str, content: object) -> None:
    """A field with another content, or without one, is found by its name."""
    finding = found(with_tagged(lambda record: with_fields(record, **{name: content})))

    assert finding.cases == 1
    assert finding.says.endswith(f": field {name}")


def test_each_probability_must_be_the_offline_one() -> None:
    """The last digit of one probability is enough."""

    def changed_by_a_digit(record: Record) -> Record:
        probabilities = msgspec.json.decode(record.value or b"")["probabilities"]
        label = next(iter(probabilities))
        return with_fields(record, probabilities={**probabilities, label: round(probabilities[label] + 1e-4, 4)})

    assert "field probabilities" in found(with_tagged(changed_by_a_digit)).says


def test_an_added_field_and_another_order_are_found() -> None:
    """The value is compared byte by byte, so that a field may neither be added nor moved."""

    def turned(record: Record) -> Record:
        fields = msgspec.json.decode(record.value or b"", type=dict[str, msgspec.Raw])
        return replace(record, value=msgspec.json.encode({"title": fields.pop("title"), **fields}))

    assert "field added" in found(with_tagged(lambda record: with_fields(record, added=1))).says
    assert "the order or the form" in found(with_tagged(turned)).says


def test_the_form_of_the_time_is_compared_and_the_time_is_not() -> None:
    """`tagged_at` may be any time, and must be one."""
    later = with_tagged(lambda record: with_fields(record, tagged_at="2031-01-01T00:00:00.000Z"))

    assert found(later).holds
    assert "field tagged_at" in found(with_tagged(lambda record: with_fields(record, tagged_at="tomorrow"))).says
    assert "field tagged_at" in found(with_tagged(lambda record: with_fields(record, tagged_at=None))).says


@pytest.mark.parametrize("name", ["traceparent", "tenant"])
def test_each_header_of_the_event_must_be_on_the_outcome(name: str) -> None:
    """A header of the producer that is changed, missing, doubled or moved is found."""

    def finding(change: Callable[[Headers], Headers]) -> str:
        return found(with_tagged(lambda record: replace(record, headers=change(record.headers)))).says

    assert f"header {name}" in finding(lambda headers: spoiled(headers, name))
    assert f"header {name}" in finding(lambda headers: tuple(one for one in headers if one[0] != name))
    assert f"header {name}" in finding(lambda headers: (*headers, (name, b"again")))
    assert "the order of the headers" in finding(lambda headers: (*headers[1:], headers[0]))
    assert "header ours" in finding(lambda headers: (*headers, ("ours", b"1")))


def test_the_key_and_the_door_must_be_the_offline_ones() -> None:
    """Another key, and the right decision in another topic, are found."""
    run = good_run()
    moved = {
        **run.outcomes,
        Destination.TAGGED: run.outcomes[Destination.TAGGED][1:],
        Destination.REVIEW: [replace(run.outcomes[Destination.TAGGED][0], offset=0)],
    }

    assert "key" in found(with_tagged(lambda record: replace(record, key=b"another"))).says
    assert "destination review instead of tagged" in found(replace(run, outcomes=moved)).says


@pytest.mark.parametrize("name", HEADERS_OF_A_DEAD_LETTER)
def test_each_header_of_a_dead_letter_must_be_the_offline_one(name: str) -> None:
    """Code, stage, attempts, message and origin of a dead letter are compared, and so are the producer's own headers."""
    spoil = with_dead_letter(lambda record: replace(record, headers=spoiled(record.headers, name)))
    drop = with_dead_letter(lambda record: replace(record, headers=tuple(one for one in record.headers if one[0] != name)))

    assert f"header {name}" in found(spoil).says
    assert f"header {name}" in found(drop).says


def test_key_and_bytes_of_a_dead_letter_must_be_the_offline_ones() -> None:
    """One byte is enough, and a missing value is not an empty one."""
    assert "key" in found(with_dead_letter(lambda record: replace(record, key=None))).says
    assert "value" in found(with_dead_letter(lambda record: replace(record, value=b"{7 "))).says
    assert "value" in found(with_dead_letter(lambda record: replace(record, value=None))).says


def test_exchanged_decisions_break_nothing_but_this() -> None:
    """Two neighbours with each other's decision, each under its own id, break I9 alone."""
    run = good_run()
    one, other = run.outcomes[Destination.TAGGED][0], run.outcomes[Destination.TAGGED][2]
    of_one, of_other = (msgspec.json.decode(record.value or b"") for record in (one, other))
    taken = ("tag", "confidence", "probabilities")
    run = changed(run, Destination.TAGGED, 0, with_fields(one, **{name: of_other[name] for name in taken}))
    run = changed(run, Destination.TAGGED, 2, with_fields(other, **{name: of_one[name] for name in taken}))

    verdict = check(run, OFFLINE)

    assert verdict.broken == ["I9"]
    assert verdict["I9"].cases == 2


def test_an_outcome_is_compared_with_the_model_that_it_names() -> None:
    """Another known model may decide otherwise; the old decision under the new digest is found, and so is an unknown digest."""
    run = good_run()
    by_other: dict[Destination, list[Record]] = {destination: [] for destination in Destination}
    add(by_other, published(run.inputs[0], OTHER_MODEL))
    other = next(record for records in by_other.values() for record in records)
    named = msgspec.json.decode(other.value or b"")
    unknown = {**msgspec.to_builtins(MODEL), "digest": hashlib.sha256(b"unknown").hexdigest()}

    def under_the_new_name(record: Record) -> Record:
        return with_fields(record, model=named["model"], prediction_id=named["prediction_id"])

    kept = replace(run, outcomes=by_other, samples=[sample(0, 0, 1, 0)])
    assert found(kept).holds
    assert found(with_tagged(under_the_new_name)).cases == 1
    assert "no worker has" in found(with_tagged(lambda record: with_fields(record, model=unknown))).says
    assert "field model" in found(with_tagged(lambda record: with_fields(record, model=None))).says


def test_a_reference_stands_for_an_event_of_a_compressed_batch_alone() -> None:
    """A reference must be exact, and an event that was sent without compression may not become one."""
    planted = Planted(event_id=None, key=b"k", value=b"{" * 5000, codec="gzip")
    compressed, plain = (Input(planted=one, partition=0, offset=0) for one in (planted, replace(planted, codec=None)))
    outcomes: dict[Destination, list[Record]] = {destination: [] for destination in Destination}
    add(outcomes, published(compressed, budget=Budget(0)))
    (reference,) = outcomes[Destination.DLQ]
    assert reference.value is None
    run = replace(good_run(), inputs=[compressed], outcomes=outcomes)
    spoil = replace(reference, headers=spoiled(reference.headers, "x-dlq-sha256"))

    assert found(run).holds
    assert check(run, OFFLINE)["I6"].holds
    assert not found(replace(run, inputs=[plain])).holds
    assert not found(changed(run, Destination.DLQ, 0, spoil)).holds
    assert not check(changed(run, Destination.DLQ, 0, spoil), OFFLINE)["I6"].holds


def test_inputs_beyond_the_first_part_are_compared() -> None:
    """Inputs are decided part by part, and the last part counts as the first."""
    run = good_run()
    malformed = next(one for one in run.inputs if one.planted.event_id is None)
    inputs = [replace(malformed, offset=offset) for offset in range(3 * AT_ONCE)]
    outcomes: dict[Destination, list[Record]] = {destination: [] for destination in Destination}
    for one in inputs:
        add(outcomes, published(one))
    run = replace(run, inputs=inputs, outcomes=outcomes)

    assert found(run).holds
    assert found(changed(run, Destination.DLQ, -1, replace(outcomes[Destination.DLQ][-1], value=b"{8"))).cases == 1


def test_a_text_that_comes_again_is_decided_once() -> None:
    """The real model decides each distinct text once, and every event of it gets that decision."""
    asked: list[str] = []

    class Counting(StubClassifier):
        def classify(self, texts: Sequence[str]) -> list[Prediction]:
            asked.extend(texts)
            return super().classify(texts)

    remembering = Remembering(Counting())

    assert remembering.classify([*"aba"]) + remembering.classify([*"bc"]) == StubClassifier().classify([*"ababc"])
    assert asked == ["a", "b", "c"]
