"""Second opinions for tests: one of a bundle with a label, and one of an endpoint that hung."""

from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.contract.second_opinions import SecondBundle, SecondEndpoint, SecondOpinion, tagged_by_second
from tests.answering import NOW_MS, shown
from tests.replacing import replace

OF_A_BUNDLE = SecondOpinion(
    event_id="e-1",
    prediction_id="6d1f4d0e-3b1a-5c7e-9f00-0123456789ab",
    model_tag="other",
    label="mlops",
    score=0.97,
    bundle=SecondBundle(name="larger", version="2026.12", digest="a" * 64),
    decided_at="2026-11-26T16:20:33.527Z",
)
OF_AN_ENDPOINT = SecondOpinion(
    event_id="e-1",
    prediction_id="6d1f4d0e-3b1a-5c7e-9f00-0123456789ab",
    model_tag="other",
    reason="late",
    endpoint=SecondEndpoint(host="models.example:443", model_asked="large", temperature=0.0, prompt_digest="b" * 64),
    sent=("title", "description"),
    calls=1,
    cost=0.0125,
    decided_at="2026-11-26T16:20:33.527Z",
)


def settled(record: Record, label: str = "mlops", *, now_ms: int = NOW_MS, at_ms: int = NOW_MS) -> Record:
    """The decision on `tagged` of a second model that says this label of an item of `review`."""
    item = shown(record)
    made = {"event_id": item.event.id, "prediction_id": item.decision.prediction_id, "model_tag": item.decision.tag}
    said = replace(OF_A_BUNDLE, **made, label=label, settles=True, audit_probability=0.05, decided_at=timestamp(at_ms))
    key, value, headers, _ = tagged_by_second(item, said, now_ms)
    return Record(topic="tagged", key=key, value=value, headers=headers)
