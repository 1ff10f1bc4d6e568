"""
`tagstream dlq replay`: sends dead letters again, and skips dead letters that an earlier replay sent.

After the broker has confirmed a record, a note in the compacted topic `replays` says that this dead letter was sent to this target. So a
replay that is killed between the record and its note sends that letter again, and two replays at the same time may both send a letter.
A repeat is harmless: the event has the same id, and gets the same decision.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from tagstream.stream.contract.dead_letter import DeadLetter, Place, replayed
from tagstream.stream.contract.event import Limits, Record, decode
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.dead_letters.selection import DeadLetterArgumentError, Selection, select
from tagstream.stream.kafka import admin
from tagstream.stream.kafka.producer import RecordTooLargeError, UndeliveredError, VerbatimSender, verbatim_sender
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal.text import counted


class ReplayError(Exception):
    """The broker did not confirm a record or its note: the message names the record, the number of letters sent, and the next step."""

    exit_code = 3


class NotReplayed(StrEnum):
    """Why a dead letter is not replayed."""

    NOT_OURS = "not_a_dead_letter"
    INCOMPLETE = "incomplete"
    TOO_OFTEN = "too_often"
    NULL_HEADER = "null_header"
    TOO_LARGE = "too_large"


class ReplayNote(msgspec.Struct, frozen=True, kw_only=True):
    """
    One record of the topic `replays`. It says that the dead letter in its key (see `key_of`) was sent.

    Attributes:
        at_ms: When the note was written, by the clock of the replay's machine, Unix milliseconds.
    """

    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPlan:
    """
    Which dead letters to replay, and how.

    Attributes:
        selection: Which dead letters.
        to: The topic to which all dead letters are sent. None sends each letter to the topic that it came from, if that is `reviewed` or
            a topic of events, else to `content`.
        most_replays: Refuse an event that was replayed this number of times.
        again: Also send dead letters that were sent before.
        dry_run: Send nothing.
        sent: Called with each dead letter that was sent (in a dry run: would be sent) and its record.
        refused: Called with the place of each refused dead letter and a sentence with the reason.
    """

    selection: Selection
    to: str | None
    most_replays: int
    again: bool
    dry_run: bool
    sent: Callable[[DeadLetter, Record], None]
    refused: Callable[[Place, str], None]


@dataclass(slots=True, kw_only=True)
class ReplayReport:
    """
    The counts of a replay to one topic, or of its dry run.

    Attributes:
        target: The topic to which letters were sent.
        sent: Number of dead letters sent.
        returned: Number of sent letters whose event had been replayed before and became a dead letter again.
        hopeless: Number of sent letters that become dead letters again, by code: this version still refuses their bytes with that code.
        already: Number of dead letters that were sent before.
        refused: Number of dead letters refused, by reason.
    """

    target: str
    sent: int = 0
    returned: int = 0
    hopeless: Counter[str] = field(default_factory=Counter)
    already: int = 0
    refused: Counter[NotReplayed] = field(default_factory=Counter)

    def count(self, letter: DeadLetter, limits: Limits) -> None:
        """Count a dead letter that was sent. `limits` are the limits of `still_refused`."""
        self.sent += 1
        self.returned += letter.replays > 0
        if still_refused(letter, limits):
            self.hopeless[letter.code] += 1

    @property
    def refusals(self) -> int:
        """Number of dead letters refused, without the letters that were sent before."""
        return self.refused.total()


def topic_named(settings: Settings, to: str) -> str:
    """
    Return the topic that `to` names, by the name of its setting or by its name on the cluster.

    Raises:
        DeadLetterArgumentError: The topic is the topic of dead letters or the topic of notes.
    """
    names = settings.topic_names
    name = names.get(to, to)
    if name in {names["dlq"], names["replays"]}:
        msg = f"a replay to {name!r} would make dead letters of dead letters. Next: give --to another topic, or leave it out for content."
        raise DeadLetterArgumentError(msg)
    return name


def key_of(letter: DeadLetter, target: str) -> bytes:
    """Return the key of the note for a dead letter and a target. The key names the target, because each target is a replay of its own."""
    return f"{letter.identity}>{target}".encode()


def not_replayed(letter: DeadLetter, *, most_replays: int) -> tuple[NotReplayed, str] | None:
    """Return the reason in the dead letter itself why it is not replayed, and a sentence about the reason; None if it can be replayed."""
    if letter.dropped:
        parts = " and ".join(letter.dropped)
        return (
            NotReplayed.INCOMPLETE,
            f"{parts} did not fit into the topic and could not be kept; the producer must send the event again",
        )
    if letter.replays >= most_replays:
        return NotReplayed.TOO_OFTEN, f"it was replayed {letter.replays} times already, and the limit is {most_replays}"
    nulls = [name for name, content in letter.headers if content is None]
    if nulls:
        return (
            NotReplayed.NULL_HEADER,
            f"{len(nulls)} of its headers have no value: kafka-python cannot send such headers, but the event's producer can",
        )
    return None


def still_refused(letter: DeadLetter, limits: Limits) -> bool:
    """
    Return True if this version, with these limits, refuses the event's bytes with the same code.

    The result is False for bytes in the frame of a Schema Registry, because they cannot be read without its schemas, and for a reviewer's
    answer, because an answer is not an event.
    """
    if letter.value is None or letter.value.startswith(b"\0"):
        return False
    found = decode(Record(key=letter.key, value=letter.value, headers=letter.headers), limits)
    return isinstance(found, Refusal) and found.reason.value == letter.code


def replay(settings: Settings, plan: ReplayPlan) -> list[ReplayReport]:
    """
    Send the selected dead letters again, in their order, and return when the broker has confirmed each letter.

    Returns:
        One report for each target topic. Without dead letters, one report about `plan.to`, or about `content` if `plan.to` is None.

    Raises:
        BrokerUnreachableError: No broker answered, or one refused us.
        TopicsMissingError: The dead letters' topic, the target or the topic of the notes does not exist.
        ReplayError: The broker did not confirm a record or its note.
    """
    run = _Run(settings, plan)
    if plan.dry_run:
        run.send_all(None)
    else:
        # A retry may write a record twice. Both records are the same event, so the user needs no right to an idempotent producer.
        with verbatim_sender(settings, idempotent=False) as sender:
            run.send_all(sender)
    return run.reports


class _Run:
    """One run of a replay."""

    def __init__(self, settings: Settings, plan: ReplayPlan) -> None:
        self._settings = settings
        self._plan = plan
        self._reports: dict[str, ReplayReport] = {}
        self._report(plan.to or settings.topics.content)

    @property
    def reports(self) -> list[ReplayReport]:
        # The report about `content` exists before the first letter. It is left out if all letters went to other topics.
        said = [one for one in self._reports.values() if one.sent or one.already or one.refused]
        return said or list(self._reports.values())

    def send_all(self, sender: VerbatimSender | None) -> None:
        """Send all selected letters. With `sender` None, only count and report them."""
        plan, sent_before = self._plan, _sent_before(self._settings)
        for found in select(self._settings, plan.selection):
            letter, report = found.letter, self._report(self._target_of(found.letter))
            if letter is None:
                self._refuse(report, found.place, NotReplayed.NOT_OURS, found.why)
            elif not plan.again and key_of(letter, report.target) in sent_before:
                report.already += 1
            elif (why := not_replayed(letter, most_replays=plan.most_replays)) is not None:
                self._refuse(report, letter.place, *why)
            else:
                self._send(letter, report, sender)

    def _target_of(self, letter: DeadLetter | None) -> str:
        topics = self._settings.topics
        home = None if letter is None else letter.origin_topic
        known = home in {topics.reviewed, *self._settings.content_topics}
        return self._plan.to or (home if known and home is not None else topics.content)

    def _report(self, target: str) -> ReplayReport:
        if target not in self._reports:
            names = self._settings.topic_names
            key = next((key for key, name in names.items() if name == target), target)
            admin.require(self._settings, {"dlq": names["dlq"], key: target, "replays": names["replays"]})
            self._reports[target] = ReplayReport(target=target)
        return self._reports[target]

    def _refuse(self, report: ReplayReport, place: Place, reason: NotReplayed, sentence: str) -> None:
        report.refused[reason] += 1
        self._plan.refused(place, sentence)

    def _send(self, letter: DeadLetter, report: ReplayReport, sender: VerbatimSender | None) -> None:
        record = replayed(letter, report.target)
        if sender is not None:
            # One record at a time, so that a refusal of the broker is about this record.
            (error,) = sender.deliver([record])
            if isinstance(error, RecordTooLargeError):
                sentence = f"{report.target} does not take a record of its size ({letter.size_bytes} bytes and headers)"
                self._refuse(report, letter.place, NotReplayed.TOO_LARGE, sentence)
                return
            if error is not None:
                raise self._unconfirmed(error, f"{letter.place} for {report.target}") from error
        report.count(letter, self._settings.of_content(report.target).limits)
        self._plan.sent(letter, record)
        if sender is not None:
            self._note(letter, report.target, sender)

    def _note(self, letter: DeadLetter, target: str, sender: VerbatimSender) -> None:
        note = ReplayNote(at_ms=int(time.time() * 1000))
        notes = self._settings.topics.replays
        (error,) = sender.deliver([Record(topic=notes, key=key_of(letter, target), value=msgspec.json.encode(note))])
        if error is not None:
            raise self._unconfirmed(error, f"the note in {notes} that {letter.place} was sent") from error

    def _unconfirmed(self, error: UndeliveredError, subject: str) -> ReplayError:
        sent = sum(report.sent for report in self._reports.values())
        return ReplayError(
            f"the broker did not confirm {subject}: {error}; {counted(sent, 'dead letter')} replayed. Next: `tagstream doctor`; then run "
            f"the replay again: it leaves out letters with a note, and an event that comes again gets the same id and the same decision."
        )


def _sent_before(settings: Settings) -> frozenset[bytes | None]:
    """Return the keys of all notes: the pairs of dead letter and target that were sent."""
    with log_of(settings, settings.topics.replays) as log:
        return frozenset(record.key for record in log.read() if _is_note(record))


def _is_note(record: Record) -> bool:
    try:
        msgspec.json.decode(record.value or b"", type=ReplayNote)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Written by another program, or a tombstone.
        return False
    return True
