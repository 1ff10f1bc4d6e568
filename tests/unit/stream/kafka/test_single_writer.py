"""The bound of a single writer, without a broker."""

import threading
from typing import Any, cast

import pytest
from kafka import KafkaProducer

from tagstream.stream.kafka.errors import BrokerUnreachableError
from tagstream.stream.kafka.single_writer import SingleWriter
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
