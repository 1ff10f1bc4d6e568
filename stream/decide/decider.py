"""Who decides: the bundle's model or, where a person has said so, the keyword rules. The one reader of the setting `decider`.

The rules are for the hours in which there is no model that may be trusted: the bundle is lost or refused, or the circuit breaker
is open. Nothing falls back to them by itself: a stream whose decisions silently become guesses would be worse than one that
stands still. Every event then goes to people, with the rules' tag as a first guess.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from model_export.bundle import rules
from model_export.bundle.bundle import Bundle, BundleError
from model_export.bundle.bundle import read as read_bundle
from model_export.bundle.prediction import Classifier
from stream.contract.outcomes import ModelRef
from stream.decide.isolation import PROBE
from stream.decide.pipeline import router
from stream.decide.routing import Router
from stream.settings.settings import Settings

RULES_CONSEQUENCE = "no model is loaded; every event goes to review, with the rules' tag as a first guess"
# Above every confidence that rules have: what a consumer recomputes from a record gives the same door.
RULES_THRESHOLD = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decider:
    """
    What a pipeline needs of whoever decides.

    Attributes:
        classifier: Texts to predictions.
        router: What becomes of them, and under whose name.
        bundle: Where the model came from; None where there is none.
        probe: Texts that the classifier is known to decide, 1 or more.
        warm_up: Takes, for so many threads, the memory that the largest batches need.
    """

    classifier: Classifier
    router: Router
    bundle: Bundle | None = None
    probe: Sequence[str] = PROBE
    warm_up: Callable[[int], None] = lambda _: None
    reference: Mapping[str, Any] = field(default_factory=dict)


def decider_of(settings: Settings) -> Decider:
    """
    Whom the settings name.

    Raises:
        BundleError: The bundle is refused; the message names the rules as a way to keep events flowing to people.
    """
    return _rules() if settings.decider == "rules" else _model(settings)


def _model(settings: Settings) -> Decider:
    # Only here: a runtime that cannot even be imported must not keep the rules from working.
    from model_export.bundle.classifier import OnnxClassifier

    try:
        bundle = read_bundle(settings.bundle)
        classifier = OnnxClassifier(bundle)
    except BundleError as error:
        msg = (
            f"{error} Until then TAGSTREAM_DECIDER=rules keeps the stream flowing to people: without a model, every event to "
            f"{settings.topics.review}."
        )
        raise BundleError(msg) from error
    return Decider(
        classifier=classifier,
        router=router(bundle, settings.confidence_threshold),
        bundle=bundle,
        probe=[text.text for text in bundle.manifest.golden] or PROBE,
        warm_up=classifier.warm_up,
        reference=bundle.manifest.reference,
    )


def _rules() -> Decider:
    classifier = rules.RulesClassifier()
    model = ModelRef(name=rules.NAME, version=classifier.version, digest=classifier.digest)
    return Decider(classifier=classifier, router=Router(model=model, threshold=RULES_THRESHOLD, decider="rules"))
