"""`tagstream rollout shadow` with a challenger that raises, sleeps or hangs: `python -m ... raises BUNDLE [OPTION]...`."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tagstream.model_export.bundle.model import Classifier, Prediction
from tagstream.stream.cli.main import app
from tagstream.stream.decide.pipeline import Decider
from tagstream.stream.shadow import decision_sources
from tests.replacing import replace

SLEEP_SECONDS = 0.2


@dataclass(frozen=True)
class Bad:
    """A classifier with a fault."""

    classifier: Classifier
    fault: str

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the good one."""
        return self.classifier.labels

    def classify(self, texts: Sequence[str]) -> Sequence[Prediction]:
        """Do what the fault says."""
        if self.fault == "raises":
            raise RuntimeError(texts[0])
        time.sleep(SLEEP_SECONDS if self.fault == "sleeps" else 10**6)
        return self.classifier.classify(texts)


if __name__ == "__main__":
    _, kind, *words = sys.argv
    good = decision_sources.decider_named

    def bad(*arguments: object) -> Decider:
        """The decider with the fault."""
        found = good(*arguments)  # type: ignore[arg-type]
        return replace(found, classifier=Bad(found.classifier, kind))

    decision_sources.decider_named = bad
    app(["rollout", "shadow", *words])
