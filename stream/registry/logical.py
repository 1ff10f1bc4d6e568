"""Avro's logical types as JSON: exact decimals and RFC 3339 times, as strings. An unknown or contradictory one is its plain type. Pure."""

import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any

# As for numbers in JSON; the time to write a number grows with the square of its digits.
MOST_DECIMAL_BYTES, MOST_SCALE = 415, 1000
MOST_MICROSECONDS = 24 * 60 * 60 * 1_000_000
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - local timestamps have no zone


class Bytes(bytes):
    """A value of Avro's type `bytes` or `fixed`; where nothing more is known of it, it is base64 in JSON."""

    __slots__ = ()


def decimal(value: Bytes, schema: Mapping[str, Any]) -> str | Bytes:
    r"""
    All digits of a decimal.

    >>> decimal(Bytes(b"\xff\x85"), {"scale": 2}), decimal(Bytes(b"\5"), {})
    ('-1.23', '5')

    Raises:
        ValueError: It has more than a thousand digits.
    """
    scale = schema.get("scale", 0)
    if not isinstance(scale, int) or not 0 <= scale <= MOST_SCALE:
        return value
    if len(value) > MOST_DECIMAL_BYTES:
        msg = f"a decimal has {len(value)} bytes"
        raise ValueError(msg)
    unscaled = int.from_bytes(value, "big", signed=True)
    digits = str(abs(unscaled)).zfill(scale + 1)
    sign = "-" if unscaled < 0 else ""
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}" if scale else sign + digits


def day(value: int, _: Mapping[str, Any]) -> str:
    """
    A date.

    >>> day(20783, {})
    '2026-11-26'

    Raises:
        OverflowError: It is not in the years 1 to 9999.
    """
    return (date(1970, 1, 1) + timedelta(days=value)).isoformat()


def time_of_day(digits: int) -> Callable[[int, Mapping[str, Any]], str]:
    """A time of day with so many digits behind the second: 3 for milliseconds, 6 for microseconds."""

    def read(value: int, _: Mapping[str, Any]) -> str:
        microseconds = value * 10 ** (6 - digits)
        if not 0 <= microseconds < MOST_MICROSECONDS:
            msg = "it is no time of a day"
            raise ValueError(msg)
        return (_EPOCH + timedelta(microseconds=microseconds)).time().isoformat(_SPECS[digits])

    return read


def moment(digits: int, zone: str) -> Callable[[int, Mapping[str, Any]], str]:
    """
    A timestamp; `zone` ends it.

    >>> moment(3, "Z")(1700000000123, {})
    '2023-11-14T22:13:20.123Z'
    """

    def read(value: int, _: Mapping[str, Any]) -> str:
        return (_EPOCH + timedelta(microseconds=value * 10 ** (6 - digits))).isoformat(timespec=_SPECS[digits]) + zone

    return read


def uuid_of(value: Bytes, _: Mapping[str, Any]) -> str | Bytes:
    """
    A UUID of 16 bytes.

    >>> uuid_of(Bytes(bytes(16)), {})
    '00000000-0000-0000-0000-000000000000'
    """
    return str(uuid.UUID(bytes=bytes(value))) if len(value) == 16 else value  # noqa: PLR2004


_SPECS = {3: "milliseconds", 6: "microseconds"}
# By Avro's type and the logical one; a UUID in a string is a string.
LOGICAL: dict[tuple[str, str], Callable[[Any, Mapping[str, Any]], Any]] = {
    ("bytes", "decimal"): decimal,
    ("fixed", "decimal"): decimal,
    ("fixed", "uuid"): uuid_of,
    ("int", "date"): day,
    ("int", "time-millis"): time_of_day(3),
    ("long", "time-micros"): time_of_day(6),
    ("long", "timestamp-millis"): moment(3, "Z"),
    ("long", "timestamp-micros"): moment(6, "Z"),
    ("long", "local-timestamp-millis"): moment(3, ""),
    ("long", "local-timestamp-micros"): moment(6, ""),
}
