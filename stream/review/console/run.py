"""Runs the console as a process: the store and its follower, the sender of answers, and the server."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tagstream.monitoring.quality.costs import Costs
from tagstream.monitoring.quality.metrics import QualityMetrics
from tagstream.stream.kafka.admin import require
from tagstream.stream.kafka.producer import verbatim_sender
from tagstream.stream.kafka.rights import Operation
from tagstream.stream.logs import logger
from tagstream.stream.review.answer_saver import AnswerSaver
from tagstream.stream.review.bundles import Bundles
from tagstream.stream.review.console.access import Access
from tagstream.stream.review.console.app import application
from tagstream.stream.review.console.guidelines import NONE, Guidelines
from tagstream.stream.review.console.pages import ReviewConsole
from tagstream.stream.review.console.quality_thread import QualityThread
from tagstream.stream.review.follower import StoreFollower
from tagstream.stream.review.store.store import open_store
from tagstream.stream.settings.secret_files import answer_keys
from tagstream.stream.settings.settings import Settings
from tagstream.stream.web.serving import listen, serve, url

log = logger("tagstream.review")
FILLING = "The queue is being read from the topics. Next: look again in a moment."


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsolePlan:
    """
    The options of the command.

    Attributes:
        store: URL of the store.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free port.
        access: Names the person behind a request.
        names: Host names that requests may have, beside localhost and addresses.
        origins: Sites whose pages may send reports.
        guidelines: The meaning of the labels.
        costs: The prices of people's time and of mistakes; None for no money.
    """

    store: str
    host: str
    port: int
    access: Access
    names: Sequence[str] = ()
    origins: Sequence[str] = ()
    guidelines: Guidelines = NONE
    costs: Costs | None = None


def run(settings: Settings, plan: ConsolePlan, *, say: Callable[[str], None]) -> None:
    """
    Serve until SIGINT or SIGTERM.

    Args:
        settings: Brokers and topics.
        plan: The options of the command.
        say: Called with a sentence that has the address.

    Raises:
        ListenError: The address cannot be listened on.
        BrokerUnreachableError: No broker answered at the start.
        TopicsMissingError: `review` or `reviewed` does not exist.
        NotAuthorizedError: This user may not read `review` or write `reviewed`.
        DatabaseUnavailableError: The store cannot be opened.
        DatabaseInUseError: The store is a file that another console uses.
        StoreVersionError: Another version of tagstream made the store.
    """
    topics = settings.topics
    with listen(plan.host, plan.port) as listening:
        require(
            settings,
            {"review": topics.review, "reviewed": topics.reviewed},
            operations={"review": Operation.READ, "reviewed": Operation.WRITE},
        )
        # A producer that is not idempotent may write an answer twice, but the stream counts equal answers once. It needs no extra right.
        with (
            open_store(plan.store) as store,
            store.database.of_one("console"),
            verbatim_sender(settings, idempotent=False) as sender,
            StoreFollower(store, settings) as follower,
            QualityThread(store, QualityMetrics.alone(), bundles=Bundles.of(settings), costs=plan.costs) as measuring,
        ):

            def not_ready() -> str | None:
                return follower.trouble if follower.ready.is_set() else follower.trouble or FILLING

            console = ReviewConsole(
                store=store,
                saving=AnswerSaver(store, sender, topics, keys=answer_keys(settings.security)),
                access=plan.access,
                measuring=measuring,
                filled=follower.ready.is_set,
                not_ready=not_ready,
                guidelines=plan.guidelines,
            )
            say(f"the console: {url(listening)}")
            log.info("console_starting", address=url(listening), store=store.name)
            serve(application(console, names=plan.names, origins=plan.origins), listening, follower.check)
            log.info("console_stopped")
