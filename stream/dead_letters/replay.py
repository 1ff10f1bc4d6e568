"""
`tagstream dlq replay`: sends dead letters again, and skips those that it has sent before.

A note in the topic `replays`, which is compacted, says of each dead letter and target that the letter was sent. It is written after the
broker has the record. So a replay that is killed between the two sends that one letter again, and two replays at once may both send a
letter. A repeat is harmless: the event has the same id, and gets the same decision.
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
    """The broker did not confirm a record or its note: the message says which, how many were sent, and the next step."""

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
    One record of the topic `replays`: the dead letter of its key, `key_of`, was sent.

    Attributes:
        at_ms: When it was written, by the clock of the replay's machine, Unix milliseconds.
    """

    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPlan:
    """
    Which dead letters to replay, and how.

    Attributes:
        selection: Which dead letters.
        to: The topic to send all of them to; None sends answers to `reviewed`, and all others to `content`.
        most_replays: An event that was replayed this often is refused.
        again: Also send dead letters that were sent before.
        dry_run: Send none.
        sent: Called with each dead letter that was sent, or would be in a dry run, and its record.
        refused: Called with the place of each dead letter that is refused, and a sentence that says why.
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
    The counts of a replay to one topic, or of one that would be made.

    Attributes:
        target: The topic that was sent to.
        sent: Number of dead letters sent.
        returned: How many of these came back: their event had been replayed before and became another dead letter.
        hopeless: How many of these become the same dead letter again, by code: this version still refuses their bytes for it.
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
        """Count a dead letter that was sent; `limits` as of `still_refused`."""
        self.sent += 1
        self.returned += letter.replays > 0
        if still_refused(letter, limits):
            self.hopeless[letter.code] += 1

    @property
    def refusals(self) -> int:
        """Number of dead letters refused; those that were sent before are not among them."""
        return self.refused.total()


def topic_named(settings: Settings, to: str) -> str:
    """
    The topic that `to` names by its setting, or by its name on the cluster.

    Raises:
        DeadLetterArgumentError: It is the dead letters' topic or that of the notes.
    """
    names = settings.topic_names
    name = names.get(to, to)
    if name in {names["dlq"], names["replays"]}:
        msg = f"a replay to {name!r} would make dead letters of dead letters. Next: give --to another topic, or leave it out for content."
        raise DeadLetterArgumentError(msg)
    return name


def key_of(letter: DeadLetter, target: str) -> bytes:
    """The key of the note that a dead letter was sent to a topic: to send it to another one is another replay."""
    return f"{letter.identity}>{target}".encode()


def not_replayed(letter: DeadLetter, *, most_replays: int) -> tuple[NotReplayed, str] | None:
    """The reason in the dead letter itself for which it is not replayed, with a sentence; None if there is none."""
    if letter.dropped:
        parts = " and ".join(letter.dropped)
        return (
            NotReplayed.INCOMPLETE,
            f"{parts} did not fit into the topic and could not be kept; the producer must send it again",
        )
    if letter.replays >= most_replays:
        return NotReplayed.TOO_OFTEN, f"it was replayed {letter.replays} times already, and the limit is {most_replays}"
    nulls = [name for name, content in letter.headers if content is None]
    if nulls:
        return (
            NotReplayed.NULL_HEADER,
            f"{len(nulls)} of its headers have no value, which kafka-python cannot send; its producer can",
        )
    return None


def still_refused(letter: DeadLetter, limits: Limits) -> bool:
    """
    Whether the fault is in the event's own bytes: this version, with these limits, refuses them for the same reason.

    Bytes in the frame of a Schema Registry need its schemas, so nothing is said of them, nor of answers, which are no events.
    """
    if letter.value is None or letter.value.startswith(b"\0"):
        return False
    found = decode(Record(key=letter.key, value=letter.value, headers=letter.headers), limits)
    return isinstance(found, Refusal) and found.reason.value == letter.code


def replay(settings: Settings, plan: ReplayPlan) -> list[ReplayReport]:
    """
    Send the selected dead letters again, in their order, and return when the broker has confirmed each.

    Returns:
        A report for each topic that a dead letter was for; where there was none, one of `plan.to` or of `content`.

    Raises:
        BrokerUnreachableError: No broker answered, or one refused us.
        TopicsMissingError: The dead letters' topic, the target or the topic of the notes does not exist.
        ReplayError: The broker did not confirm a record or its note.
    """
    run = _Run(settings, plan)
    if plan.dry_run:
        run.send_all(None)
    else:
        # A record that a retry writes twice is one event: no right to an idempotent producer is needed.
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
        # That of `content` is there before the first letter; where all went elsewhere it says nothing.
        said = [one for one in self._reports.values() if one.sent or one.already or one.refused]
        return said or list(self._reports.values())

    def send_all(self, sender: VerbatimSender | None) -> None:
        """Without a sender nothing is sent."""
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
            # One record at a time: only then is the broker's refusal about this very record.
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
            f"the replay again: it leaves out those that have a note, and an event that comes again gets the same id and the same decision."
        )


def _sent_before(settings: Settings) -> frozenset[bytes | None]:
    """The keys of the notes: the dead letters, with their targets, that were sent."""
    with log_of(settings, settings.topics.replays) as log:
        return frozenset(record.key for record in log.read() if _is_note(record))


def _is_note(record: Record) -> bool:
    try:
        msgspec.json.decode(record.value or b"", type=ReplayNote)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Written by another program, or a tombstone.
        return False
    return True
