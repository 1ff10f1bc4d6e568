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
    Puts traces around the parts of a door; where no receiver is set, every part stays as it is.

    Attributes:
        deciding: Of a `decide` and its topic, that `decide` whose outcomes continue their producers' traces.
        observing: Of an observer, one that also makes a span for each batch and each outcome that it is told of.
        requests: Of an ASGI application, one that also makes a span for each request, which its `traceparent` names.
    """

    deciding: Callable[[Decide, str], Decide] = lambda decide, _topic: decide
    observing: Callable[[Observer], Observer] = lambda observer: observer
    requests: Callable[[Application], Application] = lambda application: application


UNTRACED = TracingHooks()
