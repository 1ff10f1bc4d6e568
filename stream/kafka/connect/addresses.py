"""Plain connections to the brokers' addresses: which of them listens, and what to do about the others."""

import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from stream.settings.settings import Settings

# For a plain TCP connection: enough for a way around the world.
CONNECT_SECONDS = 2.0
LATE_SECONDS = 0.2


class Reach(StrEnum):
    """How a plain connection to an address ended."""

    OPEN = "takes connections"
    REFUSED = "refuses connections"
    SILENT = f"did not take a connection within {CONNECT_SECONDS:g} s"
    UNKNOWN = "has a name that cannot be resolved"
    ELSE = "cannot be reached"


# The system itself says at once that nothing listens there. An address that is silent or open may be a broker that starts.
ABSENT = frozenset({Reach.REFUSED, Reach.UNKNOWN, Reach.ELSE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A plain connection to `address` (host:port) and how it ended; `detail` is the system's own message under `Reach.ELSE`."""

    address: str
    reach: Reach
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.address} {self.reach}" if not self.detail else f"{self.address} {self.reach} ({self.detail})"


def connect_to_each(settings: Settings) -> tuple[Attempt, ...]:
    """Try a plain connection to each broker, all at once, within about `CONNECT_SECONDS`: why does no broker answer?"""
    found: dict[str, Attempt] = {}

    def attempt(address: str) -> None:
        found[address] = _connect(address)

    # Threads and no pool: the end of a pool would wait for a name service that does not answer.
    threads = [threading.Thread(target=attempt, args=(address,), daemon=True) for address in settings.broker_list]
    for thread in threads:
        thread.start()
    # Resolving a name has no timeout of its own: a thread that is late counts as silent.
    deadline = time.monotonic() + CONNECT_SECONDS + LATE_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = {address: Attempt(address=address, reach=Reach.SILENT) for address in settings.broker_list}
    return tuple((late | found).values())


def _connect(address: str) -> Attempt:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS):
            return Attempt(address=address, reach=Reach.OPEN)
    except (socket.gaierror, UnicodeError):
        return Attempt(address=address, reach=Reach.UNKNOWN)
    except ConnectionRefusedError:
        return Attempt(address=address, reach=Reach.REFUSED)
    except TimeoutError:
        return Attempt(address=address, reach=Reach.SILENT)
    except OSError as error:
        return Attempt(address=address, reach=Reach.ELSE, detail=error.strerror or str(error))


def advice(settings: Settings, found: Iterable[Attempt]) -> str:
    """
    The next steps for addresses at which no broker answers, each step once.

    >>> advice(Settings(), [Attempt(address="kafka:9092", reach=Reach.UNKNOWN)])
    "correct the name in TAGSTREAM_BROKERS, or this machine's name service"
    >>> advice(Settings(), [Attempt(address="127.0.0.1:9092", reach=Reach.REFUSED)])
    'start the broker, or set TAGSTREAM_BROKERS to its address: it is not set, and nothing listens at the default'
    """
    return "; ".join(dict.fromkeys(_step(settings, one.reach) for one in found))


def _step(settings: Settings, reach: Reach) -> str:
    protocol = settings.security.protocol
    return {
        Reach.OPEN: f"check that it is a Kafka listener for {protocol} (TAGSTREAM_SECURITY__PROTOCOL), and that this machine "
        "reaches what the broker advertises (its advertised.listeners); the broker's log says more",
        Reach.REFUSED: "start the broker, or correct host and port in TAGSTREAM_BROKERS: nothing listens there"
        if "brokers" in settings.model_fields_set
        else "start the broker, or set TAGSTREAM_BROKERS to its address: it is not set, and nothing listens at the default",
        Reach.SILENT: "check that the host is up, and that a firewall or network policy lets this machine through to the port",
        Reach.UNKNOWN: "correct the name in TAGSTREAM_BROKERS, or this machine's name service",
        Reach.ELSE: "correct the address in TAGSTREAM_BROKERS, or this machine's route to it",
    }[reach]
