"""The bound of a single writer, without a broker."""

import threading
from typing import Any, cast

import pytest
from kafka import KafkaProducer
from kafka.errors import KafkaError, ProducerFencedError

from tagstream.stream.contract.event import Record
from tagstream.stream.kafka.errors import BrokerUnreachableError
from tagstream.stream.kafka.single_writer import SingleWriter, WriterFencedError
from tagstream.stream.settings.settings import Settings


class Silent:
    """Stands in for a producer whose group's coordinator never comes back."""

    def begin_transaction(self) -> None:
        """At once."""

    def send_offsets_to_transaction(self, *_: Any) -> None:
        """For ever, as kafka-python waits."""
        threading.Event().wait()


def test_a_broker_that_never_answers_a_transaction_ends_the_wait() -> None:
    """The process can end, and the next one goes on."""
    writer = SingleWriter(Settings(produce_timeout_seconds=1), cast("KafkaProducer", Silent()), "second")
    with pytest.raises(BrokerUnreachableError):
        writer.write([], {("review", 0): 1})


class Fenced:
    """Stands in for a producer whose own thread has heard that another one has its name: kafka-python's words of each call after that."""

    def begin_transaction(self) -> None:
        """Raise the error that a transactional method raises then."""
        msg = f"Cannot execute transactional method because we are in an error state: {ProducerFencedError()}"
        raise KafkaError(msg)


class FencedAmongSends(Fenced):
    """The thread hears it between two sends."""

    def begin_transaction(self) -> None:
        """At once."""

    def send(self, *_: Any, **__: Any) -> None:
        """Raise the error that a send raises then."""
        msg = "Cannot perform send because at least one previous transactional or idempotent request has failed with errors."
        raise KafkaError(msg, ProducerFencedError())


@pytest.mark.parametrize("producer", [Fenced(), FencedAmongSends()])
def test_a_writer_that_was_fenced_says_so_whichever_call_hears_it(producer: Fenced) -> None:
    """The operator who started two processes is not sent to look at the brokers."""
    writer = SingleWriter(Settings(), cast("KafkaProducer", producer), "second")
    with pytest.raises(WriterFencedError, match="another process writes"):
        writer.write([Record(topic="second", key=b"key", value=b"value")])
