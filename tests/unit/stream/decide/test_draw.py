"""The copies for `audit`: drawn by a hash, the same at every delivery, and the bytes of the decision with one field more."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.event import weight
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.decide.from_settings import UnknownLabelError, draw_of
from tagstream.stream.decide.pipeline import Draw, Pipeline
from tagstream.stream.settings.settings import Settings
from tests.fakes import LABELS, RecordingObserver, deciding, raw
from tests.replacing import replace

ALL = Draw(rate=1.0)


def published(*values: bytes, draw: Draw | None = ALL, at: float = 1_700_000_000.0) -> list[Publication]:
    """The publications of these events by a pipeline with this draw."""
    pipeline = Pipeline(decider=deciding(), observer=RecordingObserver())
    pipeline.draw = draw
    return pipeline.publications([raw(value, key=b"k", headers=[("h", b"1")]) for value in values], clock=lambda: at)


def test_a_copy_is_the_decision_with_the_probability_before_the_time() -> None:
    """Its key and headers are those of the decision, which is published as it would be without a draw."""
    (drawn,) = published(b'{"id":"a","title":"deployment","inclusion_probability":7}', draw=Draw(rate=0.9999999))
    (plain,) = published(b'{"id":"a","title":"deployment","inclusion_probability":7}', draw=None)
    assert drawn.value == plain.value
    assert drawn.records == (("tagged", plain.value), ("audit", drawn.audit))
    assert drawn.audit is not None
    assert plain.value is not None
    assert drawn.audit.replace(b',"inclusion_probability":0.9999999,"tagged_at"', b',"tagged_at"') == plain.value
    copy = json.loads(drawn.audit)
    assert list(copy)[-2:] == ["inclusion_probability", "tagged_at"]
    assert (copy["inclusion_probability"], copy["overridden"]) == (0.9999999, {"inclusion_probability": 7})
    assert drawn.observation.audited
    assert not plain.observation.audited


def test_only_a_tagged_decision_of_the_model_is_copied() -> None:
    """An event that a person is asked about anyway, a dead letter, and a guess of the rules are not."""
    found = published(b'{"title":"maybe image"}', b"{")
    assert [(one.destination, one.audit, len(one.records)) for one in found] == [
        (Destination.REVIEW, None, 1),
        (Destination.DLQ, None, 1),
    ]
    (tagged,) = published(b'{"title":"image"}', draw=None)
    by_hand = replace(tagged, outcome=replace(tagged.outcome, decision=replace_decider(tagged)))  # type: ignore[arg-type]
    assert ALL.with_copy(by_hand) is by_hand


def replace_decider(publication: Publication) -> object:
    """The decision of a publication, made by a person."""
    import msgspec

    return msgspec.structs.replace(publication.outcome.decision, decider="reviewer")  # type: ignore[union-attr]


@given(st.text(), st.sampled_from(LABELS), st.floats(0, 1), st.text(max_size=5))
def test_the_same_event_is_drawn_again_or_never(event_id: str, label: str, rate: float, salt: str) -> None:
    """A worker that was started anew draws as the one before it; and whoever is drawn at a rate is drawn at every higher one."""
    first, second = (Draw(rate=rate, salt=salt).inclusion_probability(event_id, label) for _ in range(2))
    assert first == second
    assert first in (None, rate)
    if first is not None:
        assert Draw(rate=1.0, salt=salt).inclusion_probability(event_id, label) == 1.0


def test_nothing_is_drawn_at_a_rate_of_zero_and_everything_at_one() -> None:
    """The ends of the scale are exact."""
    ids = [f"event-{number}" for number in range(2_000)]
    assert {Draw(rate=0.0).inclusion_probability(one, "other") for one in ids} == {None}
    assert {Draw(rate=1.0).inclusion_probability(one, "other") for one in ids} == {1.0}
    assert not Draw(rate=0.0).is_on
    assert Draw(rate=0.0, rates={"mlops": 0.1}).is_on


@pytest.mark.parametrize(("label", "rate"), [("mlops", 0.3), ("other", 0.02)])
def test_the_share_that_is_drawn_is_the_rate_of_its_label(label: str, rate: float) -> None:
    """Of 50,000 ids that follow each other, so many that chance would rarely give more or fewer. The ids are fixed, and so is the result."""
    draw = Draw(rate=0.02, rates={"mlops": 0.3}, salt="s")
    drawn = sum(draw.inclusion_probability(f"event-{number}", label) is not None for number in range(50_000))
    assert binomtest(drawn, 50_000, rate).pvalue > 0.001


def test_another_salt_draws_other_events() -> None:
    """Two salts agree as often as two draws by chance, so a producer that does not know the salt cannot keep out of the sample."""
    ids = [f"event-{number}" for number in range(10_000)]
    one, other = (
        {event_id for event_id in ids if Draw(rate=0.5, salt=salt).inclusion_probability(event_id, "other")} for salt in "ab"
    )
    assert binomtest(len(one & other), 10_000, 0.25).pvalue > 0.001


def test_a_decision_whose_copy_the_topic_would_refuse_is_not_drawn() -> None:
    """The broker would refuse the copy at every delivery, and no worker would get past its event."""
    (whole,) = published(b'{"id":"a","title":"deployment"}')
    size = weight(whole.key, whole.audit, whole.headers)
    assert published(b'{"id":"a","title":"deployment"}', draw=replace(ALL, most_bytes=size))[0].audit == whole.audit
    (left_out,) = published(b'{"id":"a","title":"deployment"}', draw=replace(ALL, most_bytes=size - 1))
    assert (left_out.audit, left_out.observation.audited) == (None, False)
    assert left_out.value == whole.value


def test_rates_by_label_name_labels_of_the_bundle() -> None:
    """A label that is misspelt would otherwise be audited at another rate, unnoticed."""
    draw = draw_of(Settings(audit_rates="mlops=0.5", audit_salt="x"), LABELS)
    assert (draw.rate, draw.rates, draw.salt) == (0.02, {"mlops": 0.5}, "x")
    with pytest.raises(UnknownLabelError, match=r"'mlop', and the bundle has computer-vision.*Next"):
        draw_of(Settings(audit_rates="mlop=0.5"), LABELS)
