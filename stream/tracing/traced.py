"""`Tracing` with a receiver."""

from monitoring.observer import Observer
from stream.contract.publication import Decide
from stream.tracing.batches import TracedDecide, TracedObserver
from stream.tracing.parts import Application
from stream.tracing.requests import TracedRequests
from stream.tracing.spans import Spans


class Traced:
    """Implements `Tracing`; the spans of all its parts go to one receiver."""

    def __init__(self, spans: Spans, *, group: str) -> None:
        """`spans` go there; `group` is that of the workers."""
        self._spans = spans
        self._group = group

    def deciding(self, decide: Decide, topic: str) -> Decide:
        """See `Tracing`."""
        return TracedDecide(decide, topic)

    def observing(self, observer: Observer) -> Observer:
        """See `Tracing`."""
        return TracedObserver(observer, self._spans, group=self._group)

    def requests(self, application: Application) -> Application:
        """See `Tracing`."""
        return TracedRequests(application, self._spans)
