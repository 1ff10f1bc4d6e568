"""
Checks rows with the worker's own decoder and without a model. It finds refusals, rows without a key, and repeated ids.

`tagstream send` checks rows before it sends them. `tagstream contract check` shows the result for each row. Memory is bounded: all
faults and repetitions are counted, only the first few are kept, and only the last `REMEMBER` ids are remembered.
"""

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec
from rich.text import Text

from tagstream.model_export.data.reader import InputRow
from tagstream.monitoring.vocabulary import Reason
from tagstream.stream.contract.event import ContentEvent, Limits, Record, decode
from tagstream.stream.contract.outcome import DECISION_FIELDS
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.contract.schema.events import written
from tagstream.stream.terminal.console import visible
from tagstream.stream.terminal.text import counted

SHOWN = 5
# The most ids that are remembered. An id takes about 150 bytes.
REMEMBER = 200_000
NO_KEY = "no_key"
# The reasons for refusing lines of a plain text, or of a file of another format.
NOT_JSON_LINES = frozenset({Reason.INVALID_UTF8, Reason.INVALID_JSON, Reason.NOT_AN_OBJECT})
EXPECTED = "Expected are JSON Lines, an object with a `title` in each line, or CSV whose first line names a column `title`."
ARRAY = "The input begins with `[`, as a JSON array does: `jq -c '.[]' FILE` prints the objects of an array as JSON Lines."
ELSEWHERE = "Where a title lies elsewhere, --title names its column, and the setting fields.title its place in an event."
OF_THE_CONTRACT = frozenset(written()["properties"])


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """
    A row that is not an event: its `line` from 1, the `code` of its dead letter (or `no_key`), and a `message`.

    The message does not quote the row.
    """

    line: int
    code: str
    message: str

    def __str__(self) -> str:
        """Return the text for people."""
        return f"line {self.line}: {self.code} ({self.message})"


def form(row: InputRow, refusal: Refusal | None) -> str:
    """Return a hint on the form of rows if a row was refused because it is not a JSON object or has no title; else empty."""
    if refusal is not None and refusal.reason is Reason.MISSING_TITLE:
        return ELSEWHERE
    if refusal is None or refusal.reason not in NOT_JSON_LINES:
        return ""
    return ARRAY if row.value.lstrip().startswith(b"[") else EXPECTED


