"""Known bad: the first two events of each batch get each other's decision. Ids, fields, order and acknowledgements are right."""

from collections.abc import Sequence
from typing import Any

import tagstream.stream.worker.faust_app
from tagstream.model_export.bundle.model import Classifier, Prediction
from tagstream.stream.worker.faust_engine import queued
from tests.faults.variants.bad_worker import Parts, run
from tests.replacing import replace


class Swapping:
    """Implements `Classifier`: another one's predictions, the first two of them exchanged."""

    def __init__(self, inner: Classifier) -> None:
        """Wrap another classifier."""
        self.labels = inner.labels
        self._inner = inner

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """As many predictions as texts."""
        first, rest = texts[:2], texts[2:]
        return self._inner.classify([*reversed(first), *rest])


def define(parts: Parts) -> None:
    """Declare the agent."""
    decider = parts.pipeline.decider
    parts.pipeline.replace(replace(decider, classifier=Swapping(decider.classifier)))

    @parts.app.agent(tagstream.stream.worker.faust_app.source(parts.app, parts.settings), name="classify")  # type: ignore[untyped-decorator]
    async def classify(stream: Any) -> None:
        await parts.delivery().run(queued(stream.noack()))


if __name__ == "__main__":
    run(define, restart_agents=False)
