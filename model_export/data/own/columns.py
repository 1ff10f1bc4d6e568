"""The names that a user's file has for the fields of a row."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from model_export.data.own.rows import OwnDataError

# Names that are taken for a field where the file has no column of its own name.
ALSO = {"tag": ("label",)}
REQUIRED = ("title", "tag")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnColumns:
    """
    The column of each field; None where it has the field's own name, and a column that is not there is no field.

    Attributes:
        title: The title or the whole text. Every file has it.
        description: The rest of the text.
        tag: The label; `label` is accepted where the file has no `tag`. Every file has it.
        split: The part of a row: train, calibration or test.
        group: Rows of one group fall into the same part, as the messages of one person should.
        source: The kind of text; figures can be sliced by it.
        id: The id of the row.
        slices: Further columns that figures are sliced by; a field's name stands for its column.
        optional: Fields whose column may be missing even where it was named.
    """

    title: str | None = None
    description: str | None = None
    tag: str | None = None
    split: str | None = None
    group: str | None = None
    source: str | None = None
    id: str | None = None
    slices: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    def of_gold(self) -> "OwnColumns":
        """The same names for rows beside the training file: they have no parts and no groups, and may lack ids and sources."""
        return replace(self, split=None, group=None, optional=("id", "source"))

    def of_file(self, name: str, there: Sequence[str]) -> dict[str, str]:
        """
        The column of each field that a file has.

        Args:
            name: The file's name, for the error.
            there: Its columns.

        Raises:
            OwnDataError: A column that was named or that every file has is not there.

        >>> OwnColumns(title="subject").of_file("a.csv", ["id", "subject", "label"])
        {'title': 'subject', 'tag': 'label', 'id': 'id'}
        """
        found = {}
        for field in fields(self):
            if field.name in {"slices", "optional"}:
                continue
            given = getattr(self, field.name)
            names = (field.name, *ALSO.get(field.name, ())) if given is None else (given,)
            column = next((each for each in names if each in there), None)
            if column is not None:
                found[field.name] = column
            elif field.name in REQUIRED or (given is not None and field.name not in self.optional):
                raise _missing(name, names[0], field.name, there)
        for column in self.slices:
            if column not in there and column not in found:
                raise _missing(name, column, "slice", there)
        return found


def _missing(name: str, column: str, field: str, there: Sequence[str]) -> OwnDataError:
    shown = ", ".join(there) or "none"
    separator = next((said for sign, said in ((";", "';'"), ("\t", "tabs")) if len(there) == 1 and sign in there[0]), None)
    step = f"separate the columns by commas, not by {separator}." if separator else f"name the column: --{field} NAME."
    return OwnDataError(f"{name} has no column {column!r} (columns: {shown}). Next: {step}")
