"""What OpenTelemetry's messaging conventions have beyond our own spans. They are in development, so the user asks for them by a variable."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

from opentelemetry.util.types import AttributeValue

from tagstream.monitoring.observer import Observation
from tagstream.stream.settings.settings import Settings

OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"
# The second value asks for old names, too. The names that both have are the same here.
VALUES = frozenset({"messaging", "messaging/dup"})

Observed = TypeVar("Observed", bound=Observation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Development:
    """
    What spans have if the user has asked for the conventions in development.

    Attributes:
        topics: The topics' names by role: a batch has a `send` span for each topic of its outcomes.
        processing: Further attributes of `process` spans.
        sending: Further attributes of `send` spans.
    """

    topics: Mapping[str, str]
    processing: Mapping[str, AttributeValue]
    sending: Mapping[str, AttributeValue]

    @classmethod
    def of(cls, settings: Settings, client_id: str | None) -> Self | None:
        """
        Return what the user has asked for; None if nothing.

        Args:
            settings: Brokers, topics and the form of delivery.
            client_id: The name of the worker's consumer and producer at the brokers.
        """
        if VALUES.isdisjoint(value.strip() for value in os.environ.get(OPT_IN, "").split(",")):
            return None
        server = _server(settings.broker_list)
        client = {} if client_id is None else {"messaging.client.id": client_id}
        # With transactions each partition has a producer, with a name of its own.
        sender = {} if settings.delivery == "exactly_once" else client
        return cls(topics=settings.topic_names, processing={**server, **client}, sending={**server, **sender})

    def sent(self, observations: Sequence[Observed]) -> Iterator[tuple[str, Sequence[Observed]]]:
        """Yield each topic to which these outcomes went, with its outcomes. An outcome with a copy went to two topics."""
        found: dict[str, list[Observed]] = {}
        for one in observations:
            for role in (one.destination.value, *(("audit",) if one.audited else ())):
                found.setdefault(self.topics[role], []).append(one)
        yield from found.items()


def _server(brokers: Sequence[str]) -> dict[str, AttributeValue]:
    """
    Return the broker's address. Of several brokers, the settings do not say which one has a partition.

    >>> _server(["[::1]:9092"]), _server(["a:9092", "b:9092"])
    ({'server.address': '::1', 'server.port': 9092}, {})
    """
    if len(brokers) > 1:
        return {}
    host, _, port = brokers[0].rpartition(":")
    return {"server.address": host.strip("[]"), "server.port": int(port)}
