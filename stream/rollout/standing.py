"""Where a rollout stands: its epochs, what the workers say of them, and the events that are held."""

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
    Where a rollout stands.

    Attributes:
        epochs: The records of the topic, folded; not started where there is none.
        workers: Host and last word of each member of the group; None for one that has said nothing.
        closed_at: When the epoch that is closing was closed, by its controller's clock; None if none is closing.
        unlisted: The partitions of `content` that no record lists, so that their events are held; none before the start.
        waiting: The events that wait, by topic and partition, where events are held; None if this user may not know.
    """

    epochs: Epochs
    workers: Sequence[tuple[str, WorkerState | None]]
    closed_at: str | None = None
    unlisted: Sequence[Partition] = ()
    waiting: Mapping[tuple[str, int], int] | None = None

    @property
    def silent(self) -> list[str]:
        """The hosts of members that have said nothing, though a rollout has begun: they may decide by another model than the topic says."""
        return sorted(host for host, state in self.workers if state is None and self.epochs.started)

    @property
    def back(self) -> tuple[Models, str] | None:
        """Where `rollback` goes (`goes_back_to`), once an epoch that is closing has begun."""
        closing = () if self.epochs.closing is None or self.epochs.planned is None else (self.epochs.planned,)
        return goes_back_to((*self.epochs.begun(), *closing))


async def standing_of(settings: Settings) -> Standing:
    """
    Where the rollout stands; asks and changes nothing.

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
    """The events that wait in these partitions, in all for None; None if this user may not know."""
    if held is not None and not held:
        return {}
    try:
        standings = [look(one) for one in settings.each_content]
    except NotAuthorizedError:
        return None
    waiting = {(one.topic, place.partition): place.waiting for one in standings for place in one.places}
    return {place: count for place, count in waiting.items() if held is None or place in held}
