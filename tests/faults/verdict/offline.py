"""The decisions that the same pipeline makes on the same bytes without Kafka, workers or faults, and how an outcome differs from them."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from tagstream.model_export.bundle.model import Classifier, Prediction
from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.event import Budget, Headers, Record
from tagstream.stream.contract.outcome import ModelRef, Publication
from tagstream.stream.decide.from_settings import decider_of, pipeline_of
from tagstream.stream.decide.pipeline import Decider, Pipeline
from tagstream.stream.settings.settings import Settings
from tests.faults.inputs import Input
from tests.faults.verdict.matching import Matched, Model, Place, model_of, name, place, said_by, without_clock
from tests.faults.worker.stub import MODEL, OTHER_MODEL, stub_decider
from tests.replacing import replace

# All that may differ from the offline decision, with the reason.
LEFT_OUT = {
    "tagged_at": "the time of the worker's clock; its form is compared",
    "a reference in place of a dead letter": (
        "the dead letters of one compressed batch share a budget, and which of them still fits depends on the events before it; only for "
        "events that were sent compressed, and the reference must be exact too"
    ),
}
TAGGED_AT = re.compile(rb',"tagged_at":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"}')
# So many inputs are decided at a time: a million decisions are never in memory together.
AT_ONCE = 256


class Remembering:
    """Implements `Classifier`: asks another one once for each distinct text."""

    def __init__(self, inner: Classifier) -> None:
        """Remember nothing yet."""
        self.labels = inner.labels
        self._inner = inner
        self._known: dict[str, Prediction] = {}

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """One prediction a text, in order."""
        fresh = list(dict.fromkeys(text for text in texts if text not in self._known))
        self._known.update(zip(fresh, self._inner.classify(fresh), strict=True))
        return [self._known[text] for text in texts]


class Offline:
    """
    One pipeline for each model that may have decided.

    Args:
        settings: Those of the workers.
        deciders: One for each model. Which of them refuses a malformed event does not matter, since no model sees it.
    """

    def __init__(self, settings: Settings, deciders: Iterable[Decider]) -> None:
        """Make the pipelines."""
        self._pipelines = {said_by(decider.model): pipeline_of(settings, decider=decider) for decider in deciders}
        self._topic = settings.topics.content

    def differences(self, inputs: Sequence[Input], outcomes: Mapping[Place, Sequence[Matched]]) -> Iterator[str]:
        """The outcomes that are not as the model that they name decides offline, each with all in which it differs."""
        for start in range(0, len(inputs), AT_ONCE):
            by_model: defaultdict[Model | None, list[Matched]] = defaultdict(list)
            for one in inputs[start : start + AT_ONCE]:
                for outcome in outcomes.get(place(one), ()):
                    by_model[model_of(outcome)].append(outcome)
            for model, found in by_model.items():
                yield from self._of_one_model(model, found)

    def _of_one_model(self, model: Model | None, found: Sequence[Matched]) -> Iterator[str]:
        pipeline = next(iter(self._pipelines.values())) if model is None else self._pipelines.get(model)
        if pipeline is None:
            yield from (f"{name(outcome.of)}: decided by a model that no worker has" for outcome in found)
            return
        inputs = {place(outcome.of): outcome.of for outcome in found}
        expected = dict(zip(inputs, self._publications(pipeline, list(inputs.values())), strict=True))
        for outcome in found:
            wrong = differing(outcome, expected[place(outcome.of)])
            if wrong and not self._is_exact_reference(outcome, pipeline):
                yield f"{name(outcome.of)}: {', '.join(wrong)}"

    def _is_exact_reference(self, outcome: Matched, pipeline: Pipeline) -> bool:
        if outcome.destination is not Destination.DLQ or outcome.of.planted.codec is None:
            return False
        (reference,) = self._publications(pipeline, [outcome.of], budget=Budget(0))
        return not differing(outcome, reference)

    def _publications(self, pipeline: Pipeline, inputs: Sequence[Input], budget: Budget | None = None) -> list[Publication]:
        records = [
            Record(
                topic=self._topic,
                partition=one.partition,
                offset=one.offset,
                key=one.planted.key,
                value=one.planted.value,
                headers=one.planted.headers,
                budget=budget,
            )
            for one in inputs
        ]
        return pipeline.publications(records, clock=lambda: 0.0)


def differing(outcome: Matched, expected: Publication) -> list[str]:
    """The parts of an outcome that are not as expected, by name; `LEFT_OUT` has what is not compared."""
    if outcome.destination is not expected.destination:
        return [f"destination {outcome.destination} instead of {expected.destination}"]
    found = outcome.record
    wrong = ["key"] if found.key != expected.key else []
    if outcome.destination is Destination.DLQ:
        wrong += ["value"] if found.value != expected.value else []
    else:
        wrong += _differing_fields(found.value or b"", expected.value or b"")
    return wrong + _differing_headers(found.headers, expected.headers)


def _differing_fields(found: bytes, expected: bytes) -> list[str]:
    ours, theirs = (msgspec.json.decode(value, type=dict[str, msgspec.Raw]) for value in (found, expected))
    # Without the field of the clock, as bytes.
    said, must = without_clock(found), without_clock(expected)
    wrong = [f"field {key}" for key in theirs | ours if key != "tagged_at" and ours.get(key) != theirs.get(key)]
    if not TAGGED_AT.fullmatch(found, len(said)):
        wrong.append("field tagged_at")
    return wrong or ([] if said == must else ["the order or the form of the fields"])


def _differing_headers(found: Headers, expected: Headers) -> list[str]:
    if found == expected:
        return []
    names = list(dict.fromkeys(key for key, _ in found + expected))
    wrong = [key for key in names if [v for k, v in found if k == key] != [v for k, v in expected if k == key]]
    return [f"header {key}" for key in wrong] or ["the order of the headers"]


def offline(settings: Settings, model: str = "stub", later: Iterable[ModelRef] = ()) -> Offline:
    """
    The offline pipelines for workers that run "stub" (or "other-stub"), or "bundle", the settings' own model.

    Args:
        settings: Those of the workers.
        model: See above.
        later: Those that have decided after a change of the model, by epoch and arm; they have the network of the settings' own.

    Raises:
        BundleError: The bundle is refused.
    """
    if model != "bundle":
        return Offline(settings, [stub_decider(MODEL), stub_decider(OTHER_MODEL)])
    decider = decider_of(settings)
    own = replace(decider, classifier=Remembering(decider.classifier))
    arithmetic = decider.model.arithmetic
    return Offline(settings, [own, *(replace(own, model=msgspec.structs.replace(one, arithmetic=arithmetic)) for one in later)])
