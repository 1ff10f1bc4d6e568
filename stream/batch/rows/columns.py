"""The names that a file has for the fields of an event: `--title`, `--description` and `--id` of `send` and `classify`."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import msgspec

from stream.batch.rows.row import Row, RowsError
from stream.contract.limits import DEFAULT_LIMITS
from stream.contract.parsing.strict_json import checked_object, fields_of
from stream.contract.refusal import Refused

NAME_THE_TITLE = (
    "name the columns in the first line, or give JSON Lines with a `title`; `send` and `classify` also take the column's name: "
    "--title NAME, and --description NAME."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """
    The name that each field of an event has in a file, None where it is the field's own.

    >>> Columns(title="Title", description="Body").of_file
    {'Title': 'title', 'Body': 'description'}
    """

    title: str | None = None
    description: str | None = None
    id: str | None = None

    def __post_init__(self) -> None:
        """
        Refuse one name for two fields.

        Raises:
            RowsError: The same name is given twice, or an empty one.
        """
        given = [name for field in fields(self) if (name := getattr(self, field.name)) is not None]
        for name in given:
            if not name or given.count(name) > 1:
                msg = f"{name!r} cannot be the name of {'two fields' if name else 'a field'}. Next: name a column of the file for each."
                raise RowsError(msg)

    @property
    def of_file(self) -> dict[str, str]:
        """The event's field by its name in the file, of those that have another one there."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: field for field, name in given.items() if name not in {None, field}}

    def header(self, name: str, header: Sequence[str]) -> list[str]:
        """
        The header of a CSV file with the event's names.

        Args:
            name: The file's name, for the error.
            header: Its columns.

        Raises:
            RowsError: A column is missing, or there are two for one field.

        >>> Columns(title="Headline").header("a.csv", ["id", "Headline"])
        ['id', 'title']
        """
        shown = ", ".join(header) or "none"
        separated = _other_separator(header)
        for column, field in self.of_file.items():
            if column not in header:
                msg = (
                    f"{name} has no column {column!r}, which --{field} names (columns: {shown}). Next: "
                    f"{separated or 'name one of its columns.'}"
                )
                raise RowsError(msg)
        found = [self.of_file.get(column, column) for column in header]
        if "title" not in found:
            msg = f"{name} has no column 'title' (columns: {shown}). Next: {separated or NAME_THE_TITLE}"
            raise RowsError(msg)
        # Spreadsheets write columns without a name, and mostly without a cell.
        twice = sorted({column for column in found if column and found.count(column) > 1})
        if twice:
            msg = f"{name}: the column {twice[0]!r} is there twice, and of its cells only one could be kept. Next: name each column once."
            raise RowsError(msg)
        return found

    def row(self, name: str, row: Row) -> Row:
        """
        A JSON row with the event's names, its values byte for byte. A row that is no JSON object is left to the decoder.

        Raises:
            RowsError: An object has two fields for one.

        >>> Columns(title="Headline").row("a.jsonl", Row(1, b'{"Headline": "Hi", "n": 1.10}')).value
        b'{"title":"Hi","n":1.10}'
        """
        of_file = self.of_file
        if not of_file:
            return row
        try:
            checked_object(row.value, DEFAULT_LIMITS)
            found = fields_of(row.value)
        except Refused:
            return row
        for column, field in of_file.items():
            if column in found and field in found and field not in of_file:
                msg = (
                    f"{name}, line {row.line}: it has {column!r}, which --{field} names, and {field!r}. Next: keep one of them."
                )
                raise RowsError(msg)
        return Row(row.line, msgspec.json.encode({of_file.get(key, key): value for key, value in found.items()}))


def _other_separator(header: Sequence[str]) -> str:
    """The next step for a header that is one column and holds what other programs separate columns by; else empty."""
    (only, *others) = header or [""]
    found = [said for separator, said in ((";", "';'"), ("\t", "tabs")) if separator in only]
    return f"separate the columns by commas, not by {found[0]}." if found and not others else ""
