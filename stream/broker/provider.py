"""A provider of the ladder: the request, the broker that it gives, and the error by which it refuses.

BrokerUnavailable        no broker could be had, with every provider's reason
  ProviderUnavailable        this provider cannot give one; the ladder goes on to the next
"""

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

Log = Callable[[str], None]


class BrokerUnavailable(RuntimeError):
    """No broker could be had; the message has the reasons and the next step."""

    exit_code = 3


class ProviderUnavailable(BrokerUnavailable):
    """One way to a broker is closed: the message is the reason, as a sentence for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A broker that has answered.

    Attributes:
        bootstrap: Addresses for clients, `127.0.0.1:PORT[,127.0.0.1:PORT2]`.
        kind: Its provider: `external`, `docker`, `kafka` or `tansu`.
        description: One line for people: `Apache Kafka 4.3.1 (KRaft, 1 node) on Java 17`.
    """

    bootstrap: str
    kind: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerRequest:
    """The request, the same for every provider."""

    environ: Mapping[str, str]
    start_timeout_seconds: float
    log: Log


class Provider(Protocol):
    """One way to a broker.

    `start` returns a context. Its entry returns a broker that has answered, or raises `ProviderUnavailable` within the
    request's bound and leaves no process behind. Its exit ends the broker that the entry started, and no other.
    """

    @property
    def kind(self) -> str:
        """The name that `Broker.kind` and `prefer` use."""

    def start(self, request: BrokerRequest) -> AbstractContextManager[Broker]:
        """Start a broker, wait until it answers, end it on exit."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock, handed down so that nested waits share one bound."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """The moment `seconds` from now."""
        return cls(time.monotonic() + seconds)

    def left(self, *, at_most: float = float("inf")) -> float:
        """Seconds until the moment, never negative."""
        return min(at_most, max(0.0, self.at - time.monotonic()))

    def passed(self) -> bool:
        """Whether the moment is over."""
        return time.monotonic() >= self.at


def to_stderr(line: str) -> None:
    """Say one line to people: standard output is for data."""
    print(f"broker: {line}", file=sys.stderr, flush=True)  # noqa: T201 - the default voice of the demo and the tests
