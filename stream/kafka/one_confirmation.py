"""One confirmation for each batch of aiokafka's producer, in place of one for each record."""

from typing import Any

from aiokafka.producer.message_accumulator import MessageAccumulator, MessageBatch


class ConfirmedBatch(MessageBatch):  # type: ignore[misc]
    """
    A batch that the broker takes or refuses as a whole: each of its records is confirmed by the same future.

    A task that may be cancelled awaits it behind `asyncio.shield`, or it would cancel the future of the others too.
    """

    def append(self, key: bytes | None, value: bytes | None, timestamp_ms: int | None, **options: Any) -> Any:
        """As aiokafka's; the future's result has the offset of the batch's first record."""
        added = self._builder.append(timestamp=timestamp_ms, key=key, value=value, headers=options.get("headers") or [])
        return None if added is None else self.future

    def failure(self, exception: BaseException) -> None:
        """As aiokafka's; who waits is told, and an error for which nobody waits any more is no warning of asyncio's."""
        super().failure(exception)
        if not self.future.cancelled():
            self.future.exception()


class OneConfirmation(MessageAccumulator):  # type: ignore[misc]
    """aiokafka's batches that wait to be sent, each a `ConfirmedBatch`. A future for each record costs as much as the record itself."""

    def _append_batch(self, builder: Any, tp: Any) -> ConfirmedBatch:
        batch = super()._append_batch(builder, tp)
        batch.__class__ = ConfirmedBatch
        return batch  # type: ignore[no-any-return]


def confirmed_by_batch(producer: Any) -> Any:
    """The producer, not started yet, of whose records none needs an offset."""
    producer._message_accumulator.__class__ = OneConfirmation  # noqa: SLF001 - its sender has this very object already
    return producer
