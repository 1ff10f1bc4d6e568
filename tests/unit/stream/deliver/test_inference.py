"""Faust messages become records, which a pool of threads decides."""

import asyncio
from collections.abc import Sequence

import pytest

from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.deliver.batch import Inference, record_of
from tagstream.stream.settings.settings import Settings
from tests.fakes import FakeMessage


def test_a_message_becomes_a_record_with_the_same_bytes() -> None:
    """Bytes, place and headers are unchanged, and Faust's seconds become milliseconds."""
    message = FakeMessage(9, b"v", b"k", partition=2, headers=[("a", b"1"), ("a", b"2")])
    assert record_of(message) == Record(
        topic="content",
        partition=2,
        offset=9,
        timestamp_ms=1_700_000_000_123,
        key=b"k",
        value=b"v",
        headers=(("a", b"1"), ("a", b"2")),
    )


def test_a_message_without_a_timestamp_or_headers_becomes_a_record() -> None:
    """A message of an old producer without timestamp and headers becomes a record with timestamp 0 and no headers."""
    found = record_of(FakeMessage(1, None, timestamp=None, headers=None))
    assert (found.timestamp_ms, found.headers, found.value) == (0, (), None)


def test_a_time_out_that_the_pipeline_raises_is_not_one_of_the_model() -> None:
    """The events would be blamed for it."""

    def decide(_: Sequence[Record]) -> list[Publication]:
        msg = "its own"
        raise TimeoutError(msg)

    async def scenario() -> None:
        inference = Inference(decide, Settings(inference_threads=1))
        try:
            with pytest.raises(TimeoutError, match="its own"):
                await inference.publications([Record(key=None, value=b"{}")])
        finally:
            inference.stop()

    asyncio.run(scenario())
