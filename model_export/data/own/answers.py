"""
People's answers beside a user's rows.

    a row has the text    the answer stands above the row's label: the row keeps its place and its part, and gets the answer's label
    no row has it         the answer is a row to learn from, and nothing is calibrated or measured on it
    left out              answers of none of the labels, of labels that the rows lack, repeats, and texts on which answers differ

The model chose which events people were asked about, mostly those that it was unsure of: figures and thresholds that rested on
them would be about other texts than those of the stream. A row of the user's own was not chosen so, whoever labels it.
"""

from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from tagstream.model_export.data import answers
from tagstream.model_export.data.own.read import OWN
from tagstream.model_export.data.own.rows import OwnRow, OwnRows
from tagstream.model_export.data.own.split import folded


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """
    A user's rows under people's answers. Every answer is fresh, of a row, or left out for one reason.

    Attributes:
        rows: The rows with the labels that stand; in the order of their file.
        fresh: The answers about texts that no row has, each text once: rows to learn from.
        of_rows: The answers about texts of rows.
        corrected: The rows, as they were, that an answer gives another label, and the answer's.
        off_subject: The answers that a text has none of the labels.
        unknown: The answers with labels that the rows lack.
        differing: The answers about texts on which two answers differ: none of them stands.
        repeated: The answers that repeat text and label of one before them.
    """

    rows: OwnRows
    fresh: OwnRows
    of_rows: tuple[OwnRow, ...]
    corrected: tuple[tuple[OwnRow, str], ...]
    off_subject: tuple[OwnRow, ...]
    unknown: tuple[OwnRow, ...]
    differing: tuple[OwnRow, ...]
    repeated: tuple[OwnRow, ...]


def read(path: Path) -> OwnRows:
    """
    The answers in a file of `tagstream review --export FILE --form rows`, each with its line.

    Raises:
        DataError: The file cannot be read or is empty, or a line is no row; the message names the line.
    """
    rows = tuple(
        OwnRow(line=number, row=answers.row_of(line, tag=line.tag, source=OWN), id=line.id)
        for number, line in answers.read_lines(path)
    )
    # The rows to learn from may have a file of the same name.
    digests = {f"answers/{name}": digest for name, digest in answers.digest(path).items()}
    return OwnRows(name=str(path), unit="line", rows=rows, digests=digests)


def stand(rows: OwnRows, given: OwnRows) -> Answered:
    """
    Let answers stand above the labels of rows with the same text, and divide the others from those that count for nothing.

    Args:
        rows: The user's rows.
        given: The answers.
    """
    known = set(rows.labels)
    by_text: defaultdict[str, dict[str, OwnRow]] = defaultdict(dict)
    unknown: list[OwnRow] = []
    repeated: list[OwnRow] = []
    for own in given.rows:
        if own.is_labelled and own.row.tag not in known:
            unknown.append(own)
        elif by_text[folded(own.row.text)].setdefault(own.row.tag, own) is not own:
            repeated.append(own)
    standing = {text: next(iter(said.values())) for text, said in by_text.items() if len(said) == 1}
    there = {folded(own.row.text) for own in rows.rows}
    labelled = {text: own for text, own in standing.items() if own.is_labelled}
    pairs = [(own, standing.get(folded(own.row.text), own).row.tag) for own in rows.rows]
    return Answered(
        rows=replace(rows, rows=tuple(_labelled(own, tag) for own, tag in pairs)),
        fresh=replace(given, rows=tuple(own for text, own in labelled.items() if text not in there)),
        of_rows=tuple(own for text, own in labelled.items() if text in there),
        corrected=tuple((own, tag) for own, tag in pairs if tag != own.row.tag),
        off_subject=tuple(own for own in standing.values() if own.is_off_subject),
        unknown=tuple(unknown),
        differing=tuple(own for said in by_text.values() if len(said) > 1 for own in said.values()),
        repeated=tuple(repeated),
    )


def _labelled(own: OwnRow, tag: str) -> OwnRow:
    """The row with this label as its own: in the place of the one that it had, or before it if the row carries both."""
    if tag == own.row.tag:
        return own
    others = [label for label in own.row.tags if label != tag and (tag in own.row.tags or label != own.row.tag)]
    return replace(own, row=replace(own.row, tag=tag, tags=(tag, *others) if others else ()))
