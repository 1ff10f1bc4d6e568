"""An opinion of an endpoint in traces, by the published conventions."""

import msgspec
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, openai_attributes, server_attributes

from tagstream.stream.contract.second_opinions import SecondOpinion
from tagstream.stream.tracing.opinions import traced_opinions
from tagstream.stream.tracing.spans import Spans
from tests.answering import UNSURE, decided, shown
from tests.opinions import OF_A_BUNDLE, OF_AN_ENDPOINT
from tests.otlp.receiver import Receiver, attributes_of

CLOSE_SECONDS = 60.0
TRACE = "0af7651916cd43dd8448eb211c80319c"
ITEM = shown(decided(UNSURE, headers=(("traceparent", f"00-{TRACE}-b7ad6b7169203331-01".encode()),)))
PUBLISHED = {
    value
    for module in (gen_ai_attributes, openai_attributes, server_attributes)
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, str)
}


def test_an_opinion_has_a_span_in_the_trace_of_its_event(spans: Spans, receiver: Receiver) -> None:
    """Models, tokens, address and failure, each under a name of the conventions or ours; no text of the event."""
    answered = msgspec.structs.replace(
        OF_AN_ENDPOINT,
        label="mlops",
        reason=None,
        input_tokens=200,
        output_tokens=20,
        endpoint=msgspec.structs.replace(OF_AN_ENDPOINT.endpoint, model="large-2026", fingerprint="fp_1"),
    )
    for opinion in (answered, OF_AN_ENDPOINT):
        assert traced_opinions(lambda _, found=opinion: found, spans)(ITEM) == opinion
    spans.close(CLOSE_SECONDS)
    good, late = receiver.named("chat large")
    assert good.trace_id.hex() == TRACE
    found = attributes_of(good)
    assert {name for name in found if not name.startswith("tagstream.")} <= PUBLISHED
    assert (found["gen_ai.request.model"], found["gen_ai.response.model"]) == ("large", "large-2026")
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (200, 20)
    assert (found["server.address"], found["server.port"]) == ("models.example", 443)
    assert "error.type" not in found
    assert attributes_of(late)["error.type"] == "late"
    assert ITEM.event.title not in str(found)


def test_a_bundle_has_no_span(spans: Spans, receiver: Receiver) -> None:
    """It asks nobody."""
    assert traced_opinions(lambda _: OF_A_BUNDLE, spans)(ITEM) == OF_A_BUNDLE
    spans.close(CLOSE_SECONDS)
    assert receiver.named("chat large") == []


def test_the_hook_is_on_only_with_a_receiver() -> None:
    """Without one, `ask` stays as it is."""
    from tagstream.stream.deliver.hooks import UNTRACED

    def ask(_: object) -> SecondOpinion:
        return OF_AN_ENDPOINT

    assert UNTRACED.advising(ask) is ask
