"""An answer from the table has the bytes that the pipeline would give, and a stale one is none."""

import msgspec
import pytest

from tagstream.monitoring.observer import NullObserver
from tagstream.stream.contract.answers import OFF_SUBJECT
from tagstream.stream.contract.event import ContentEvent, decode
from tagstream.stream.contract.outcome import ModelRef, NeedsReview, Tagged, publish_all
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.decide.pipeline import Decider, Pipeline
from tagstream.stream.tables.predictions import Predictions
from tagstream.stream.tables.row import PredictionRow, hash_of_text, row_of, row_of_record
from tagstream.stream.tables.stored_decisions import decided_before
from tests.answering import MODEL, NOW_MS, decided, published
from tests.fakes import deciding, raw
from tests.replacing import replace
from tests.unit.stream.tables.table_rows import model, person, row

FIRST = [
    b'{"id":"a","title":"maybe deployment","tag":"theirs"}',
    b'{"id":"b","title":"deployment of","description":"a model"}',
    b'{"id":"c","title":"dep\\u200bloyment of a model"}',
    b'{"id":"d","title":"' + b"long " * 5000 + b'"}',
]
# The same texts in other events.
AGAIN = [
    b'{"title":"maybe deployment","id":"other a","n":1.10}',
    b'{"id":"other b","title":"deployment of a model"}',
    b'{"id":"other c","title":"dep\\u200bloyment of a model"}',
    b'{"id":"other d","title":"' + b"long " * 5000 + b'"}',
]


def event(value: bytes) -> ContentEvent:
    """The event of a value."""
    found = decode(raw(value))
    assert isinstance(found, ContentEvent)
    return found


def remembered(predictions: Predictions, decider: Decider, values: list[bytes]) -> None:
    """Decide these and keep the decisions."""
    made = Pipeline(decider=decider, observer=NullObserver()).publications([raw(value) for value in values])
    predictions.upsert([found for publication in made if (found := row_of(publication)) is not None])


def test_an_answer_of_the_table_is_that_of_the_pipeline(predictions: Predictions) -> None:
    """Byte for byte, with the new event's fields and id; hidden characters and a cut text are part of the text."""
    decider = deciding(model=MODEL)
    remembered(predictions, decider, FIRST)
    records = [raw(value) for value in AGAIN]
    found = decided_before(predictions, [event(value) for value in AGAIN], decider)
    assert None not in found
    expected = Pipeline(decider=decider, observer=NullObserver()).decide(records)
    made = publish_all(records, [one.outcome for one in found if one is not None], NOW_MS)
    assert [(one.destination, one.key, one.value) for one in made] == [
        (one.destination, one.key, one.value) for one in publish_all(records, expected, NOW_MS)
    ]


def test_an_answer_of_the_table_is_of_the_epoch_in_force(predictions: Predictions) -> None:
    """The same bundle decides alike in every epoch, and the answer names the present one, in its id too."""
    before, now = (deciding(model=msgspec.structs.replace(MODEL, epoch=epoch, arm="champion")) for epoch in ("1", "4"))
    remembered(predictions, before, FIRST[:1])
    (found,) = decided_before(predictions, [event(AGAIN[0])], now)
    assert found is not None
    (expected,) = Pipeline(decider=now, observer=NullObserver()).decide([raw(AGAIN[0])])
    assert isinstance(expected, Tagged | NeedsReview)
    assert found.outcome.decision == expected.decision


@pytest.mark.parametrize(
    "today",
    [
        deciding(model=ModelRef(name="tiny", version="2", digest="e" * 64)),
        deciding(model=ModelRef(name="tiny", version="1", digest="d" * 64, arithmetic="f" * 64)),
        deciding(model=MODEL, threshold=0.3),
        deciding(model=MODEL, thresholds={"mlops": 0.9}),
        deciding(model=MODEL, kind="rules"),
    ],
    ids=["bundle", "arithmetic", "threshold", "threshold of a label", "rules"],
)
def test_a_stale_answer_is_none(predictions: Predictions, today: Decider) -> None:
    """The event is decided anew, since the model or a threshold is another one."""
    remembered(predictions, deciding(model=MODEL), FIRST)
    assert decided_before(predictions, [event(AGAIN[0])], today) == [None]


def test_a_text_that_was_never_decided_has_no_answer(predictions: Predictions) -> None:
    """Those beside it have theirs; a person's decision is none for another event."""
    decider = deciding(model=MODEL)
    remembered(predictions, decider, FIRST[:1])
    said, _ = person(model("e-9", "image of a cat"), OFF_SUBJECT)
    predictions.upsert([row(said)])
    found = decided_before(
        predictions, [event(b'{"title":"image of a cat"}'), event(AGAIN[0]), event(b'{"title":"new"}')], decider
    )
    assert [outcome is None for outcome in found] == [True, False, True]
    assert decided_before(predictions, [], decider) == []


def test_a_row_is_the_same_from_the_pipeline_and_from_the_topic() -> None:
    """`batch` writes what `tags` writes; a refusal is no row."""
    pipeline = Pipeline(decider=deciding(model=MODEL), observer=NullObserver())
    for value in FIRST:
        [publication] = pipeline.publications([raw(value)], clock=lambda: NOW_MS / 1000)
        assert row_of(publication) == row_of_record(published(decided(value)))
    [refused] = pipeline.publications([raw(b"[]")])
    assert isinstance(refused.outcome, Refusal)
    assert row_of(refused) is None


def test_the_line_of_a_row_is_that_of_classify() -> None:
    """The record's value, and the destination behind it."""
    record = decided(FIRST[1])
    assert record.value is not None
    assert row_of_record(published(record)).line == record.value[:-1] + b',"destination":"tagged"}'


@pytest.mark.parametrize(
    "other",
    [("Attention", None), ("attention", "is all"), ("Attention", "i\u200bs all"), ("Attention is", "all" + " x" * 9000)],
)
def test_another_text_has_another_hash(other: tuple[str, str | None]) -> None:
    """Hidden characters make it another one."""
    assert hash_of_text(*other) != hash_of_text("Attention", "is all")


def test_a_row_is_kept_whole(predictions: Predictions) -> None:
    """No word of the event is in a repr, and the row is read back as it was."""
    made = replace(row(model("e-\u00e9\U0001f600")), answer='{"title":"\u00e9 \\u0001 \U0001f600"}')
    predictions.upsert([made])
    found = predictions.newest("e-\u00e9\U0001f600")
    assert isinstance(found, PredictionRow)
    assert (found, "title" in repr(found)) == (made, False)
