"""The status of a rollout: its epochs, the states of the workers, and the events that are held."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tagstream.stream.contract.rollout_records import Close, Partition, WorkerState
from tagstream.stream.kafka.admin import admin
from tagstream.stream.kafka.consumer_group import look
from tagstream.stream.kafka.errors import NotAuthorizedError
from tagstream.stream.rollout.content_ends import content_partitions
from tagstream.stream.rollout.epochs import Epochs, Models
from tagstream.stream.rollout.history import history
from tagstream.stream.rollout.members import workers_of
from tagstream.stream.rollout.rollback_target import goes_back_to
from tagstream.stream.settings.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """
    The status of a rollout.

    Attributes:
        epochs: The epochs of the topic; not started if the topic is empty.
        workers: Host and state of each member of the group; the state is None if the member has written none.
        closed_at: When the closing epoch was closed, by its controller's clock; None if no epoch is closing.
        unlisted: The content partitions that no record lists, so that their events are held; empty before the start record.
        waiting: The number of waiting events by topic and partition, for partitions whose events are held; None if this user lacks the
            right.
    """

    epochs: Epochs
    workers: Sequence[tuple[str, WorkerState | None]]
    closed_at: str | None = None
    unlisted: Sequence[Partition] = ()
    waiting: Mapping[tuple[str, int], int] | None = None

    @property
    def silent(self) -> list[str]:
        """The hosts of members without a state, once a rollout has begun: these may decide by another model than the topic says."""
        return sorted(host for host, state in self.workers if state is None and self.epochs.started)

    @property
    def back(self) -> tuple[Models, str] | None:
        """The target of a rollback (`goes_back_to`). A closing epoch counts as begun."""
        closing = () if self.epochs.closing is None or self.epochs.planned is None else (self.epochs.planned,)
        return goes_back_to((*self.epochs.begun(), *closing))


async def standing_of(settings: Settings) -> Standing:
    """
    Return the status of the rollout. This changes nothing.

    Raises:
        NoRolloutError: There is no topic `rollout`.
    """
    entries, epochs = await history(settings)
    closes = [entry.record for entry in entries if entry.counts and isinstance(entry.record, Close)]
    unlisted = await asyncio.to_thread(_unlisted, settings, epochs)
    closing = epochs.closing is not None
    return Standing(
        epochs=epochs,
        workers=await workers_of(settings),
        closed_at=closes[-1].at if closing else None,
        unlisted=unlisted,
        waiting=await asyncio.to_thread(
            _waiting, settings, None if closing else {(place.topic, place.partition) for place in unlisted}
        ),
    )


def _unlisted(settings: Settings, epochs: Epochs) -> list[Partition]:
    if not epochs.started:
        return []
    with admin(settings) as client:
        found = content_partitions(settings, client)
    return sorted(found - epochs.partitions, key=lambda place: (place.topic, place.partition))


def _waiting(settings: Settings, held: Collection[tuple[str, int]] | None) -> dict[tuple[str, int], int] | None:
    """Return the number of waiting events in the `held` partitions (None: in all); None if this user lacks the right."""
    if held is not None and not held:
        return {}
    try:
        standings = [look(one) for one in settings.each_content]
    except NotAuthorizedError:
        return None
    waiting = {(one.topic, place.partition): place.waiting for one in standings for place in one.places}
    return {place: count for place, count in waiting.items() if held is None or place in held}
