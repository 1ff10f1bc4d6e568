"""
Traces of second opinions: a span for each opinion of an endpoint, in the trace of its event, by OpenTelemetry's conventions for generative AI.

A bundle asks nobody, so its opinions have no span.
"""

import time
from collections.abc import Callable

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from tagstream.stream.contract.published import DecidedEvent
from tagstream.stream.contract.second_opinions import SecondEndpoint, SecondOpinion
from tagstream.stream.tracing.context import context_of
from tagstream.stream.tracing.spans import Done, Spans

OPERATION = "chat"


def traced_opinions(ask: Callable[[DecidedEvent], SecondOpinion], spans: Spans) -> Callable[[DecidedEvent], SecondOpinion]:
    """`ask` with a span for each opinion. The span has no text of the event and no text of the answer."""

    def asking(item: DecidedEvent) -> SecondOpinion:
        began = time.time_ns()
        opinion = ask(item)
        if opinion.endpoint is not None:
            spans.add(
                Done(
                    name=f"{OPERATION} {opinion.endpoint.model_asked}",
                    kind=SpanKind.CLIENT,
                    began_ns=began,
                    ended_ns=time.time_ns(),
                    attributes=attributes_of(opinion, opinion.endpoint),
                    parent=context_of(item.event.record.headers),
                    error=opinion.reason if opinion.reason != "unsure" else None,
                )
            )
        return opinion

    return asking


def attributes_of(opinion: SecondOpinion, asked: SecondEndpoint) -> dict[str, AttributeValue]:
    """The attributes of an opinion of this endpoint."""
    host, _, port = asked.host.rpartition(":")
    found: dict[str, AttributeValue | None] = {
        "gen_ai.operation.name": OPERATION,
        # The conventions name the protocol's maker; the models and the server's address say who it is.
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": asked.model_asked,
        "gen_ai.request.temperature": asked.temperature,
        "gen_ai.output.type": "json",
        "gen_ai.response.model": asked.model,
        "gen_ai.usage.input_tokens": opinion.input_tokens or None,
        "gen_ai.usage.output_tokens": opinion.output_tokens or None,
        "openai.response.system_fingerprint": asked.fingerprint,
        "server.address": host,
        "server.port": int(port) if port.isdecimal() else None,
        "tagstream.prediction_id": opinion.prediction_id,
        "tagstream.calls": opinion.calls,
    }
    return {name: value for name, value in found.items() if value is not None}
