"""Typed fields of a JSON object: the types that several records share, and the words on a field that has another one."""

import re
from datetime import datetime
from typing import Annotated, TypeVar

import msgspec

from monitoring.vocabulary import MAX_NAME_CHARACTERS, Reason
from stream.contract.limits import DEFAULT_LIMITS
from stream.contract.parsing.strict_json import Fields
from stream.contract.refusal import invalid

MAX_NOTE_CHARACTERS = 2_000
MAX_VERSION = 1_000_000
# The published schema takes more. So many answers on one event no people give, and whoever reads one takes no more.
MOST_ANSWERS = 10_000
# The form of every time of ours, so that the order of the texts is the order of the times.
_MOMENT = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"
_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_VALUE_IN_MESSAGE = re.compile(r"^(Invalid enum value) .*?( - at `\$[^`]*`)?$", re.DOTALL)

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
"""A probability, 0 to 1."""
EventId = Annotated[str, msgspec.Meta(min_length=1, max_length=DEFAULT_LIMITS.max_id_characters)]
PersonName = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_CHARACTERS, pattern=r"\S")]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_CHARACTERS)]
Note = Annotated[str, msgspec.Meta(max_length=MAX_NOTE_CHARACTERS)]
Uuid = Annotated[str, msgspec.Meta(pattern=_UUID)]
Moment = Annotated[str, msgspec.Meta(pattern=_MOMENT)]
"""RFC 3339 in UTC with milliseconds, as `timestamp` writes it."""
Version = Annotated[int, msgspec.Meta(ge=1, le=MAX_VERSION)]

Wanted = TypeVar("Wanted")


def typed(value: bytes, wanted: type[Wanted], reason: Reason = Reason.WRONG_TYPE) -> Wanted:
    """
    The JSON object in `value` as a struct; fields that the struct does not name are ignored, unless it forbids them.

    Raises:
        Refused: A field is missing or has another type; the message names the field and never a value.
    """
    try:
        return msgspec.json.decode(value, type=wanted)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(reason, fault(error)) from None


def typed_fields(fields: Fields, wanted: type[Wanted], reason: Reason = Reason.WRONG_TYPE) -> Wanted:
    """As `typed`, of fields that were parsed before."""
    return typed(msgspec.json.encode(fields), wanted, reason)


def fault(error: Exception) -> str:
    """
    The words of msgspec on a value that it refused, without the value.

    >>> fault(msgspec.ValidationError("Invalid enum value 'their words' - at `$.asked_by`"))
    'Invalid enum value - at `$.asked_by`'
    """
    return _VALUE_IN_MESSAGE.sub(lambda found: f"{found[1]}{found[2] or ''}", str(error))


def milliseconds(moment: str) -> int:
    """
    Unix milliseconds of a time in the form of `Moment`.

    Raises:
        ValueError: It has the form and is no time, such as the 31st of February.

    >>> milliseconds("2023-11-14T22:13:20.123Z")
    1700000000123
    """
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def check_version(version: int, reason: Reason) -> None:
    """
    Can people have answered so often?

    Raises:
        Refused: They cannot. Above such a version no correction would hold.
    """
    if version > MOST_ANSWERS:
        raise invalid(
            reason, f"version {version} is more answers on one event than the {MOST_ANSWERS} that people can have given"
        )


def check_moments(reason: Reason, **moments: str) -> None:
    """
    Are these real times? Their form was checked before.

    Raises:
        Refused: One is not; the message names its field.
    """
    for name, moment in moments.items():
        try:
            milliseconds(moment)
        except ValueError:
            raise invalid(reason, f"{name} is no time of the calendar") from None
