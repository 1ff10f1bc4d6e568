"""Whether a broker works: a topic was made on it, and a record was written with its acknowledgement.

The client library takes half a second to import, so it is imported in functions: while the broker starts, not before.
"""

import contextlib
import importlib
import socket
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tagstream.stream.broker.ports import LOOPBACK, free_ports
from tagstream.stream.broker.processes import Process, tail
from tagstream.stream.broker.provider import Deadline, ProviderUnavailable

if TYPE_CHECKING:
    from kafka import KafkaAdminClient

# Two underscores: an internal name, like Kafka's own, that no consumer's pattern should take for content.
PROBE_TOPIC = "__tagstream_probe"
_POLL_SECONDS = 0.02
_REQUEST_SECONDS = 5.0
_PORT_ATTEMPTS = 3

Check = Callable[[], None]
Options = Mapping[str, Any]
PLAINTEXT: Options = {}


def on_free_ports(name: str, serve: Callable[..., Process], *, ports: int, idempotent: bool, seconds: float) -> str:
    """
    Start a broker on free ports, and return its address once records go through; a port that was taken meanwhile is replaced.

    Args:
        name: Of the broker, for an error.
        serve: Starts its process on as many ports as are named, of which clients get the first.
        ports: How many.
        idempotent: See `wait_for_records`.
        seconds: The bound of all attempts together.

    Raises:
        ProviderUnavailable: It did not get ready; the message has the end of its log.
    """
    deadline = Deadline.after(seconds)
    for attempt in range(1, _PORT_ATTEMPTS + 1):
        chosen = free_ports(ports)
        process, address = serve(*chosen), f"{LOOPBACK}:{chosen[0]}"
        try:
            wait_for_records(address, idempotent=idempotent, deadline=deadline, check=must_run(process))
        except ProviderUnavailable as error:
            if not process.running() and "in use" in process.output() and attempt < _PORT_ATTEMPTS:
                continue
            msg = f"{name} did not get ready (the bound is {seconds:.0f} s): {error}; {tail(process)}"
            raise ProviderUnavailable(msg) from error
        return address
    raise AssertionError


def must_run(process: Process) -> Check:
    """A check that raises ProviderUnavailable once the process has ended."""

    def check() -> None:
        if not process.running():
            msg = f"it ended with exit code {process.exit_code}"
            raise ProviderUnavailable(msg)

    return check


def wait_for_records(
    bootstrap: str, *, idempotent: bool, deadline: Deadline, check: Check, nodes: int = 1, options: Options = PLAINTEXT
) -> None:
    """
    Return when `nodes` brokers have joined and have acknowledged a record.

    Args:
        bootstrap: Addresses, comma-separated; each must answer.
        idempotent: Write as the idempotent producer does, with all acknowledgements; else with one.
        deadline: The bound of all waits together.
        check: Called between attempts; raises when waiting is of no use, for instance because the process has ended.
        nodes: How many brokers must be in the cluster and take part.
        options: Further arguments of the clients: TLS and a user, where the cluster asks for them.

    Raises:
        ProviderUnavailable: The deadline passed; the message names the wait and the last error.
    """
    # Half a second, spent while the broker starts.
    importlib.import_module("kafka")
    for address in bootstrap.split(","):
        wait_for_port([address], deadline=deadline, check=check)
    _persist(lambda: _prove(bootstrap, nodes, idempotent, deadline, options), "a record to be written", deadline, check)


def _go_on() -> None:
    """The check that always passes."""


def wait_for_port(addresses: Sequence[str], *, deadline: Deadline, check: Check = _go_on) -> None:
    """
    Return when one of the addresses accepts connections.

    Cheaper to repeat than any request, and the client library leaves a socket behind for each refusal.

    Args:
        addresses: `HOST:PORT` each.
        deadline: The bound of the wait.
        check: Is called before each attempt; it raises to end the wait.

    Raises:
        ProviderUnavailable: The deadline passed.
    """
    while True:
        check()
        for address in addresses:
            host, _, port = address.rpartition(":")
            try:
                socket.create_connection((host.strip("[]"), int(port)), timeout=1.0).close()
            except OSError as error:
                refused = error
            else:
                return
        if deadline.passed():
            msg = f"{' or '.join(addresses)} did not accept a connection within the bound ({refused})"
            raise ProviderUnavailable(msg)
        time.sleep(_POLL_SECONDS)


