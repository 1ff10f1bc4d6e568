"""List in, list out: the same length, the same order, bad events as values among the good."""

import json
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_export.bundle.bundle import Bundle, LabelThreshold
from model_export.bundle.prediction import Classifier, Prediction
from model_export.bundle.text import compose
from monitoring.observer import NullObserver
from monitoring.vocabulary import Destination, ReviewReason
from stream.contract.events import Limits, Rejected
from stream.contract.outcomes import ModelRef, NeedsReview, Tagged
from stream.decide.pipeline import Pipeline, router
from stream.decide.routing import Router
from tests.fakes import BrokenClassifier, KeywordClassifier, RecordingObserver, ShiftedClassifier, raw

ROUTER = Router(model=ModelRef(name="m", version="1", digest="d" * 64), threshold=0.7)
KINDS = {
    b'{"title":"deployment"}': Tagged,
    b'{"title":"maybe image"}': NeedsReview,
    b'{"title":"a","description":"translation"}': Tagged,
    b"{": Rejected,
    b'{"title":7}': Rejected,
    None: Rejected,
}


def joined(classifier: Classifier, observer: RecordingObserver | None = None, limits: Limits | None = None) -> Pipeline:
    """A pipeline over this classifier."""
    return Pipeline(classifier=classifier, router=ROUTER, observer=observer or NullObserver(), limits=limits or Limits())


@given(st.lists(st.sampled_from(list(KINDS))))
def test_any_mix_of_good_and_bad_keeps_its_length_and_order(values: list[bytes | None]) -> None:
    """Every event becomes exactly one outcome, its own."""
    events = [raw(value, offset=offset) for offset, value in enumerate(values)]
    outcomes = joined(KeywordClassifier()).decide(events)
    assert [type(outcome) for outcome in outcomes] == [KINDS[value] for value in values]
    found = [outcome.raw if isinstance(outcome, Rejected) else outcome.event.raw for outcome in outcomes]
    assert found == events


@given(st.lists(st.sampled_from(list(KINDS)), min_size=1))
def test_a_decision_does_not_depend_on_its_neighbours(values: list[bytes | None]) -> None:
    """Alone or in any batch, an event has the same outcome."""
    pipeline = joined(KeywordClassifier())
    events = [raw(value, offset=offset) for offset, value in enumerate(values)]
    assert pipeline.decide(events) == [outcome for event in events for outcome in pipeline.decide([event])]


def test_an_empty_batch_gives_nothing() -> None:
    """No event, no outcome, no publication."""
    pipeline = joined(KeywordClassifier())
    assert pipeline.decide([]) == []
    assert pipeline.publications([]) == []


def test_a_batch_of_bad_events_only_is_no_trouble() -> None:
    """The classifier is asked about no text."""
    assert [type(outcome) for outcome in joined(KeywordClassifier()).decide([raw(None), raw(b"[")])] == [Rejected, Rejected]


def test_a_broken_classifier_breaks_the_batch() -> None:
    """A broken machine is an exception: no event of the batch is decided, not even a bad one."""
    with pytest.raises(MemoryError):
        joined(BrokenClassifier()).decide([raw(b"{"), raw(b'{"title":"a"}')])


@pytest.mark.parametrize("by", [-1, 1])
def test_a_classifier_that_miscounts_is_a_broken_machine(by: int) -> None:
    """One prediction too many or too few would give an event its neighbour's decision."""
    with pytest.raises(RuntimeError, match=rf"2 texts became {2 + by} predictions"):
        joined(ShiftedClassifier(by)).decide([raw(b'{"title":"image"}'), raw(b'{"title":"deployment"}')])


def test_the_classifier_reads_the_composed_text() -> None:
    """Title and description become one text as in training; neither is read alone."""

    class Listening(KeywordClassifier):
        def __init__(self) -> None:
            self.heard: list[str] = []

        def classify(self, texts: Sequence[str]) -> list[Prediction]:
            self.heard.extend(texts)
            return super().classify(texts)

    listening = Listening()
    joined(listening).decide([raw(b'{"title":" A ","description":"b"}'), raw(b"{"), raw(b'{"title":"c","description":""}')])
    assert listening.heard == [compose(" A ", "b"), "c"]


def test_publications_carry_the_clock_and_every_stage_is_observed() -> None:
    """Decode and inference, then encoding; the time of the decision is the clock's."""
    observer = RecordingObserver()
    (publication,) = joined(KeywordClassifier(), observer).publications([raw(b'{"title":"a"}')], clock=lambda: 1.5)
    assert publication.value is not None
    assert json.loads(publication.value)["tagged_at"] == "1970-01-01T00:00:01.500Z"
    assert publication.destination is Destination.TAGGED
    assert observer.stages == ["decode", "inference", "encode"]