class RowSurvey:
    """
    The faults and repeated ids of the rows so far.

    Attributes:
        rows: The number of rows.
        faults: The first faults.
        codes: The number of all faults by code.
        repeats: The first repeated ids, each as the line of the row and the line of the earlier row with its id.
        repeated: The number of rows that repeat an id.
    """

    def __init__(self, limits: Limits, key_field: str | None = None) -> None:
        """
        Begin without rows.

        Args:
            limits: The worker's limits.
            key_field: The field whose value is the record's key; None: records have no key.
        """
        self._limits = limits
        self._key_field = key_field
        self._lines: OrderedDict[bytes, int] = OrderedDict()
        self._hint = ""
        self.rows = self.repeated = 0
        self.faults: list[BadRow] = []
        self.codes: Counter[str] = Counter()
        self.repeats: list[tuple[int, int]] = []

    def at(self, row: InputRow) -> tuple[Record, BadRow | None]:
        """Return the record of a row, and its fault; None if the row is an event."""
        self.rows += 1
        key = None if self._key_field is None else key_of(row.value, self._key_field)
        record = Record(key=key, value=row.value)
        found = decode(record, self._limits)
        if isinstance(found, ContentEvent) and self._key_field is not None and key is None:
            message = f"the field {self._key_field!r} holds no text and no number to be the key"
            return record, self._fault(BadRow(line=row.line, code=NO_KEY, message=message))
        return record, self._noted(row, found)

    def judge(self, row: InputRow) -> ContentEvent | Refusal:
        """Return the event that a worker would decode from a row, or its refusal."""
        self.rows += 1
        found = decode(Record(key=None, value=row.value), self._limits)
        self._noted(row, found)
        return found

    @property
    def form(self) -> str:
        """A hint on the form of rows if a row was not a JSON object or had no title; else empty."""
        return self._hint

    @property
    def listed(self) -> str:
        """The first faults, one per line, then the number of the other faults and the numbers of all faults by code."""
        lines = [f"  {fault}" for fault in self.faults]
        more = self.codes.total() - len(self.faults)
        if more:
            by_code = ", ".join(f"{count} {code}" for code, count in self.codes.most_common())
            lines.append(f"  and {more} more; of all: {by_code}")
        return "\n".join(lines)

    @property
    def no_events(self) -> str:
        """The number of rows that are not events, as in "1 of 3 rows is no event"."""
        found = self.codes.total()
        return f"{found} of {counted(self.rows, 'row')} {'is no event' if found == 1 else 'are no events'}"

    @property
    def repetition(self) -> str | None:
        """A sentence on repeated ids; None if there are none."""
        if not self.repeated:
            return None
        shown = ", ".join(f"line {line} that of line {earlier}" for line, earlier in self.repeats)
        more = f" and {self.repeated - len(self.repeats)} more" if self.repeated > len(self.repeats) else ""
        return (
            f"warning: {self.repeated} of {counted(self.rows, 'row')} repeat{'s' * (self.repeated == 1)} the id of an earlier row "
            f"({shown}{more}). Consumers take events with one id for one event; rows without an id and with the same bytes have the same id. Next: give each event an id "
            f"of its own."
        )

    def _noted(self, row: InputRow, found: ContentEvent | Refusal) -> BadRow | None:
        if isinstance(found, Refusal):
            self._hint = self._hint or form(row, found)
            return self._fault(BadRow(line=row.line, code=found.reason.value, message=found.message))
        self._remember(found.id, row.line)
        return None

    def _fault(self, fault: BadRow) -> BadRow:
        self.codes[fault.code] += 1
        if len(self.faults) < SHOWN:
            self.faults.append(fault)
        return fault

    def _remember(self, event_id: str, line: int) -> None:
        digest = hashlib.blake2b(event_id.encode(), digest_size=16).digest()
        earlier = self._lines.get(digest)
        if earlier is None:
            self._lines[digest] = line
            if len(self._lines) > REMEMBER:
                self._lines.popitem(last=False)
            return
        self.repeated += 1
        if len(self.repeats) < SHOWN:
            self.repeats.append((line, earlier))


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """
    The result for one row.

    Attributes:
        row: The row.
        number: The row's number, from 0.
        found: The event that a worker would decide, or the refusal of the dead letter.
    """

    row: InputRow
    number: int
    found: ContentEvent | Refusal

    @property
    def id_is_made(self) -> bool:
        """True if the event has no id of its own, so that an id is made from its bytes."""
        made = isinstance(self.found, ContentEvent) and self.found.id.startswith("sha256-")
        return made and isinstance(self.found, ContentEvent) and self.found.id.encode() not in self.row.value

    @property
    def moved(self) -> list[str]:
        """The fields that have the name of a decision's field, and so move into `overridden`."""
        return [name for name in self._fields if name in DECISION_FIELDS]

    @property
    def passed_on(self) -> list[str]:
        """The other fields that the contract does not name. They are published unchanged."""
        return [name for name in self._fields if name not in DECISION_FIELDS | OF_THE_CONTRACT]

    @property
    def line(self) -> bytes:
        """The JSON object that `--json` prints."""
        place: dict[str, object] = {"line": self.row.line, "row": self.number, "valid": isinstance(self.found, ContentEvent)}
        if isinstance(self.found, Refusal):
            refusal = self.found
            error = {"stage": refusal.stage.value, "code": refusal.reason.value, "message": refusal.message}
            return msgspec.json.encode(place | {"error": error})
        said = {"id": self.found.id, "id_is_made": self.id_is_made, "overridden": self.moved, "passed_on": self.passed_on}
        return msgspec.json.encode(place | said)

    @property
    def shown(self) -> Text:
        """The line for people."""
        place = f"  line {self.row.line}  "
        if isinstance(self.found, Refusal):
            words = f"{self.found.reason.value} ({self.found.stage.value}): {self.found.message}"
            return Text.assemble(("dead letter", "bold red"), place, words)
        said = [f"id {visible(self.found.id)}" + (" (made from its bytes)" if self.id_is_made else "")]
        if self.moved:
            said.append(f"into overridden: {', '.join(self.moved)}")
        if self.passed_on:
            said.append(f"passed on: {visible(', '.join(self.passed_on))}")
        return Text.assemble(("decided", "green"), "    ", place, "; ".join(said))

    @property
    def _fields(self) -> list[str]:
        return [] if isinstance(self.found, Refusal) else list(self.found.fields)


def check(rows: Iterable[InputRow], look: RowSurvey) -> Iterator[Checked]:
    """
    Yield the result for each row, in order. `look` counts faults and repeated ids.

    Raises:
        RowsError: The rows end in an error. It is raised after the rows before it.
    """
    for number, row in enumerate(rows):
        yield Checked(row=row, number=number, found=look.judge(row))


def key_of(value: bytes, field: str) -> bytes | None:
    """
    Return the key in a field of a JSON object: a string's text, or a number as it is written. None for any other value.

    >>> key_of(b'{"user": "u-1", "n": 1.10, "none": null, "empty": ""}', "user")
    b'u-1'
    >>> [key_of(b'{"n": 1.10, "none": null, "empty": ""}', name) for name in ("n", "none", "empty", "missing")]
    [b'1.10', None, None, None]
    """
    try:
        raw = msgspec.json.decode(value, type=dict[str, msgspec.Raw]).get(field)
        found = None if raw is None else msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(found, str):
        return found.encode() or None
    return bytes(raw) if raw is not None and isinstance(found, int | float) and not isinstance(found, bool) else None
