"""Faust's producer under our settings, and the functions that hand records to it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import faust
import faust.transport.drivers.aiokafka as driver
import faust.transport.producer as base

from stream.contract.publication import Publication
from stream.settings.settings import Settings


class EmptyBuffer(base.ProducerBuffer):  # type: ignore[misc]
    """Faust's buffer of records that tables send. There are no tables, so no event has to wait for it."""

    async def wait_until_ebb(self) -> None:
        """Return at once; Faust reads a setting for each event to find out how full the buffer is."""


class Producer(driver.Producer):  # type: ignore[misc]
    """Faust sets `acks` and idempotence only in its own exactly-once mode, which we do not use."""

    idempotent = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.buffer = EmptyBuffer(loop=self.loop, beacon=self.beacon)
        self.buffer.app = self.app

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": self.idempotent}

    async def flush(self) -> None:
        """
        Return at once: an event is acknowledged only after the broker has confirmed its outcome, so none is left to flush.

        Faust awaits this without a bound before each commit and when partitions are revoked. Only a drift finding can still be in
        the producer then, and a finding that its topic does not take would stop the stream.
        """


class PlainProducer(Producer):
    """For a broker that hands out no producer ids."""

    idempotent = False


def sender(app: faust.App, settings: Settings) -> Callable[[Publication], Awaitable[Awaitable[Any]]]:
    """
    A function that hands a publication to Faust's producer, and its copy for `audit` if it has one.

    Await its result once to queue the record and a second time for the broker's confirmation. Faust's topic objects are bypassed:
    they would encode the bytes again, at 20 times the cost.
    """
    names: dict[str, str] = settings.topics.model_dump()

    def queue(publication: Publication, topic: str, value: bytes | None) -> Awaitable[Awaitable[Any]]:
        return cast(
            "Awaitable[Awaitable[Any]]",
            app.producer.send(names[topic], publication.key, value, None, None, list(publication.headers)),
        )

    async def with_copy(publication: Publication) -> Awaitable[Any]:
        # The event is acknowledged after both are confirmed. The copy comes second: a process that ends in between sends both again.
        return asyncio.gather(*[await queue(publication, topic, value) for topic, value in publication.records])

    def send(publication: Publication) -> Awaitable[Awaitable[Any]]:
        if publication.audit is not None:
            return with_copy(publication)
        return queue(publication, publication.destination.value, publication.value)

    return send


def plain_sender(app: faust.App, topic: str) -> Callable[[bytes, bytes], Awaitable[Awaitable[Any]]]:
    """A function that hands a key and a value for this topic to Faust's producer; two awaits, as for `sender`."""

    def send(key: bytes, value: bytes) -> Awaitable[Awaitable[Any]]:
        return cast("Awaitable[Awaitable[Any]]", app.producer.send(topic, key, value, None, None, []))

    return send
