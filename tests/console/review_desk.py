"""The real store and saving behind the console's pages, with brokers that a test may take away and a clock that it moves."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from model_export.bundle.bundle import DEFAULT_BUNDLE
from monitoring.metrics.quality import QualityMetrics
from stream.contract.decisions import ModelRef, prediction_id
from stream.contract.publication import timestamp
from stream.contract.record import Record
from stream.kafka.producer import UndeliveredError
from stream.review.console.measuring import Measuring
from stream.review.saving import Saving
from stream.review.store.changes import Change, Decided, Reported
from stream.review.store.facts import Claim, Complaint, Door, Given, Item
from stream.review.store.store import open_store
from stream.settings.topics import Topics

LABELS = ("computer-vision", "mlops", "natural-language-processing", "other")
MODEL = ModelRef(name="tagstream-default", version="2026.11.4", digest="d" * 64)
START_MS = 1_790_000_000_000
Probabilities = Mapping[str, float]


def item(
    event_id: str,
    title: str,
    description: str | None = None,
    *,
    tag: str = "mlops",
    confidence: float = 0.62,
    reasons: tuple[str, ...] = ("low_confidence",),
    text_flags: tuple[str, ...] = (),
    source: str | None = None,
    link: str | None = None,
    labels: Sequence[str] = LABELS,
    now_ms: int = START_MS,
) -> Item:
    """An item whose other labels share what the model's tag leaves."""
    rest = (1 - confidence) / (len(labels) - 1)
    probabilities = {label: confidence if label == tag else rest for label in labels}
    before = {
        "confidence": confidence,
        "probabilities": probabilities,
        "decider": "model",
        "model": MODEL,
        "threshold": 0.95,
        "truncated": False,
        "destination": "review" if reasons else "tagged",
        "tagged_at": timestamp(now_ms),
    }
    if reasons:
        before |= {"reasons": reasons, "inclusion_probability": 1.0}
    if text_flags:
        before["text_flags"] = text_flags
    fields = {"id": event_id, "title": title, "description": description, "created_on": "2026-11-27"}
    return Item(
        event_id=event_id,
        key=None,
        fields=msgspec.json.encode(fields),
        before=msgspec.json.encode(before),
        title=title,
        description=description,
        source=source,
        link=link,
        prediction_id=prediction_id(event_id, MODEL.identity),
        model_tag=tag,
        confidence=confidence,
        probabilities=probabilities,
        reasons=reasons,
        model="tagstream-default 2026.11.4",
        tagged_ms=now_ms,
        headers=(),
        inclusion_probability=1.0,
        language=None,
    )


class ReviewDesk:
    """
    A queue, and the brokers behind it.

    Attributes:
        now_ms: The clock; a test moves it.
        away: What the brokers answer instead of taking a record.
        records: All that the brokers have taken.
        store: The queue.
        saving: Where answers and reports go.
        measuring: Estimates when a test says so.
    """

    def __init__(self, folder: Path) -> None:
        self.now_ms = START_MS
        self.away: UndeliveredError | None = None
        self.records: list[Record] = []
        # Without second opinions, which depend on chance.
        self.store = open_store(f"sqlite:///{folder}/review.db", clock=self.clock, second_opinion_rate=0.0)
        self.saving = Saving(self.store, self, Topics(), clock=self.clock)
        self.measuring = Measuring(self.store, QualityMetrics.alone(), bundle=DEFAULT_BUNDLE, clock=self.clock)
        self._added = 0

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def clock(self) -> int:
        """Unix milliseconds; each look is later than the one before."""
        self.now_ms += 1
        return self.now_ms

    def deliver(self, records: Sequence[Record], *, until: float) -> list[UndeliveredError | None]:  # noqa: ARG002 - these brokers are quick
        """Take the records, or none."""
        if self.away is None:
            self.records += records
        return [self.away] * len(records)

    def add(self, item: Item, door: Door = Door.REVIEW, *, report: Complaint | None = None) -> None:
        """An item of the topic `review` or `audit`, the first one the oldest; or of `tagged`, with a report on it."""
        self._added += 1
        placed = replace(item, tagged_ms=item.tagged_ms - 1_000_000 + self._added)
        if report is None:
            changes: list[Change] = [Decided(item=placed, door="audit" if door is Door.AUDIT else "review")]
        else:
            changes = [Reported(complaint=report, reported_ms=self.now_ms), Decided(item=placed, door="tagged")]
        self.store.fill(changes, {})

    def claim(self, reviewer: str) -> Claim:
        """The item of a reviewer; there must be one."""
        claim = self.store.claim(reviewer)
        assert claim is not None
        return claim

    def answer(self, event_id: str, tag: str, reviewer: str) -> None:
        """An answer of another console; the event must be the reviewer's next."""
        claim = self.claim(reviewer)
        assert claim.item.event_id == event_id
        self.saving.save(event_id, claim.token, tag)

    @property
    def saved(self) -> dict[str, Given]:
        """The answers that stand, by event."""
        return {given.event_id: self.store.answers(given.event_id)[-1] for given in self.store.all_answers()}

    @property
    def reported(self) -> list[dict[str, str]]:
        """The reports that the brokers have taken."""
        return [msgspec.json.decode(record.value or b"") for record in self.records if record.topic == "reports"]
