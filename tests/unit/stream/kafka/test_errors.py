"""Errors of the Kafka clients become ours, with their cause, their kind named once, and a next step."""

import pytest
from aiokafka.errors import InvalidTimestampError as AioInvalidTimestampError
from kafka.errors import InvalidTimestampError, KafkaTimeoutError

from tagstream.stream.kafka.errors import BrokerSilentError, ClockError, summary_of, translated, unreachable
from tagstream.stream.settings.settings import Settings


def test_a_clients_error_is_named_once_and_is_the_cause() -> None:
    """kafka-python's message begins with the error's kind, and ours does not repeat it."""
    error = KafkaTimeoutError("Unable to bootstrap")
    with (
        pytest.raises(
            BrokerSilentError, match=r"\(KafkaTimeoutError: Unable to bootstrap\)\. Next: .*`tagstream doctor`"
        ) as caught,
        translated(Settings()),
    ):
        raise error
    assert caught.value.__cause__ is error
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("error", [AioInvalidTimestampError(), InvalidTimestampError()], ids=["aiokafka", "kafka-python"])
def test_a_clock_that_brokers_refuse_is_named_as_the_clock(error: Exception) -> None:
    """By whichever client, with its time; it is no broker that does not answer."""
    with pytest.raises(ClockError, match=r"this machine's clock says 20.*refuses.* Next: set the clock") as caught:
        raise unreachable(Settings(), error)
    assert caught.value.__cause__ is error
    assert summary_of(error).startswith("this machine's clock says 20")


def test_other_errors_pass() -> None:
    """An error that is none of the named ones is a mistake of ours, and no broker's silence."""
    with pytest.raises(ZeroDivisionError), translated(Settings()):
        raise ZeroDivisionError
