"""`tagstream dlq replay`: send dead letters again, each once, however often the command runs and wherever it is interrupted."""

import uuid
from collections.abc import Callable

from stream.contract.dead_letter import DeadLetter, replayed
from stream.contract.record import Record
from stream.dead_letters import choose
from stream.dead_letters.ledger import Ledger, State, wait_until_over
from stream.dead_letters.plan import ReplayPlan, ReplayReport
from stream.dead_letters.selection import UsageError
from stream.dead_letters.sending import Sending, batches, sendable
from stream.kafka import admin, probes, producer
from stream.kafka.reading.log import log_of
from stream.settings.settings import Settings


def target_of(settings: Settings, to: str | None) -> str:
    """
    The topic to replay to: `content`, or the topic that `to` names by its setting or by its name on the cluster.

    Raises:
        UsageError: It is the dead letters' topic or the ledger.
    """
    names: dict[str, str] = settings.topics.model_dump()
    name = names["content"] if to is None else names.get(to, to)
    if name in {names["dlq"], names["replays"]}:
        msg = f"a replay to {name!r} would make dead letters of dead letters. Next: give --to another topic, or leave it out for content."
        raise UsageError(msg)
    return name


def preview(settings: Settings, plan: ReplayPlan, *, show: Callable[[DeadLetter, Record], None]) -> ReplayReport:
    """
    Show each dead letter that `replay` would send, and its record, and send none.

    It does not wait for an interrupted run, as `replay` does, and takes it for over.

    Raises:
        BrokerUnreachableError: No broker answered, or one refused us.
        TopicsMissingError: The dead letters' topic, the target or the ledger does not exist.
    """
    _require(settings, plan.target)
    report = ReplayReport(target=plan.target)
    with log_of(settings, plan.target) as target, log_of(settings, settings.topics.replays) as log:
        ledger = Ledger(log, topic=settings.topics.replays, run="", target_ends={})
        ledger.settle(ledger.unfinished(settings.topics.dlq, plan.target), target)
        for letter in sendable(choose.select(settings, plan.selection), ledger, plan, report):
            show(letter, replayed(letter, plan.target))
            report.count(letter)
    return report


def replay(settings: Settings, plan: ReplayPlan) -> ReplayReport:
    """
    Send the selected dead letters again, in their order, and return when the broker has confirmed each.

    Raises:
        BrokerUnreachableError: No broker answered, or one refused us.
        TopicsMissingError: The dead letters' topic, the target or the ledger does not exist.
        LedgerError: The ledger could not be written.
        ReplayError: The broker stopped answering.
    """
    _require(settings, plan.target)
    report = ReplayReport(target=plan.target)
    with (
        log_of(settings, plan.target) as target,
        log_of(settings, settings.topics.replays) as log,
        producer.verbatim_sender(settings, idempotent=probes.use_idempotent_producer(settings)) as sender,
    ):
        # In this order: another run that sends a record after this look at the target's end also notes it after this look.
        ends = target.ends()
        ledger = Ledger(log, topic=settings.topics.replays, run=uuid.uuid4().hex, target_ends=ends)
        unfinished = ledger.unfinished(settings.topics.dlq, plan.target)
        wait_until_over(unfinished.values(), say=plan.say)
        ledger.catch_up()
        still = ledger.unfinished(settings.topics.dlq, plan.target)
        ledger.settle({key: note for key, note in still.items() if unfinished.get(key) == note}, target)
        ledger.finish(dict.fromkeys(ledger.arrived(), State.SENT), sender)
        ledger.catch_up()
        sending = Sending(ledger=ledger, sender=sender, plan=plan, report=report)
        for batch in batches(sendable(choose.select(settings, plan.selection), ledger, plan, report)):
            sending.send(batch)
    return report


def _require(settings: Settings, target: str) -> None:
    names: dict[str, str] = settings.topics.model_dump()
    key = next((key for key, name in names.items() if name == target), target)
    admin.require(settings, {"dlq": names["dlq"], key: target, "replays": names["replays"]})
