"""The queue before the broker: a word that does not come is an answer too."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence

import pytest

from stream.contract.record import Record
from stream.kafka.producer import UndeliveredError
from stream.serve.errors import RequestError
from stream.serve.publishing import Publishing
from tests.waiting import HANG_SECONDS


def test_a_word_that_does_not_come_in_time_is_503_with_a_time_to_come_back() -> None:
    """The request has its own bound, whatever the client of the broker does."""
    free = threading.Event()

    class Silent:
        def deliver(self, records: Sequence[Record]) -> list[UndeliveredError | None]:
            assert free.wait(HANG_SECONDS)
            return [None] * len(records)

    @contextlib.contextmanager
    def sender() -> Iterator[Silent]:
        yield Silent()

    async def scenario() -> RequestError:
        publishing = Publishing(sender, "content", wait_seconds=1)
        publishing.most_seconds = 0.05
        async with publishing:
            with pytest.raises(RequestError, match=r"no word within 0\.05 s") as refused:
                await publishing.publish([Record(key=None, value=b"{}")])
            free.set()
        return refused.value

    found = asyncio.run(asyncio.wait_for(scenario(), HANG_SECONDS))
    assert (found.status, found.headers) == (503, {"Retry-After": "1"})
