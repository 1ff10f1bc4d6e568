"""The types of fields that several records share, and their bounds."""

from typing import Annotated

import msgspec

from tagstream.model_export.bundle.limits import MAX_NAME_CHARACTERS
from tagstream.stream.contract.event import DEFAULT_LIMITS

MAX_NOTE_CHARACTERS = 2_000
# Longer names of producers are cut to this length before they are compared.
MAX_SOURCE_CHARACTERS = 100
MAX_VERSION = 1_000_000
# The sum of the squares of so many such numbers is a number too.
MAX_MEASURE = 1e12
# The most answers on one event that a reader accepts: more than people can give. The published schema has no such bound.
MOST_ANSWERS = 10_000
# The form of all our times: the order of the texts is the order of the times.
_MOMENT = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"
_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
"""A probability, 0 to 1."""
Asked = Annotated[float, msgspec.Meta(gt=0, le=1)]
"""The probability that a person is asked about such an event: above 0, to 1."""
EventId = Annotated[str, msgspec.Meta(min_length=1, max_length=DEFAULT_LIMITS.max_id_characters)]
PersonName = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_CHARACTERS, pattern=r"\S")]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_CHARACTERS)]
Note = Annotated[str, msgspec.Meta(max_length=MAX_NOTE_CHARACTERS)]
Uuid = Annotated[str, msgspec.Meta(pattern=_UUID)]
AskToken = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{24}$")]
ViewerDigest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$")]
Moment = Annotated[str, msgspec.Meta(pattern=_MOMENT)]
"""RFC 3339 in UTC with milliseconds, as `timestamp` writes it."""
OutcomeName = Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$(?!\n)")]
"""What a consumer measures: letters, digits, `_`, `.` and `-`."""
Measure = Annotated[float, msgspec.Meta(ge=-MAX_MEASURE, le=MAX_MEASURE)]
Version = Annotated[int, msgspec.Meta(ge=1, le=MAX_VERSION)]
