"""`tagstream contract check`: for each row, the outcome that a worker would give it before any model is asked."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec
from rich.text import Text

from stream.batch.look import Look
from stream.batch.rows.row import Row
from stream.contract.events import ContentEvent
from stream.contract.publication import DECISION_FIELDS
from stream.contract.refusal import Refusal
from stream.contract.schema.events import written
from stream.terminal.console import visible

OF_THE_CONTRACT = frozenset(written()["properties"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """
    What would become of one row.

    Attributes:
        row: The row.
        number: Its place among the rows, from 0.
        found: The event that is decided, or why there is none: a dead letter.
    """

    row: Row
    number: int
    found: ContentEvent | Refusal

    @property
    def id_is_made(self) -> bool:
        """Whether the event has no id, so that one is made from its bytes."""
        made = isinstance(self.found, ContentEvent) and self.found.id.startswith("sha256-")
        return made and isinstance(self.found, ContentEvent) and self.found.id.encode() not in self.row.value

    @property
    def moved(self) -> list[str]:
        """The fields that have a name of ours, and so move into `overridden`."""
        return [name for name in self._fields if name in DECISION_FIELDS]

    @property
    def passed_on(self) -> list[str]:
        """The other fields that the contract does not name: they are published as they came."""
        return [name for name in self._fields if name not in DECISION_FIELDS | OF_THE_CONTRACT]

    @property
    def line(self) -> bytes:
        """As `--json` prints it, a JSON object."""
        place: dict[str, object] = {"line": self.row.line, "row": self.number, "valid": isinstance(self.found, ContentEvent)}
        if isinstance(self.found, Refusal):
            refusal = self.found
            error = {"stage": refusal.stage.value, "code": refusal.reason.value, "message": refusal.message}
            return msgspec.json.encode(place | {"error": error})
        said = {"id": self.found.id, "id_is_made": self.id_is_made, "overridden": self.moved, "passed_on": self.passed_on}
        return msgspec.json.encode(place | said)

    @property
    def shown(self) -> Text:
        """As a person reads it, a line."""
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


def check(rows: Iterable[Row], look: Look) -> Iterator[Checked]:
    """
    Every row with what would become of it, in order; `look` counts faults and repeated ids.

    Raises:
        RowsError: The rows end in an error; it is raised behind the rows before it.
    """
    for number, row in enumerate(rows):
        yield Checked(row=row, number=number, found=look.judge(row))