def test_limits_are_passed_on() -> None:
    """The size limit of the settings is the decoder's."""
    assert isinstance(joined(KeywordClassifier(), limits=Limits(max_bytes=12)).decide([raw(b'{"title":"a"}')])[0], Rejected)


@pytest.mark.parametrize(("given_threshold", "expected"), [(None, "the bundle's"), (0.0, 0.0), (0.25, 0.25)])
def test_a_threshold_of_the_settings_wins_over_the_bundles(
    tiny_bundle: Bundle, given_threshold: float | None, expected: float | str
) -> None:
    """Zero is a threshold, not an absence; the digest is the bundle's."""
    found = router(tiny_bundle, given_threshold)
    wanted = tiny_bundle.manifest.threshold.confidence if given_threshold is None else expected
    assert {found.asked_below(label) for label in tiny_bundle.manifest.labels} == {wanted}
    assert found.model.digest == tiny_bundle.digest


@pytest.mark.parametrize(
    ("given_threshold", "expected"), [(None, {"mlops": 0.97, "other": 0.61}), (0.5, {"mlops": 0.5, "other": 0.5})]
)
def test_the_setting_overrides_the_threshold_of_every_label(
    tiny_bundle: Bundle, given_threshold: float | None, expected: dict[str, float]
) -> None:
    """Else each label has its own."""
    own = {label: threshold(0.97 if label == "mlops" else 0.61) for label in tiny_bundle.manifest.labels}
    manifest = msgspec.structs.replace(tiny_bundle.manifest, thresholds=own)
    found = router(msgspec.structs.replace(tiny_bundle, manifest=manifest), given_threshold)
    assert {label: found.asked_below(label) for label in expected} == expected


def threshold(confidence: float) -> LabelThreshold:
    """A label's threshold without a promise."""
    return LabelThreshold(
        confidence=confidence,
        target_precision=0.95,
        precision=0.96,
        precision_lower_bound=0.8,
        bound_level=0.9875,
        rows=50,
        label_rows=60,
        certified=False,
    )


def test_what_is_strange_is_what_the_bundle_says(tiny_bundle: Bundle, tiny_classifier: Classifier) -> None:
    """The reference's figure reaches the router, and a text of words that nobody knows goes to a person, sure or not."""
    routed = router(tiny_bundle, 0.0)
    assert routed.ood_energy == tiny_bundle.manifest.reference["ood_energy"]
    pipeline = Pipeline(classifier=tiny_classifier, router=routed, observer=NullObserver())
    strange, known = pipeline.decide([raw(b'{"title":"Nobody knows these"}'), raw(b'{"title":"image segmentation"}')])
    assert isinstance(strange, NeedsReview)
    assert strange.decision.reasons == (ReviewReason.OUT_OF_DISTRIBUTION,)
    assert isinstance(known, Tagged)


def test_a_bundle_without_the_figure_calls_nothing_strange(tiny_bundle: Bundle) -> None:
    """A bundle from before there was one still decides."""
    manifest = msgspec.structs.replace(tiny_bundle.manifest, reference={})
    assert router(msgspec.structs.replace(tiny_bundle, manifest=manifest), None).ood_energy is None


def test_a_redelivered_strange_event_has_the_same_bytes_of_decision(tiny_bundle: Bundle, tiny_classifier: Classifier) -> None:
    """Alone or among others, now or later, up to the clock."""
    pipeline = Pipeline(classifier=tiny_classifier, router=router(tiny_bundle, None), observer=NullObserver())
    event = raw(b'{"id":"e","title":"Nobody knows these"}')
    first = pipeline.publications([event], clock=lambda: 1.0)[0].value
    again = pipeline.publications([raw(b'{"title":"image"}'), event, raw(b"{")], clock=lambda: 99.0)[1].value
    assert first is not None
    assert again is not None
    assert first.rpartition(b',"tagged_at"')[0] == again.rpartition(b',"tagged_at"')[0]
    assert json.loads(first)["reasons"] == ["low_confidence", "out_of_distribution"]


def test_every_decision_has_signals_and_no_dead_letter_has() -> None:
    """Drift is looked for in all that was decided."""
    publications = joined(KeywordClassifier()).publications([raw(value) for value in KINDS])
    assert [found.observation.signals is None for found in publications] == [kind is Rejected for kind in KINDS.values()]
