"""Which dead letters a command means: its arguments as people write them, and the filter that they make. Pure."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from stream.contract.dead_letter import DeadLetter, Place

_PLACE = re.compile(r"(\d{1,9})/(\d{1,18})", re.ASCII)
_DURATION = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class UsageError(Exception):
    """An argument cannot be used: the message says which, why, and what to write instead."""

    exit_code = 2


def place(text: str) -> Place:
    """
    The place that PARTITION/OFFSET means.

    Raises:
        UsageError: The text has another form.

    >>> place("3/42")
    Place(partition=3, offset=42)
    """
    found = _PLACE.fullmatch(text.strip())
    if found is None:
        msg = f"{text!r} is not the place of a dead letter. Next: write PARTITION/OFFSET as `tagstream dlq list` prints it, such as 3/42."
        raise UsageError(msg)
    return Place(partition=int(found[1]), offset=int(found[2]))


def since_ms(text: str, now_ms: int) -> int:
    """
    The moment that a text means, in Unix milliseconds: a duration before `now_ms` (`90s`, `15m`, `2h`, `7d`) or an RFC 3339 time.

    Raises:
        UsageError: The text is neither.

    >>> since_ms("2h", 10_000_000), since_ms("1970-01-01T00:00:01Z", 0)
    (2800000, 1000)
    """
    duration = _DURATION.fullmatch(text.strip())
    try:
        if duration is not None:
            before = timedelta(**{_UNITS[duration[2]]: int(duration[1])})
            return max(0, now_ms - int(before.total_seconds() * 1000))
        moment = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        moment = None
    # A time without a UTC offset is another moment in another time zone.
    if moment is None or moment.tzinfo is None:
        msg = f"{text!r} is neither a duration nor a time. Next: write 90s, 15m, 2h or 7d, or an RFC 3339 time such as 2026-03-01T03:00:00Z."
        raise UsageError(msg)
    return max(0, int(moment.timestamp() * 1000))


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """
    A filter of dead letters; a field that is None or empty takes all.

    Attributes:
        code: Takes dead letters with this code.
        stage: Takes dead letters of this stage.
        since_ms: Takes dead letters written at or after this moment, Unix milliseconds.
        partition: Takes dead letters in this partition of their topic.
        most: Takes this many at most, the first by partition and offset.
        places: Takes the dead letters at these places.
    """

    code: str | None = None
    stage: str | None = None
    since_ms: int | None = None
    partition: int | None = None
    most: int | None = None
    places: tuple[Place, ...] = ()

    def takes(self, letter: DeadLetter) -> bool:
        """Whether the filter takes this dead letter; `most` is left to the caller."""
        return (
            (self.code is None or letter.code == self.code)
            and (self.stage is None or letter.stage == self.stage)
            and (self.since_ms is None or letter.timestamp_ms >= self.since_ms)
            and (self.partition is None or letter.place.partition == self.partition)
            and (not self.places or letter.place in self.places)
        )
