"""The pipeline gives one outcome an event, in order, and bad events become values among the good."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.manifest import LabelThreshold
from tagstream.model_export.bundle.model import NO_LIMITS, Classifier, OodLimits, Prediction
from tagstream.model_export.bundle.text import compose
from tagstream.monitoring.observer import NullObserver
from tagstream.monitoring.vocabulary import Destination, Reason, ReviewReason, Stage
from tagstream.stream.contract.event import Limits
from tagstream.stream.contract.outcome import ModelRef, NeedsReview, Outcome, Tagged
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.decide.from_settings import decider_of_bundle, remembering
from tagstream.stream.decide.pipeline import Decider, Draw, Pipeline
from tagstream.stream.decide.repeats import PredictionTable
from tests.counting import counted_calls
from tests.fakes import BrokenClassifier, KeywordClassifier, RecordingObserver, ShiftedClassifier, deciding, raw

# An event's in a batch; 87 are taken.
MOST_CALLS = 96
KINDS = {
    b'{"title":"deployment"}': Tagged,
    b'{"title":"maybe image"}': NeedsReview,
    b'{"title":"a","description":"translation"}': Tagged,
    b"{": Refusal,
    b'{"title":7}': Refusal,
    None: Refusal,
}


def joined(classifier: Classifier, observer: RecordingObserver | None = None, limits: Limits | None = None) -> Pipeline:
    """A pipeline over this classifier."""
    return Pipeline(decider=deciding(classifier), observer=observer or NullObserver(), limits=limits or Limits())


@given(st.lists(st.sampled_from(list(KINDS))))
def test_any_mix_of_good_and_bad_keeps_its_length_and_order(values: list[bytes | None]) -> None:
    """Every event becomes exactly one outcome, at its own position."""
    events = [raw(value, offset=offset) for offset, value in enumerate(values)]
    publications = joined(KeywordClassifier()).publications(events)
    outcomes = [publication.outcome for publication in publications]
    assert [type(outcome) for outcome in outcomes] == [KINDS[value] for value in values]
    for event, publication, outcome in zip(events, publications, outcomes, strict=True):
        if isinstance(outcome, Refusal):
            assert dict(publication.headers)["__streams.errors.offset"] == b"%d" % event.offset
            assert publication.value == event.value
        else:
            assert outcome.event.record == event


@given(st.lists(st.sampled_from(list(KINDS)), min_size=1))
def test_a_decision_does_not_depend_on_its_neighbours(values: list[bytes | None]) -> None:
    """An event has the same outcome alone and in any batch."""
    pipeline = joined(KeywordClassifier())
    events = [raw(value, offset=offset) for offset, value in enumerate(values)]
    assert pipeline.decide(events) == [outcome for event in events for outcome in pipeline.decide([event])]


def test_an_empty_batch_gives_an_empty_list() -> None:
    """No events give no outcomes and no publications."""
    pipeline = joined(KeywordClassifier())
    assert pipeline.decide([]) == []
    assert pipeline.publications([]) == []


def test_a_batch_of_bad_events_only_is_no_trouble() -> None:
    """The classifier gets no text when every event of a batch is bad."""
    assert [type(outcome) for outcome in joined(KeywordClassifier()).decide([raw(None), raw(b"[")])] == [Refusal, Refusal]


def test_a_broken_classifier_breaks_the_batch() -> None:
    """A broken classifier raises, and no event of the batch is decided, not even a bad one."""
    with pytest.raises(MemoryError):
        joined(BrokenClassifier()).decide([raw(b"{"), raw(b'{"title":"a"}')])


@pytest.mark.parametrize("by", [-1, 1])
def test_a_classifier_that_miscounts_is_a_broken_machine(by: int) -> None:
    """A classifier that returns too many or too few predictions raises, so that no event gets its neighbour's."""
    with pytest.raises(RuntimeError, match=rf"2 texts became {2 + by} predictions"):
        joined(ShiftedClassifier(by)).decide([raw(b'{"title":"image"}'), raw(b'{"title":"deployment"}')])


def test_the_classifier_reads_the_composed_text() -> None:
    """The classifier reads title and description as one text, as in training."""

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
    """`tagged_at` comes from the clock, and decoding, inference and encoding are timed."""
    observer = RecordingObserver()
    (publication,) = joined(KeywordClassifier(), observer).publications([raw(b'{"title":"a"}')], clock=lambda: 1.5)
    assert publication.value is not None
    assert json.loads(publication.value)["tagged_at"] == "1970-01-01T00:00:01.500Z"
    assert publication.destination is Destination.TAGGED
    assert observer.stages == ["decode", "inference", "encode"]