def wait_for_cluster(addresses: Sequence[str], *, deadline: Deadline) -> None:
    """
    Return when a Kafka cluster answers behind one of the addresses. It is only asked.

    Raises:
        ProviderUnavailable: The deadline passed.
    """
    wait_for_port(addresses, deadline=deadline)
    _persist(lambda: _admin(",".join(addresses), deadline).close(), "the cluster's metadata", deadline, _go_on)


def _prove(bootstrap: str, nodes: int, idempotent: bool, deadline: Deadline, options: Options) -> None:  # noqa: FBT001
    from kafka.errors import KafkaError

    with _admin(bootstrap, deadline, options) as admin:
        joined = [one for one in admin.describe_cluster()["brokers"] if not one.get("is_fenced", False)]
        if len(joined) < nodes:
            msg = f"{len(joined)} of {nodes} brokers have joined the cluster"
            raise _NotYetError(msg)
        # A new name each time: the deletion of an earlier one may still be under way.
        topic = f"{PROBE_TOPIC}_{uuid.uuid4().hex[:8]}"
        # One in-sync replica is enough: the probe must also pass with a node down.
        settings = {"num_partitions": 1, "replication_factor": min(nodes, 3), "configs": {"min.insync.replicas": "1"}}
        admin.create_topics({topic: settings}, wait_for_metadata=True)
        try:
            _write(bootstrap, topic, idempotent, deadline, options)
        finally:
            # A topic that stays does no harm, and this error must not hide that of the write.
            with contextlib.suppress(KafkaError):
                admin.delete_topics([topic])


def _write(bootstrap: str, topic: str, idempotent: bool, deadline: Deadline, options: Options) -> None:  # noqa: FBT001
    from kafka import KafkaProducer

    request = _milliseconds(deadline.left(at_most=_REQUEST_SECONDS))
    producer = KafkaProducer(
        bootstrap_servers=bootstrap.split(","),
        **options,
        acks="all" if idempotent else 1,
        enable_idempotence=idempotent,
        max_block_ms=request,
        bootstrap_timeout_ms=request,
        request_timeout_ms=request,
        delivery_timeout_ms=2 * request,
    )
    try:
        producer.send(topic, b"probe", partition=0).get(timeout=2 * request / 1000)
    finally:
        producer.close(timeout=1)


class _NotYetError(Exception):
    """The broker answers, but is not ready."""


def _persist(attempt: Check, what: str, deadline: Deadline, check: Check) -> None:
    """Repeat `attempt` until it succeeds, `check` raises or the deadline passes."""
    from kafka.errors import KafkaError

    while True:
        check()
        try:
            attempt()
        except (KafkaError, _NotYetError) as error:
            if deadline.passed():
                msg = f"waited for {what}, in vain within the bound; last answer: {error}"
                raise ProviderUnavailable(msg) from error
            time.sleep(_POLL_SECONDS)
        else:
            return


def _admin(bootstrap: str, deadline: Deadline, options: Options = PLAINTEXT) -> "KafkaAdminClient":
    from kafka import KafkaAdminClient

    chosen: dict[str, Any] = {
        **options,
        "bootstrap_servers": bootstrap.split(","),
        # Short, so that `check` has its turn between attempts.
        "bootstrap_timeout_ms": _milliseconds(deadline.left(at_most=2.0)),
        "request_timeout_ms": _milliseconds(deadline.left(at_most=_REQUEST_SECONDS)),
        "reconnect_backoff_max_ms": 100,
    }
    return KafkaAdminClient(**chosen)


def _milliseconds(seconds: float) -> int:
    # Zero would mean "for ever" to some options and "at once" to others.
    return max(100, round(seconds * 1000))
