"""A queue in memory behind the console's pages: what `stream.review.store` and `stream.review.saving` do, with a clock that a test moves."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count

import msgspec

from stream.contract.decisions import ModelRef, prediction_id
from stream.contract.publication import timestamp
from stream.review.saving import Saved, Unsaved
from stream.review.store.facts import Claim, Complaint, Door, Given, Item, Lapsed, Neighbour, Pace, Queue, TooMany

LABELS = ("computer-vision", "mlops", "natural-language-processing", "other")
MODEL = ModelRef(name="tagstream-default", version="2026.11.4", digest="d" * 64)
LEASE_MS = 600_000
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
        "inclusion_probability": 1.0,
        "tagged_at": timestamp(now_ms),
    }
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
    Store and saving in one, thread-safe.

    Attributes:
        now_ms: The clock; a test moves it.
        broken: What `save` returns instead of saving, and how the broker looks when it is away.
        saved: The answers that stand, by event.
        reported: What came to `report`.
    """

    def __init__(self) -> None:
        self.now_ms = START_MS
        self.broken: Unsaved | None = None
        self.too_many: TooMany | None = None
        self.saved: dict[str, Given] = {}
        self.reported: list[tuple[str, str, str | None, str | None, str | None]] = []
        self.complaints: dict[str, list[Complaint]] = {}
        self.near: list[Neighbour] = []
        self.twins: dict[str, list[Item]] = {}
        self._items: dict[str, tuple[Item, Door]] = {}
        self._claims: dict[str, Claim] = {}
        self._skipped: set[tuple[str, str]] = set()
        self._tokens = count(1)
        self._lock = threading.RLock()

    def add(self, item: Item, door: Door = Door.REVIEW) -> None:
        """Put an item at the end of the queue."""
        with self._lock:
            self._items[item.event_id] = (item, door)

    def clock(self) -> int:
        """The clock of the pages."""
        return self.now_ms

    def claim(self, reviewer: str) -> Claim | None:
        """The held item, else the next."""
        with self._lock:
            for claim in self._claims.values():
                if claim.reviewer == reviewer and claim.door is not Door.CORRECTION and claim.until_ms > self.now_ms:
                    return claim
            for event_id, (_, door) in self._items.items():
                if event_id not in self.saved and (event_id, reviewer) not in self._skipped and not self._held(event_id):
                    return self._hold(event_id, reviewer, door)
            return None

    def _held(self, event_id: str) -> bool:
        claim = self._claims.get(event_id)
        return claim is not None and claim.until_ms > self.now_ms

    def _hold(self, event_id: str, reviewer: str, door: Door) -> Claim:
        before = self.saved.get(event_id)
        claim = Claim(
            item=self._items[event_id][0],
            door=door,
            reviewer=reviewer,
            token=f"token-{next(self._tokens)}",
            until_ms=self.now_ms + LEASE_MS,
            version=1 if before is None else before.version + 1,
            supersedes=None if before is None else before.answer_id,
            reports=tuple(self.complaints.get(event_id, ())),
            before=before,
        )
        self._claims[event_id] = claim
        return claim

    def renew(self, event_id: str, token: str) -> Claim | Lapsed:
        """Hold it for longer."""
        with self._lock:
            claim = self._claims.get(event_id)
            if claim is None or claim.token != token:
                reason = "answered" if event_id in self.saved else "taken"
                return Lapsed(reason=reason, message="Somebody was quicker. Next: take the next item.")
            self._claims[event_id] = replace(claim, until_ms=self.now_ms + LEASE_MS)
            return self._claims[event_id]

    def skip(self, event_id: str, token: str) -> None:
        """Never again for this reviewer."""
        with self._lock:
            claim = self._claims.get(event_id)
            if claim is not None and claim.token == token:
                del self._claims[event_id]
                self._skipped.add((event_id, claim.reviewer))

    def reopen(self, event_id: str, reviewer: str) -> Claim | Lapsed:
        """Hold an answered item."""
        with self._lock:
            if event_id not in self.saved:
                return Lapsed(reason="unknown", message="There is no answer on this event. Next: take the next item.")
            return self._hold(event_id, reviewer, Door.CORRECTION)

    def own(self, reviewer: str, limit: int = 20) -> Sequence[Given]:
        """The answers of a reviewer that stand."""
        with self._lock:
            own = [given for given in self.saved.values() if given.reviewer == reviewer]
            return sorted(own, key=lambda given: given.decided_at, reverse=True)[:limit]

    def neighbours(self, event_id: str, limit: int = 3) -> Sequence[Neighbour]:
        """What the test has put there."""
        return [one for one in self.near if one.event_id != event_id][:limit]

    def duplicates(self, event_id: str, limit: int = 20) -> Sequence[Item]:
        """What the test has put there."""
        return self.twins.get(event_id, [])[:limit]

    def queue(self) -> Queue:
        """Figures of the queue."""
        with self._lock:
            waiting = {event_id: door for event_id, (_, door) in self._items.items() if event_id not in self.saved}
            return Queue(
                open={door: sum(one is door for one in waiting.values()) for door in set(waiting.values())},
                held=sum(self._held(event_id) for event_id in waiting),
                oldest_ms=min((self._items[event_id][0].tagged_ms for event_id in waiting), default=None),
                answered=len(self.saved),
                unmatched_reports=0,
            )

    def pace(self, reviewer: str) -> Pace:
        """Figures of a reviewer; the agreement is invented."""
        total = len(self.own(reviewer, 10_000))
        return Pace(last_minute=total, last_hour=total, total=total, agrees=9, compared=10)

    def save(
        self, event_id: str, token: str, tag: str, *, note: str | None = None, also: Sequence[str] = ()
    ) -> Saved | Lapsed | Unsaved:
        """Save, or be as broken as the test says."""
        with self._lock:
            claim = self.renew(event_id, token)
            if isinstance(claim, Lapsed) or self.broken is not None:
                return claim if isinstance(claim, Lapsed) else self.broken
            self.now_ms += 1
            del self._claims[event_id]
            given = self._given(claim.item, claim, tag, note)
            self.saved[event_id] = given
            others = [self._given(self._items[one][0], claim, tag, note) for one in also]
            self.saved |= {one.event_id: one for one in others}
            return Saved(answer=given, also=tuple(others))

    def _given(self, item: Item, claim: Claim, tag: str, note: str | None) -> Given:
        return Given(
            answer_id=f"answer-{item.event_id}-{claim.version}",
            event_id=item.event_id,
            prediction_id=item.prediction_id,
            model_tag=item.model_tag,
            tag=tag,
            reviewer=claim.reviewer,
            decided_at=timestamp(self.now_ms),
            version=claim.version,
            note=note,
            supersedes=claim.supersedes,
            asked_by=claim.door.value,
            blind=claim.door.blind,
            title=item.title,
            value=b"",
            key=None,
        )

    def report(
        self, caller: str, event_id: str, *, tag: str | None = None, note: str | None = None, reporter: str | None = None
    ) -> TooMany | Unsaved | None:
        """Take a report, or refuse it as the test says."""
        if self.too_many is not None or self.broken is not None:
            return self.too_many or self.broken
        self.reported.append((caller, event_id, tag, note, reporter))
        return None
