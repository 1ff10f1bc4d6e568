"""The console as a process: the store and what fills it, the sender of answers, and the server."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from monitoring.metrics.quality import QualityMetrics
from stream.kafka.admin import require
from stream.kafka.producer import verbatim_sender
from stream.kafka.rights import Operation
from stream.logs import logger
from stream.review.console.app import application
from stream.review.console.desk import Desk
from stream.review.console.doors.access import Access
from stream.review.console.guidelines import NONE, Guidelines
from stream.review.console.measuring import Measuring
from stream.review.follower import Follower
from stream.review.saving import Saving
from stream.review.store.store import open_store
from stream.settings.secret_files import answer_keys
from stream.settings.settings import Settings
from stream.web.serving import listen, serve, url

log = logger("tagstream.review")
FILLING = "The queue is being read from the topics. Next: look again in a moment."


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    The options of the command.

    Attributes:
        store: URL of the store.
        host: Address to listen on.
        port: Its port; 0 takes a free one.
        access: Who is behind a request.
        names: Host names that requests may have, beside localhost and addresses.
        origins: Sites whose pages may send reports.
        guidelines: What the labels mean.
    """

    store: str
    host: str
    port: int
    access: Access
    names: Sequence[str] = ()
    origins: Sequence[str] = ()
    guidelines: Guidelines = NONE


def run(settings: Settings, plan: Plan, *, say: Callable[[str], None]) -> None:
    """
    Serve until SIGINT or SIGTERM.

    Args:
        settings: Brokers and topics.
        plan: The options of the command.
        say: Tells the address.

    Raises:
        AddressError: The address cannot be listened on.
        BrokerUnreachableError: No broker answered at the start.
        TopicsMissingError: `review` or `reviewed` does not exist.
        NotAuthorizedError: This user may not read `review` or write `reviewed`.
        DatabaseUnavailableError: The store cannot be opened.
    """
    topics = settings.topics
    with listen(plan.host, plan.port) as listening:
        require(
            settings,
            {"review": topics.review, "reviewed": topics.reviewed},
            operations={"review": Operation.READ, "reviewed": Operation.WRITE},
        )
        # A producer that is not idempotent may write an answer twice: the same bytes, which the stream takes once. It needs no right more.
        with (
            open_store(plan.store) as store,
            verbatim_sender(settings, idempotent=False) as sender,
            Follower(store, settings) as follower,
            Measuring(store, QualityMetrics.alone(), bundle=settings.bundle) as measuring,
        ):

            def trouble() -> str | None:
                return follower.trouble if follower.ready.is_set() else follower.trouble or FILLING

            desk = Desk(
                store=store,
                saving=Saving(store, sender, topics, keys=answer_keys(settings.security)),
                access=plan.access,
                measuring=measuring,
                filled=follower.ready.is_set,
                trouble=trouble,
                guidelines=plan.guidelines,
            )
            say(f"the console: {url(listening)}")
            log.info("console_starting", address=url(listening), store=store.name)
            serve(application(desk, names=plan.names, origins=plan.origins), listening, follower.check)
            log.info("console_stopped")
