"""`tagstream send FILE`: sends the rows of a file to a topic, and checks the rows before.

A file is read twice: first all rows are checked, then all are sent. Standard input and pipes can be read only once: each row is checked
just before it is sent, and the first row that is not an event ends the sending.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tagstream.model_export.data.reader import Columns, RowsError, can_be_read_twice, name_of, rows_of
from tagstream.stream.batch.row_survey import RowSurvey
from tagstream.stream.kafka import producer
from tagstream.stream.kafka.admin import require
from tagstream.stream.kafka.producer import CountingSender
from tagstream.stream.kafka.rights import Operation
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal import console
from tagstream.stream.terminal.text import counted

SLOW_SECONDS = 3.0


class ContractError(Exception):
    """Rows would become dead letters: the message names the rows, the reasons, the number of sent rows, and the next step."""

    exit_code = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SendPlan:
    """
    The options for sending rows.

    Attributes:
        topic: The topic, which must exist.
        columns: The file's columns for the fields of the event.
        rate: Events per second; None: as fast as the broker confirms them.
        key_field: The field whose value is the record's key, by its name in the file or in the event; None: records have no key.
        as_is: Also send rows that would become dead letters.
    """

    topic: str
    columns: Columns
    rate: float | None = None
    key_field: str | None = None
    as_is: bool = False

    def look(self, settings: Settings) -> RowSurvey:
        """Return a survey with the worker's limits."""
        field = None if self.key_field is None else self.columns.of_file.get(self.key_field, self.key_field)
        # The rows have the shape of the events in their topic.
        return RowSurvey(settings.of_content(self.topic).limits, field)


def send(settings: Settings, what: str, plan: SendPlan, *, say: Callable[[str], None]) -> int:
    """
    Send the rows of a file, or of standard input, and wait until the broker has confirmed all events.

    Args:
        settings: The brokers, and the worker's limits.
        what: The file, or `-` for standard input.
        plan: The options for sending.
        say: Called with warnings.

    Returns:
        The number of events that the broker has confirmed.

    Raises:
        ContractError: Rows are not events. Of a file no row was sent. Of standard input the rows above the first such row were sent.
        RowsError: The input cannot be read as rows. The same rows as for `ContractError` were sent.
        BrokerUnreachableError: No broker answered in time, or a broker refused us.
        TopicsMissingError: There is no such topic.
        SendError: The broker refused an event, or did not confirm it in time.
    """
    surveyed = can_be_read_twice(what)
    if surveyed:
        # The survey comes first: it is quick, while waiting for a broker can be slow.
        _survey(what, plan, plan.look(settings), say)
    with _said_when_slow(say, f"waiting for the brokers at {settings.brokers}, {settings.startup_timeout_seconds:g} s at most"):
        key = next((key for key, name in settings.topic_names.items() if name == plan.topic), "content")
        require(settings, {key: plan.topic}, operations={key: Operation.WRITE})
    look = plan.look(settings)
    with producer.sender(settings) as sender:
        _send(sender, what, plan, look, say)
    if not surveyed:
        _warn(look, plan, say)
    return sender.acknowledged


def _survey(what: str, plan: SendPlan, look: RowSurvey, say: Callable[[str], None]) -> None:
    with console.progress(f"looking at {what}", shown=True) as advance:
        for row in rows_of(what, plan.columns):
            look.at(row)
            advance()
    _warn(look, plan, say)
    if look.faults and not plan.as_is:
        msg = (
            f"{what}: {look.no_events}, and nothing was sent:\n{look.listed}\n"
            f"Next: correct them, or send the file as it is with --as-is: the worker makes dead letters of such rows."
            f"{_space(look.form)}"
        )
        raise ContractError(msg)


@contextlib.contextmanager
def _said_when_slow(say: Callable[[str], None], what: str) -> Iterator[None]:
    """Say `what` once, if the block takes longer than `SLOW_SECONDS`."""
    timer = threading.Timer(SLOW_SECONDS, say, (what,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _send(sender: CountingSender, what: str, plan: SendPlan, look: RowSurvey, say: Callable[[str], None]) -> None:
    try:
        with console.progress(f"sending {what}", shown=True) as advance:
            for row in producer.pace(rows_of(what, plan.columns), plan.rate):
                record, fault = look.at(row)
                if fault is not None and not plan.as_is:
                    break
                sender.send(plan.topic, key=record.key, value=record.value)
                advance()
            else:
                fault = None
    except RowsError as error:
        sender.flush()
        msg = f"{error} {_above(sender, plan)}: a run of the whole file sends them again."
        raise RowsError(msg) from error
    with _said_when_slow(say, f"waiting for the broker to confirm the events; it has {producer.SEND_SECONDS} s for each"):
        sender.flush()
    if fault is not None:
        msg = (
            f"{name_of(what)}, {fault}: it is no event. {_above(sender, plan)}. Next: correct it and send the rest from that line "
            f"on, or give --as-is.{_space(look.form)}"
        )
        raise ContractError(msg)


def _above(sender: CountingSender, plan: SendPlan) -> str:
    # After a flush without an error all sent rows are confirmed. So the user can continue from that line.
    sent = sender.acknowledged
    return f"The {counted(sent, 'event')} above it {'is' if sent == 1 else 'are'} in {plan.topic}, confirmed by the broker"


def _warn(look: RowSurvey, plan: SendPlan, say: Callable[[str], None]) -> None:
    if look.repetition is not None:
        say(look.repetition)
    if look.faults and plan.as_is:
        say(f"warning: {look.no_events}; sent all the same:\n{look.listed}")


def _space(sentence: str) -> str:
    return f" {sentence}" if sentence else ""
