"""One confirmation for each batch of aiokafka's producer, in place of one for each record."""

from typing import Any

from aiokafka.producer.message_accumulator import MessageAccumulator, MessageBatch


class ConfirmedBatch(MessageBatch):  # type: ignore[misc]
    """
    A batch that the broker accepts or refuses as a whole: the same future confirms each of its records.

    A task that may be cancelled must await the future behind `asyncio.shield`, or it would cancel the future of the other records too.
    """

    def append(self, key: bytes | None, value: bytes | None, timestamp_ms: int | None, **options: Any) -> Any:
        """Add a record; None if the batch is full. The future's result has the offset of the batch's first record."""
        added = self._builder.append(timestamp=timestamp_ms, key=key, value=value, headers=options.get("headers") or [])
        return None if added is None else self.future

    def failure(self, exception: BaseException) -> None:
        """Fail the batch as aiokafka does, and mark the error as seen: asyncio must not warn of an error that no task awaits any more."""
        super().failure(exception)
        if not self.future.cancelled():
            self.future.exception()


class OneConfirmation(MessageAccumulator):  # type: ignore[misc]
    """aiokafka's accumulator, with `ConfirmedBatch` for each batch. A future for each record would cost as much as the record itself."""

    def _append_batch(self, builder: Any, tp: Any) -> ConfirmedBatch:
        batch = super()._append_batch(builder, tp)
        batch.__class__ = ConfirmedBatch
        return batch  # type: ignore[no-any-return]


def confirmed_by_batch(producer: Any) -> Any:
    """The producer, with one confirmation for each batch. It must not have started, and its caller must not need the records' offsets."""
    producer._message_accumulator.__class__ = OneConfirmation  # noqa: SLF001 - its sender has this very object already
    return producer
