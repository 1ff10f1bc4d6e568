"""Where traces go around the parts of a door, so that the core knows no tracing."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tagstream.monitoring.observer import Observer
from tagstream.stream.contract.outcome import Decide

Application = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingHooks:
    """
    Puts traces around the parts of a door. Without a receiver of traces, every part stays as it is.

    Attributes:
        deciding: Wraps a topic's `decide`: its outcomes continue the traces of their producers.
        observing: Wraps an observer: each batch and each outcome that it is told of also makes a span.
        requests: Wraps an ASGI application: each request also makes a span, a child of the request's `traceparent`.
    """

    deciding: Callable[[Decide, str], Decide] = lambda decide, _topic: decide
    observing: Callable[[Observer], Observer] = lambda observer: observer
    requests: Callable[[Application], Application] = lambda application: application


UNTRACED = TracingHooks()
