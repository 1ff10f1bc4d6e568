"""Errors between us and the brokers: exceptions of kafka-python and aiokafka become these, with a next step in the message."""

import contextlib
from collections.abc import Iterator

from kafka.errors import KafkaError

from tagstream.stream.settings.settings import Settings

MAX_SUMMARY_CHARACTERS = 300
# Raised by the constructor of a client: the broker is away, its name does not resolve, or an option does not fit.
CONNECT_FAILURES = (KafkaError, OSError, ValueError)


class BrokerUnreachableError(Exception):
    """No broker can be worked with: the message says which, why, and the next step."""

    exit_code = 3


class BrokerSilentError(BrokerUnreachableError):
    """No broker answered the Kafka protocol in time; the client's own error is the cause."""


class BrokerAbsentError(BrokerUnreachableError):
    """No address takes a connection: nothing listens there, its name does not resolve, or there is no way to it."""


class BrokerRefusedError(BrokerUnreachableError):
    """A broker answered and refused the connection: because of TLS, a certificate, or the user."""


class TokenError(BrokerUnreachableError, OSError):
    """No access token can be had to sign in with. An OSError too: the Kafka clients take it for a failed connection and try again."""


class NotAuthorizedError(Exception):
    """The brokers accept the user, and the user lacks a right: the message names the missing ACL."""

    exit_code = 2


class TopicsMissingError(Exception):
    """Topics that the command needs do not exist on the cluster."""

    exit_code = 2


class TopicsRefusedError(Exception):
    """The broker answered and did not create a topic: the message says why and the next step."""

    exit_code = 1


def summary_of(error: BaseException) -> str:
    """
    An error's kind and message in one phrase, the kind once: those of the Kafka clients repeat it in their message.

    >>> summary_of(KafkaError("no")), summary_of(OSError("no")), summary_of(TimeoutError())
    ('KafkaError: no', 'OSError: no', 'TimeoutError')
    """
    kind, text = type(error).__name__, str(error)[:MAX_SUMMARY_CHARACTERS]
    return text if text.startswith(kind) else f"{kind}: {text}" if text else kind


def unreachable(settings: Settings, error: BaseException) -> BrokerSilentError:
    """The error to raise, from a client's own `error`, when no broker answers."""
    found = BrokerSilentError(
        f"no Kafka broker answered at {settings.brokers} within {settings.startup_timeout_seconds:g} s ({summary_of(error)}). "
        f"Next: check that the broker runs, that it advertises this address, and that TAGSTREAM_BROKERS and "
        f"TAGSTREAM_SECURITY__PROTOCOL fit it; `tagstream doctor` examines each address."
    )
    # For whoever asks for the client's own error, also where none was raised.
    found.__cause__ = error
    return found


@contextlib.contextmanager
def translated(settings: Settings, failures: tuple[type[BaseException], ...] = (KafkaError,)) -> Iterator[None]:
    """
    Turn a client's errors inside the block into ours.

    Raises:
        BrokerSilentError: One of `failures` was raised; it is the cause.
    """
    try:
        yield
    except failures as error:
        raise unreachable(settings, error) from error
