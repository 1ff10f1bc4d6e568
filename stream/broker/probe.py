"""Whether a broker works: a record was written to it and read back.

The client library takes half a second to import, so it is imported in functions: while the broker starts, not before.
"""

import contextlib
import importlib
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stream.broker.rung import Deadline, RungUnavailable

if TYPE_CHECKING:
    from kafka import KafkaAdminClient

# Two underscores: an internal name, like Kafka's own, that no consumer's pattern should take for content.
PROBE_TOPIC = "__tagstream_probe"
_POLL_SECONDS = 0.02
_REQUEST_SECONDS = 5.0

Check = Callable[[], None]
Options = Mapping[str, Any]
PLAINTEXT: Options = {}


def wait_for_records(
    bootstrap: str, *, nodes: int, idempotent: bool, deadline: Deadline, check: Check, options: Options = PLAINTEXT
) -> None:
    """
    Return when `nodes` brokers have joined and a record has gone through the cluster and back.

    Args:
        bootstrap: Addresses, comma-separated; each must answer.
        nodes: How many brokers must be in the cluster and take part.
        idempotent: Write as the idempotent producer does, with all acknowledgements; else with one.
        deadline: The bound of all waits together.
        check: Called between attempts; raises when waiting is of no use, for instance because the process has ended.
        options: Further arguments of the clients: TLS and a user, where the cluster asks for them.

    Raises:
        RungUnavailable: The deadline passed; the message names the wait and the last error.
    """
    load_client()
    wait_for_ports(bootstrap.split(","), deadline=deadline, check=check)
    _persist(
        lambda: _prove(bootstrap, nodes, idempotent, deadline, options), "a record to be written and read", deadline, check
    )


def load_client() -> None:
    """Spend the half second that the client library's import takes while a broker starts."""
    importlib.import_module("kafka")


def wait_for_ports(addresses: Iterable[str], *, deadline: Deadline, check: Check) -> None:
    """Return when every address accepts connections."""
    for address in addresses:
        wait_for_one_port([address], deadline=deadline, check=check)


def wait_for_one_port(addresses: Sequence[str], *, deadline: Deadline, check: Check) -> None:
    """
    Return when one of the addresses accepts connections.

    Cheaper to repeat than any request, and the client library leaves a socket behind for each refusal.
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
            raise RungUnavailable(msg)
        time.sleep(_POLL_SECONDS)


def count_brokers(bootstrap: str, *, deadline: Deadline) -> int:
    """The number of brokers in the cluster behind `bootstrap`."""
    counted: list[int] = []

    def ask() -> None:
        with _admin(bootstrap, deadline) as admin:
            counted.append(len(admin.describe_cluster()["brokers"]))

    _persist(ask, "the cluster's metadata", deadline, _go_on)
    return counted[-1]


def has_transactions(bootstrap: str, *, deadline: Deadline) -> bool:
    """
    Whether the cluster hands out producer ids; whether it keeps the promises that go with them cannot be asked.

    Writes to no topic. Leaves one transactional id behind, the same each time.
    """
    from kafka import KafkaProducer
    from kafka.errors import KafkaError

    try:
        producer = KafkaProducer(
            bootstrap_servers=bootstrap.split(","),
            transactional_id=PROBE_TOPIC,
            max_block_ms=_milliseconds(deadline.left()),
            bootstrap_timeout_ms=_milliseconds(deadline.left()),
            request_timeout_ms=_milliseconds(_REQUEST_SECONDS),
        )
    except KafkaError:
        return False
    try:
        producer.init_transactions()
    except KafkaError:
        return False
    finally:
        producer.close(timeout=1)
    return True


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
            _read(bootstrap, topic, deadline, options)
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


def _read(bootstrap: str, topic: str, deadline: Deadline, options: Options) -> None:
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap.split(","),
        **options,
        bootstrap_timeout_ms=_milliseconds(deadline.left(at_most=_REQUEST_SECONDS)),
        enable_auto_commit=False,
        # A lone record is not worth the broker's wait for more.
        fetch_max_wait_ms=50,
    )
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        # The first offset is known, and Tansu answers wrongly when it is asked for the end.
        consumer.seek(partition, 0)
        if not consumer.poll(timeout_ms=_milliseconds(deadline.left(at_most=_REQUEST_SECONDS))):
            msg = "a record that was acknowledged was not read back"
            raise _NotYetError(msg)
    finally:
        consumer.close()


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
                raise RungUnavailable(msg) from error
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


def _go_on() -> None:
    """The check that always passes."""


def _milliseconds(seconds: float) -> int:
    # Zero would mean "for ever" to some options and "at once" to others.
    return max(100, round(seconds * 1000))
