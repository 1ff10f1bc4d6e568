"""The broker of a demo: a broker that the demo starts, or a named broker on which the demo gets topics and a group of its own."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tagstream.stream.broker import BrokerUnavailable, broker
from tagstream.stream.broker.ladder import QUICKEST, STARTED
from tagstream.stream.demo.view import StartupLines, command
from tagstream.stream.kafka import admin
from tagstream.stream.kafka.removal import NotRemovedError, remove
from tagstream.stream.settings.rollout import Rollout
from tagstream.stream.settings.settings import Settings
from tagstream.stream.settings.topics import Topics

PREFIX = "tagstream-demo"
# Joining a group on Tansu takes half of the session timeout. This is the least value that the setting allows.
TANSU_SESSION_SECONDS = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoBroker:
    """
    Where a demo runs. No other program uses its topics.

    Attributes:
        settings: Brokers, topics and group for the worker and the clients.
        broker: A description of the broker for people, one line.
        has_transactions: True if the broker has transactions, which a rollout needs.
    """

    settings: Settings
    broker: str
    has_transactions: bool = True


@contextmanager
def started(given: Settings, opening: StartupLines, *, prefer: str | None, rollout: bool) -> Iterator[DemoBroker]:
    """
    Start a broker, and stop it on exit. `TAGSTREAM_BROKERS` and the settings' brokers are not used.

    Args:
        given: The settings; their brokers are replaced.
        opening: Shows the start of the broker.
        prefer: The only kind of broker to try; see `tagstream.stream.broker.broker`.
        rollout: The demo changes its model. For that, and for settings that need transactions or producer ids, Apache Kafka is tried first;
            else the broker that starts soonest.

    Raises:
        BrokerUnavailable: No broker could be started.
    """
    needs_kafka = rollout or given.delivery == "exactly_once" or given.idempotent_producer == "on"
    with ExitStack() as stack:
        try:
            with opening.step("starting a broker") as say:
                found = stack.enter_context(broker(prefer=prefer, providers=STARTED if needs_kafka else QUICKEST, log=say))
        except BrokerUnavailable as error:
            msg = f"{error}, or name a running one: `{command()} demo --on-broker HOST:PORT`"
            raise BrokerUnavailable(msg) from error
        changed: dict[str, object] = {"brokers": found.bootstrap}
        if found.kind == "tansu":
            changed["session_timeout_seconds"] = TANSU_SESSION_SECONDS
        yield DemoBroker(
            settings=given.model_copy(update=changed), broker=found.description, has_transactions=found.kind != "tansu"
        )


@contextmanager
def named(
    given: Settings, opening: StartupLines, *, removing: Callable[[], None], left: Callable[[str], None]
) -> Iterator[DemoBroker]:
    """
    Choose names for topics and a group on the brokers of the settings, unique to this demo. On exit, remove the topics and the group.

    The caller creates the topics. The demo reads and writes no other topics of these brokers.

    Args:
        given: The settings; their topics and group are replaced.
        opening: Shows the check of the brokers, and the removal.
        removing: Called before the removal.
        left: Called with a sentence if a topic or the group could not be removed.

    Raises:
        BrokerUnreachableError: No broker answered, or a broker refused this user.
    """
    with opening.step("asking the broker"):
        brokers = admin.broker_count(given)
    name = f"{PREFIX}-{secrets.token_hex(4)}"
    usual: dict[str, str] = Topics.model_validate({}).model_dump()
    settings = given.model_copy(
        update={
            "topics": Topics.model_validate({key: f"{name}.{topic}" for key, topic in usual.items()}),
            "group": name,
            "group_instance_id": None,
            "rollout": Rollout().of_group(name),
        }
    )
    try:
        yield DemoBroker(
            settings=settings, broker=f"the broker that --on-broker names ({brokers} {'node' if brokers == 1 else 'nodes'})"
        )
    finally:
        removing()
        try:
            with opening.step("removing its topics and its group"):
                remove(settings)
            opening.tell("removed", f"the topics {name}.* and the group {name}")
        except NotRemovedError as error:
            left(str(error))
