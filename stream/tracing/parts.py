"""The parts of a door that traces go around, and the stand-in where no receiver is set. Without OpenTelemetry."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from monitoring.observer import Observer
from stream.contract.publication import Decide

Application = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application."""


class Tracing(Protocol):
    """Puts traces around the parts of a door."""

    def deciding(self, decide: Decide, topic: str) -> Decide:
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

    def deciding(self, decide: Decide, topic: str) -> Decide:  # noqa: ARG002
        """Return `decide`."""
        return decide

    def observing(self, observer: Observer) -> Observer:
        """Return `observer`."""
        return observer

    def requests(self, application: Application) -> Application:
        """Return `application`."""
        return application


UNTRACED = Untraced()
