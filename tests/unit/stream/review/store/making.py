"""Changes for a store, as a follower would read them, and a clock that tests move."""

import json
from typing import Any

from stream.review.store.changes import Answered, Decided, Published, Reported
from stream.review.store.facts import Claim, Complaint, Given, Item
from stream.review.store.store import Store

START_MS = 1_800_000_000_000
SECOND_MS, MINUTE_MS, HOUR_MS = 1000, 60_000, 3_600_000
DOUBT = {"mlops": 0.5, "other": 0.3, "computer-vision": 0.2}
NO_SECOND = 0.0


class Clock:
    """Unix milliseconds that stand still until a test moves them."""

    def __init__(self) -> None:
        """Begin at `START_MS`."""
        self.now_ms = START_MS

    def __call__(self) -> int:
        """Read it."""
        return self.now_ms

    def pass_ms(self, milliseconds: int) -> None:
        """Move it."""
        self.now_ms += milliseconds


def item(event_id: str = "a", **given: Any) -> Item:
    """An item of the door `review`, published at `START_MS`."""
    title = given.get("title", f"Title of {event_id}")
    values = {
        "key": event_id.encode(),
        "fields": json.dumps({"id": event_id, "title": title}).encode(),
        "before": b"{}",
        "title": title,
        "description": None,
        "source": None,
        "link": None,
        "prediction_id": f"p-{event_id}",
        "model_tag": "mlops",
        "confidence": 0.5,
        "probabilities": DOUBT,
        "reasons": ("low_confidence",),
        "model": "tiny 1",
        "tagged_ms": START_MS,
    }
    return Item(event_id=event_id, **{**values, **given})  # type: ignore[arg-type]


def review(event_id: str = "a", **given: Any) -> Decided:
    """A record of the topic `review`."""
    return Decided(item=item(event_id, **given), door="review")


def audit(event_id: str = "a", **given: Any) -> Decided:
    """A record of the topic `audit`."""
    return Decided(item=item(event_id, **{"reasons": (), **given}), door="audit")


def report(event_id: str = "a", at_ms: int = START_MS, **given: Any) -> Reported:
    """A record of the topic `reports`."""
    values = {"reporter": "reader", "suggested_tag": "other", "note": None, "reported_at": str(at_ms), **given}
    return Reported(complaint=Complaint(event_id=event_id, **values), reported_ms=at_ms)


def answer(event_id: str = "a", at_ms: int = START_MS, *, of: Item | None = None, **given: Any) -> Answered:
    """A record of the topic `reviewed`."""
    of = of or item(event_id)
    values: dict[str, Any] = {
        "tag": "mlops",
        "reviewer": "ann",
        "version": 1,
        "note": None,
        "supersedes": None,
        "asked_by": "review",
        "blind": False,
        **given,
    }
    identity = f"answer-{event_id}-{values['tag']}-{values['reviewer']}-{at_ms}-{values['version']}"
    given_answer = Given(
        answer_id=identity,
        event_id=event_id,
        prediction_id=of.prediction_id,
        model_tag=of.model_tag,
        decided_at=str(at_ms),
        title=of.title,
        **values,
    )
    return Answered(given=given_answer, item=of, decided_ms=at_ms)


def answer_to(claim: Claim, at_ms: int, tag: str = "mlops") -> Answered:
    """The answer of the reviewer who holds this."""
    asked_by = {"second_opinion": "audit"}.get(claim.door, str(claim.door))
    return answer(
        claim.item.event_id,
        at_ms,
        of=claim.item,
        tag=tag,
        reviewer=claim.reviewer,
        version=claim.version,
        supersedes=claim.supersedes,
        asked_by=asked_by,
        blind=claim.door.blind,
    )


def published(event_id: str = "a", offset: int = 0, **given: Any) -> Published:
    """A record of the topic `tagged`, as the totals see it."""
    values: dict[str, Any] = {
        "prediction_id": f"p-{event_id}",
        "destination": "tagged",
        "partition": 0,
        "offset": offset,
        "tagged_ms": START_MS,
        "model": "tiny 1",
        "tag": "mlops",
        "confidence": 0.5,
        "probabilities": DOUBT,
        "source": "",
        "language": "",
        "short": True,
        **given,
    }
    return Published(event_id=event_id, **values)


def claimed(store: Store, reviewer: str = "ann") -> Claim:
    """What the reviewer is given; there must be something."""
    found = store.claim(reviewer)
    assert found is not None
    return found


def served(store: Store, reviewer: str = "ann") -> list[str]:
    """The ids of everything that a reviewer is given until there is no more, each skipped."""
    found = []
    while (claim := store.claim(reviewer)) is not None:
        found.append(claim.item.event_id)
        store.skip(claim.item.event_id, claim.token)
    return found
