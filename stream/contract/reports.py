"""
The contract of `reports`: a reader's complaint about the tag of an event. It brings the event before a reviewer and changes no tag.

A report with `answer` is a vote of a viewer who was asked about one decision. `serve` writes votes, after it has verified their tokens.
"""

from dataclasses import replace
from typing import Any, Literal

import msgspec

from tagstream.monitoring.vocabulary import Reason
from tagstream.stream.contract.event import DEFAULT_LIMITS, Limits, Record
from tagstream.stream.contract.field_types import EventId, Label, Moment, Note, PersonName, Uuid, ViewerDigest
from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.contract.published import check_moments, opened, typed
from tagstream.stream.contract.refusal import Refusal, Refused, UnwritableError, invalid, undecodable

# Several times the longest report with all characters escaped, so that fields of a later version fit too.
MAX_REPORT_BYTES = 64 * 1024


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One complaint or vote, in the order of the wire.

    Attributes:
        event_id: The id of the event whose tag is reported as wrong.
        reporter: The name of the reader who complains.
        suggested_tag: The tag that the reporter holds right.
        note: The reporter's own words.
        reported_at: The time of the report, in UTC with milliseconds.
        prediction_id: The id of the decision that a viewer votes on; only on a vote.
        viewer: What is kept of the viewer's mark on this decision: of one viewer the newest vote counts; only on a vote.
        answer: What the viewer says about the tag: right (`yes`) or wrong (`no`); only on a vote.
    """

    event_id: EventId
    reporter: PersonName | None = None
    suggested_tag: Label | None = None
    note: Note | None = None
    reported_at: Moment
    prediction_id: Uuid | None = None
    viewer: ViewerDigest | None = None
    answer: Literal["yes", "no"] | None = None

    @property
    def is_vote(self) -> bool:
        """True for a vote of a viewer, which is no complaint of a reader."""
        return self.answer is not None


# The fields that a person may send. Only `serve` writes the other ones.
_OF_A_PERSON = frozenset({"event_id", "reporter", "suggested_tag", "note"})


def read_report(record: Record, limits: Limits = DEFAULT_LIMITS) -> Report | Refusal:
    """Read one record of `reports`. Returns a report or a refusal for any bytes. Fields that the contract does not have are ignored."""
    try:
        opened(record, replace(limits, max_dead_letter_bytes=MAX_REPORT_BYTES))
        report = typed(record.value or b"", Report)
        _check(report)
    except Refused as refused:
        return refused.refusal
    return report


def report_of(given: Any, now_ms: int) -> Report | Refusal:
    """
    A person's report from parsed JSON or a form: an object of strings. An unknown field is refused, an empty field counts as absent.

    Args:
        given: `event_id`, and perhaps `reporter`, `suggested_tag` and `note`.
        now_ms: The report's `reported_at`, Unix milliseconds.
    """
    try:
        if not isinstance(given, dict) or not all(isinstance(text, str) for text in given.values()):
            raise invalid(Reason.WRONG_TYPE, "a report is an object of strings")
        taken = {name: text for name, text in given.items() if text.strip()}
        if not taken.keys() <= _OF_A_PERSON:
            raise invalid(
                Reason.WRONG_TYPE, "a report has event_id, and perhaps reporter, suggested_tag and note; it has no other field"
            )
        value = msgspec.json.encode(taken | {"reported_at": timestamp(now_ms)})
    except UnicodeEncodeError:
        return undecodable(Reason.LONE_SURROGATE, "a string holds half a surrogate pair").refusal
    except Refused as refused:
        return refused.refusal
    return read_report(Record(key=None, value=value))


def write_report(report: Report) -> bytes:
    """
    The value of a record of `reports`; its key is the event's id.

    Raises:
        UnwritableError: A field has another type, is too long or empty; the message says which.
    """
    value = msgspec.json.encode(report)
    found = read_report(Record(key=None, value=value))
    if isinstance(found, Refusal):
        raise UnwritableError(found)
    return value


def _check(report: Report) -> None:
    check_moments(Reason.WRONG_TYPE, reported_at=report.reported_at)
    if not report.event_id.strip():
        raise invalid(Reason.INVALID_ID, "event_id is blank")
    if len({one is None for one in (report.prediction_id, report.viewer, report.answer)}) > 1:
        raise invalid(Reason.WRONG_TYPE, "a vote has prediction_id, viewer and answer, and a report has none of them")
