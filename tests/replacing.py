"""`replace` for dataclasses and structs alike, as `copy.replace` of Python 3.13."""

import dataclasses
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def replace(record: T, /, **changes: Any) -> T:
    """
    A copy with other values in these fields.

    >>> from tagstream.stream.contract.event import Record
    >>> replace(Record(key=None, value=b"a"), value=b"b").value
    b'b'
    """
    change: Any = msgspec.structs.replace if isinstance(record, msgspec.Struct) else dataclasses.replace
    return change(record, **changes)  # type: ignore[no-any-return]