def test_limits_are_passed_on() -> None:
    """The decoder uses the size limit of the settings."""
    assert isinstance(joined(KeywordClassifier(), limits=Limits(max_bytes=12)).decide([raw(b'{"title":"a"}')])[0], Refusal)


@pytest.mark.parametrize(("given_threshold", "expected"), [(None, "the bundle's"), (0.0, 0.0), (0.25, 0.25)])
def test_a_threshold_of_the_settings_wins_over_the_bundles(
    tiny_bundle: Bundle, given_threshold: float | None, expected: float | str
) -> None:
    """The settings' threshold wins, even zero, and the digest stays the bundle's."""
    found = decider_of_bundle(tiny_bundle, KeywordClassifier(), threshold=given_threshold)
    wanted = tiny_bundle.manifest.threshold.confidence if given_threshold is None else expected
    assert {found.asked_below(label) for label in tiny_bundle.manifest.labels} == {wanted}
    assert found.model.digest == tiny_bundle.digest


@pytest.mark.parametrize(
    ("given_threshold", "expected"), [(None, {"mlops": 0.97, "other": 0.61}), (0.5, {"mlops": 0.5, "other": 0.5})]
)
def test_the_setting_overrides_the_threshold_of_every_label(
    tiny_bundle: Bundle, given_threshold: float | None, expected: dict[str, float]
) -> None:
    """A threshold in the settings applies to every label; without it each label has its own."""
    own = {label: threshold(0.97 if label == "mlops" else 0.61) for label in tiny_bundle.manifest.labels}
    manifest = msgspec.structs.replace(tiny_bundle.manifest, thresholds=own)
    bundle = msgspec.structs.replace(tiny_bundle, manifest=manifest)
    found = decider_of_bundle(bundle, KeywordClassifier(), threshold=given_threshold)
    assert {label: found.asked_below(label) for label in expected} == expected


def threshold(confidence: float) -> LabelThreshold:
    """A label's threshold without a certificate."""
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


def test_the_bundles_energy_figure_sends_unusual_texts_to_review(tiny_bundle: Bundle, tiny_classifier: Classifier) -> None:
    """The reference's figure reaches the decider, and a text of unknown words goes to review at any confidence."""
    decider = decider_of_bundle(tiny_bundle, tiny_classifier, threshold=0.0)
    assert decider.ood == OodLimits(energy=tiny_bundle.manifest.reference["ood_energy"])
    pipeline = Pipeline(decider=decider, observer=NullObserver())
    strange, known = pipeline.decide([raw(b'{"title":"Nobody knows these"}'), raw(b'{"title":"image segmentation"}')])
    assert isinstance(strange, NeedsReview)
    assert strange.decision.reasons == (ReviewReason.OUT_OF_DISTRIBUTION,)
    assert isinstance(known, Tagged)


def test_a_bundle_without_the_energy_figure_still_decides(tiny_bundle: Bundle) -> None:
    """Its decisions have no such reason."""
    manifest = msgspec.structs.replace(tiny_bundle.manifest, reference={})
    bundle = msgspec.structs.replace(tiny_bundle, manifest=manifest)
    assert decider_of_bundle(bundle, KeywordClassifier()).ood == NO_LIMITS


def test_a_processor_that_computes_otherwise_is_named_in_its_decisions(tiny_bundle: Bundle) -> None:
    """A decider names its arithmetic where the bundle names another one; where the bundle names none, nothing is compared."""
    made = msgspec.structs.replace(tiny_bundle, manifest=msgspec.structs.replace(tiny_bundle.manifest, arithmetic="aa"))
    assert decider_of_bundle(made, KeywordClassifier(), arithmetic="aa").model.arithmetic is None
    assert decider_of_bundle(made, KeywordClassifier(), arithmetic="bb").model.arithmetic == "bb"
    assert decider_of_bundle(tiny_bundle, KeywordClassifier(), arithmetic="bb").model.arithmetic is None


def test_a_redelivered_unusual_event_has_the_same_bytes_of_decision(tiny_bundle: Bundle, tiny_classifier: Classifier) -> None:
    """Alone or in a batch, now or later, the decision is the same but for the clock."""
    pipeline = Pipeline(decider=decider_of_bundle(tiny_bundle, tiny_classifier), observer=NullObserver())
    event = raw(b'{"id":"e","title":"Nobody knows these"}')
    first = pipeline.publications([event], clock=lambda: 1.0)[0].value
    again = pipeline.publications([raw(b'{"title":"image"}'), event, raw(b"{")], clock=lambda: 99.0)[1].value
    assert first is not None
    assert again is not None
    assert first.rpartition(b',"tagged_at"')[0] == again.rpartition(b',"tagged_at"')[0]
    # Every reason of the contract; no worker writes `user_report`.
    assert json.loads(first)["reasons"] == [reason for reason in ReviewReason if reason is not ReviewReason.USER_REPORT]


