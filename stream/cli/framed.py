"""Makes a worker's pipeline. A process that tries a suspect event makes it too, so this module imports no code of serving or delivery."""

from tagstream.monitoring.observer import Observer
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.decide.pipeline import Decider, Pipeline
from tagstream.stream.registry.unframing import unframing_of
from tagstream.stream.settings.settings import Settings


def framed_pipeline_of(settings: Settings, *, decider: Decider | None = None, observer: Observer | None = None) -> Pipeline:
    """
    Return a worker's pipeline. It accepts values in the frame of the Schema Registry that the settings name.

    Raises:
        BundleError: The bundle is refused.
        SecurityError: A file of the Schema Registry's settings cannot be used.
        MissingExtraError: A Schema Registry is set, and the extra `registry` is not installed.
    """
    return pipeline_of(settings, decider=decider, observer=observer, unframe=unframing_of(settings))
