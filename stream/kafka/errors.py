"""Errors between us and the brokers: exceptions of kafka-python and aiokafka become these, with a next step in the message."""

import contextlib
import time
from collections.abc import Iterator

from kafka.errors import InvalidTimestampError, KafkaError

from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.settings.settings import Settings

MAX_SUMMARY_CHARACTERS = 300
SET_THE_CLOCK = (
    "Next: set the clock of this machine by a time server, or that of the broker, whichever is wrong; then try again."
)
# The errors of a client's constructor: the broker is away, its name does not resolve, or an option does not fit.
CONNECT_FAILURES = (KafkaError, OSError, ValueError)


class BrokerUnreachableError(Exception):
    """No broker can be used: the message says which brokers, why, and the next step."""

    exit_code = 3


class BrokerSilentError(BrokerUnreachableError):
    """No broker answered the Kafka protocol in time; the client's own error is the cause."""


class BrokerAbsentError(BrokerUnreachableError):
    """No address accepts a connection: nothing listens there, its name does not resolve, or there is no route to it."""


class ClockError(BrokerUnreachableError):
    """The brokers refuse records because this machine's clock, or the brokers' clock, is wrong."""


class BrokerRefusedError(BrokerUnreachableError):
    """A broker answered and refused the connection: because of TLS, a certificate, or the user."""


class TokenError(BrokerUnreachableError, OSError):
    """There is no access token to sign in with. It is also an OSError, so the Kafka clients take it for a failed connection and retry."""


class NotAuthorizedError(Exception):
    """The brokers accept the user, and the user lacks a right: the message names the missing ACL."""

    exit_code = 2


class TopicsMissingError(Exception):
    """Topics that the command needs do not exist on the cluster."""

    exit_code = 2


class TopicsRefusedError(Exception):
    """The broker answered and did not create a topic: the message says why and the next step."""

    exit_code = 1


def clock_refused(error: BaseException) -> str | None:
    """A sentence, without its full stop, if a broker refused a record for its time; None for any other error."""
    # Both clients have a class of this name.
    if type(error).__name__ != InvalidTimestampError.__name__:
        return None
    return (
        f"this machine's clock says {timestamp(int(time.time() * 1000))}, and a broker refuses a record of that time ({InvalidTimestampError.__name__}): "
        "it is further from the broker's own clock than the broker allows, an hour ahead unless message.timestamp.after.max.ms says otherwise"
    )


def summary_of(error: BaseException) -> str:
    """
    An error's class and message in one phrase. The class comes once, though the Kafka clients repeat it in the message. Names a wrong clock.

    >>> summary_of(KafkaError("no")), summary_of(OSError("no")), summary_of(TimeoutError())
    ('KafkaError: no', 'OSError: no', 'TimeoutError')
    """
    if clock := clock_refused(error):
        return clock
    kind, text = type(error).__name__, str(error)[:MAX_SUMMARY_CHARACTERS]
    return text if text.startswith(kind) else f"{kind}: {text}" if text else kind


def unreachable(settings: Settings, error: BaseException) -> BrokerUnreachableError:
    """The error to raise, from a client's own `error`, if no broker answers, or a broker refuses the time of a record."""
    found: BrokerUnreachableError
    if clock := clock_refused(error):
        found = ClockError(f"{clock}. {SET_THE_CLOCK}")
    else:
        found = BrokerSilentError(
            f"no Kafka broker answered at {settings.brokers} within {settings.startup_timeout_seconds:g} s ({summary_of(error)}). "
            f"Next: check that the broker runs, that it advertises this address, and that TAGSTREAM_BROKERS and "
            f"TAGSTREAM_SECURITY__PROTOCOL fit it; `tagstream doctor` examines each address."
        )
    # Set here, so that the client's own error is known even before a `raise`.
    found.__cause__ = error
    return found


@contextlib.contextmanager
def translated(settings: Settings, failures: tuple[type[BaseException], ...] = (KafkaError,)) -> Iterator[None]:
    """
    Turn a client's errors inside the block into ours.

    Raises:
        BrokerSilentError: The block raised one of `failures`, which is the cause.
        ClockError: The block raised a broker's refusal of a record's time.
    """
    try:
        yield
    except failures as error:
        raise unreachable(settings, error) from error
