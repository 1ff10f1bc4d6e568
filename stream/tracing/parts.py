"""The parts of a door that traces go around, and the stand-in where no receiver is set. Without OpenTelemetry."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from monitoring.observer import Observer
from stream.contract.publication import Publication
from stream.contract.record import Record
from stream.contract.refusal import Refusal

Application = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application."""


class DecideOrRefuse(Protocol):
    """One publication for each event, in their order; see `Pipeline.publications`."""

    def __call__(self, events: Sequence[Record], refusal: Refusal | None = None, /) -> list[Publication]:
        """Decide the events; given a refusal, read none of them and make a dead letter of each."""
        ...


class Tracing(Protocol):
    """Puts traces around the parts of a door."""

    def deciding(self, decide: DecideOrRefuse, topic: str) -> DecideOrRefuse:
        """`decide` of records of `topic`, whose outcomes continue their producers' traces."""
        ...

    def observing(self, observer: Observer) -> Observer:
        """`observer`, and a span for each batch and each outcome that it is told of."""
        ...

    def requests(self, application: Application) -> Application:
        """`application`, and a span for each request, which its `traceparent` names."""
        ...


class Untraced:
    """Implements `Tracing` where no receiver is set: every part stays as it is."""

    def deciding(self, decide: DecideOrRefuse, topic: str) -> DecideOrRefuse:  # noqa: ARG002
        """Return `decide`."""
        return decide

    def observing(self, observer: Observer) -> Observer:
        """Return `observer`."""
        return observer

    def requests(self, application: Application) -> Application:
        """Return `application`."""
        return application


UNTRACED = Untraced()
