"""Models that end the process in which a trial is held, or keep it from beginning."""

import os
import signal
from collections.abc import Sequence

from tagstream.model_export.bundle.model import Prediction
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.decide.pipeline import Decider, Pipeline
from tagstream.stream.settings.settings import Settings
from tests.faults.worker.poison import PoisonableClassifier
from tests.faults.worker.stub import MODEL, THRESHOLD

EXIT, SEGFAULT, KILL, BROKEN = "exit", "segfault", "kill", "broken"


class Breakable(PoisonableClassifier):
    """Ends its process in further ways."""

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """
        Predict as the stub does.

        Raises:
            OSError: For one word.
        """
        for text in texts:
            if EXIT in text:
                os._exit(7)
            if SEGFAULT in text:
                os.kill(os.getpid(), signal.SIGSEGV)
            if KILL in text:
                os.kill(os.getpid(), signal.SIGKILL)
            if BROKEN in text:
                raise OSError(text)
        return super().classify(texts)


def breakable(settings: Settings) -> Pipeline:
    """A pipeline with this model."""
    return pipeline_of(settings, decider=Decider(classifier=Breakable(), model=MODEL, threshold=THRESHOLD))


def refused(settings: Settings) -> Pipeline:
    """No pipeline: the bundle cannot be read any more."""
    msg = f"the bundle {settings.bundle} is gone"
    raise FileNotFoundError(msg)


def endless(settings: Settings) -> Pipeline:
    """A pipeline that kills the process that loads it."""
    os.kill(os.getpid(), signal.SIGKILL)
    return breakable(settings)
