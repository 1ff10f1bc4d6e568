"""The real store and saving behind the console's pages, with brokers that a test may take away and a clock that it moves."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from sqlalchemy import select

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE
from tagstream.monitoring.quality.metrics import QualityMetrics
from tagstream.stream.contract.event import ContentEvent, Record, encoded
from tagstream.stream.contract.outcome import ModelRef, prediction_id, timestamp
from tagstream.stream.contract.published import DecidedEvent, ModelDecision
from tagstream.stream.contract.reports import Report
from tagstream.stream.kafka.producer import UndeliveredError
from tagstream.stream.review.answer_saver import AnswerSaver
from tagstream.stream.review.bundles import Bundles
from tagstream.stream.review.console.quality_thread import QualityThread
from tagstream.stream.review.follower import StoreFollower
from tagstream.stream.review.store.records import AskedDecision, Claim, Door, Fact, Given, TimedReport
from tagstream.stream.review.store.schema import answers
from tagstream.stream.review.store.store import Store, open_store
from tagstream.stream.settings.topics import Topics
from tests.replacing import replace

LABELS = ("computer-vision", "mlops", "natural-language-processing", "other")
MODEL = ModelRef(name="tagstream-default", version="2026.11.4", digest="d" * 64)
START_MS = 1_790_000_000_000


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
) -> DecidedEvent:
    """An item whose other labels share what the model's tag leaves."""
    rest = (1 - confidence) / (len(labels) - 1)
    fields = {"id": event_id, "title": title, "description": description, "created_on": "2026-11-27", "url": link}
    event = ContentEvent(
        record=Record(key=None, value=None),
        id=event_id,
        title=title,
        description=description,
        source=source,
        fields={name: encoded(value) for name, value in fields.items()},
    )
    decision = ModelDecision(
        tag=tag,
        confidence=confidence,
        probabilities={label: confidence if label == tag else rest for label in labels},
        prediction_id=prediction_id(event_id, MODEL.identity),
        decider="model",
        model=MODEL,
        threshold=0.95,
        truncated=False,
        reasons=reasons,
        inclusion_probability=1.0,
        text_flags=text_flags,
        tagged_at=timestamp(now_ms),
    )
    return DecidedEvent(event=event, decision=decision, door="review")


def answers_in(store: Store) -> list[Given]:
    """All answers that a store has, superseded ones too; of an event the last one stands."""
    order = (answers.c.event_id, answers.c.version, answers.c.decided_at, answers.c.answer_id)
    wanted = select(*(answers.c[name] for name in Given.__dataclass_fields__)).order_by(*order)
    with store.database.reading() as connection:
        return [Given(**row) for row in connection.execute(wanted).mappings()]


def is_ready(follower: StoreFollower) -> bool:
    """Whether it has read the answers; what ended it is raised."""
    follower.check()
    return follower.ready.is_set()


class ReviewDesk:
    """
    A queue, and the brokers behind it.

    Attributes:
        now_ms: The clock; a test moves it.
        away: The brokers' answer where they do not take a record.
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
        self.saving = AnswerSaver(self.store, self, Topics(), clock=self.clock)
        self.measuring = QualityThread(self.store, QualityMetrics.alone(), bundles=Bundles(DEFAULT_BUNDLE), clock=self.clock)
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

    def add(self, item: DecidedEvent, door: Door = Door.REVIEW, *, report: Report | None = None) -> None:
        """An item of the topic `review` or `audit`, the first one the oldest; or of `tagged`, with a report on it."""
        self._added += 1
        decision = msgspec.structs.replace(
            item.decision, tagged_at=timestamp(item.decision.tagged_ms - 1_000_000 + self._added)
        )
        if report is None:
            facts: list[Fact] = [
                AskedDecision(item=replace(item, decision=decision, door="audit" if door is Door.AUDIT else "review"))
            ]
        else:
            asked = AskedDecision(item=replace(item, decision=decision, door="tagged"))
            facts = [TimedReport(report=report, reported_ms=self.now_ms), asked]
        self.store.writer.fill(facts, {})

    def claim(self, reviewer: str) -> Claim:
        """The item of a reviewer; there must be one."""
        claim = self.store.queue.claim(reviewer)
        assert claim is not None
        return claim

    def answer(self, event_id: str, tag: str, reviewer: str) -> None:
        """An answer of another console; the event must be the reviewer's next."""
        claim = self.claim(reviewer)
        assert claim.item.event.id == event_id
        self.saving.save(event_id, claim.token, tag)

    @property
    def saved(self) -> dict[str, Given]:
        """The answers that stand, by event."""
        return {given.event_id: given for given in answers_in(self.store)}

    @property
    def reported(self) -> list[dict[str, str]]:
        """The reports that the brokers have taken."""
        return [msgspec.json.decode(record.value or b"") for record in self.records if record.topic == "reports"]