def test_every_decision_has_signals_and_no_dead_letter_has() -> None:
    """Every decided event has signals for drift detection, and a dead letter has none."""
    publications = joined(KeywordClassifier()).publications([raw(value) for value in KINDS])
    assert [found.observation.signals is None for found in publications] == [kind is Refusal for kind in KINDS.values()]


class Replacing(KeywordClassifier):
    """A classifier that replaces the pipeline's decider during its call."""

    def __init__(self, other: Decider) -> None:
        """`other` decides from the next batch on."""
        self.other = other
        self.pipeline: Pipeline | None = None

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """Predict by keywords, after the exchange."""
        assert self.pipeline is not None
        self.pipeline.replace(self.other)
        return super().classify(texts)


def test_a_replaced_decider_decides_the_next_batch_and_not_the_one_that_has_begun() -> None:
    """A batch is decided with the classifier, thresholds and model name of the decider that it began with."""
    newer = ModelRef(name="m", version="2", digest="e" * 64)
    replacing = Replacing(deciding(model=newer, threshold=1.0))
    pipeline = replacing.pipeline = joined(replacing)
    batch = [raw(b'{"id":"a","title":"deployment"}'), raw(b"{"), raw(b'{"id":"b","title":"image"}')]

    def names(outcomes: Sequence[Outcome]) -> list[tuple[str, str, float]]:
        decided = [outcome for outcome in outcomes if not isinstance(outcome, Refusal)]
        return [(type(one).__name__, one.decision.model.version, one.decision.threshold) for one in decided]

    assert names(pipeline.decide(batch)) == [("Tagged", "1", 0.7)] * 2
    assert names(pipeline.decide(batch)) == [("NeedsReview", "2", 1.0)] * 2
    assert pipeline.decider.release.endswith(newer.digest)


def test_the_probe_of_a_replaced_decider_is_asked_with_it() -> None:
    """A batch that raises is probed with the golden texts of the decider that it began with."""
    asked: list[list[str]] = []

    class Raising(KeywordClassifier):
        def classify(self, texts: Sequence[str]) -> list[Prediction]:
            asked.append(list(texts))
            pipeline.replace(deciding(probe=("another",)))
            if "image" in texts:
                raise ValueError
            return super().classify(texts)

    pipeline = Pipeline(decider=deciding(Raising(), probe=("golden",)), observer=NullObserver())
    assert isinstance(pipeline.decide([raw(b'{"title":"image"}')])[0], Refusal)
    assert ["golden"] in asked
    assert ["another"] not in asked


def test_records_that_may_not_be_read_become_dead_letters_undecoded() -> None:
    """A record that was refused before decoding is published with its bytes, though they would make a valid event."""
    refusal = Refusal(stage=Stage.INFER, reason=Reason.CRASHES_WORKER, message="three processes died", attempts=3)
    (letter,) = joined(BrokenClassifier()).publications([raw(b'{"title":"a"}')], refusal)
    assert letter.outcome is refusal
    assert letter.value == b'{"title":"a"}'
    assert dict(letter.headers)["x-dlq-attempts"] == b"3"


def test_an_event_is_parsed_twice_and_written_in_two_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once strictly, once for the bytes of its fields; then its fields and the decision. More would be work done a second time."""
    calls: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            calls[name] += 1
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(msgspec.json, "decode", counted("decode", msgspec.json.decode))
    monkeypatch.setattr(msgspec.json, "encode", counted("encode", msgspec.json.encode))
    monkeypatch.setattr(json.JSONDecoder, "decode", counted("strict", json.JSONDecoder.decode))
    events = [raw(b'{"id":"%d","title":"deployment"}' % offset, offset=offset) for offset in range(50)]
    joined(KeywordClassifier()).publications(events)
    assert calls == {"strict": 50, "decode": 50, "encode": 100}


def test_a_decision_takes_few_calls(tiny_bundle: Bundle, tiny_classifier: Classifier) -> None:
    """Counted, since calls are what an event costs beside the network: from its bytes to those that are published, 64 at once."""
    decider = remembering(decider_of_bundle(tiny_bundle, tiny_classifier), PredictionTable(1 << 20, NullObserver()))
    pipeline = Pipeline(decider=decider, observer=NullObserver())
    pipeline.draw = Draw(rate=0.02)
    events = [raw(b'{"id":"%d","title":"Segmenting roofs in %d aerial photographs"}' % (at, at), offset=at) for at in range(64)]
    with counted_calls() as calls:
        pipeline.publications(events)
    assert calls.number / len(events) < MOST_CALLS
