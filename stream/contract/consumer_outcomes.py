"""The contract of `outcomes`: what came of a decision, as a consumer measured it. A worker neither reads nor writes this topic."""

from dataclasses import replace

import msgspec

from tagstream.monitoring.vocabulary import Reason
from tagstream.stream.contract.event import DEFAULT_LIMITS, Limits, Record
from tagstream.stream.contract.field_types import EventId, Measure, Moment, OutcomeName
from tagstream.stream.contract.published import check_moments, opened, typed
from tagstream.stream.contract.refusal import Refusal, Refused, UnwritableError, invalid

# Several times the longest outcome with all characters escaped, so that fields of a later version fit too.
MAX_OUTCOME_BYTES = 16 * 1024


class ConsumerOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """
    One measured number, in the order of the wire. Of several on one event and name the latest `at` holds, then the last in the log.

    Attributes:
        event_id: The id of the event whose decision had this outcome.
        name: What was measured, such as `clicks` or `minutes`.
        value: The number, such as 1 for a click and 0 for none.
        at: The time of the measurement, in UTC with milliseconds.
    """

    event_id: EventId
    name: OutcomeName
    value: Measure
    at: Moment


def read_outcome(record: Record, limits: Limits = DEFAULT_LIMITS) -> ConsumerOutcome | Refusal:
    """Read one record of `outcomes`. Returns an outcome or a refusal for any bytes. Fields that the contract does not have are ignored."""
    try:
        opened(record, replace(limits, max_dead_letter_bytes=MAX_OUTCOME_BYTES))
        found = typed(record.value or b"", ConsumerOutcome)
        check_moments(Reason.WRONG_TYPE, at=found.at)
        if not found.event_id.strip():
            raise invalid(Reason.INVALID_ID, "event_id is blank")
    except Refused as refused:
        return refused.refusal
    return found


def write_outcome(outcome: ConsumerOutcome) -> bytes:
    """
    The value of a record of `outcomes`; its key is the event's id.

    Raises:
        UnwritableError: A field has another type, is too long, or is no finite number; the message says which.
    """
    # msgspec writes a number that is not finite as null, which is refused here.
    value = msgspec.json.encode(outcome)
    found = read_outcome(Record(key=None, value=value))
    if isinstance(found, Refusal):
        raise UnwritableError(found)
    return value
