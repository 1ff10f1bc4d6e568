"""
Merge people's answers into a user's rows.

    a row has the text        the answer replaces the row's label; the row keeps its place and its part
    no row has the text       the answer becomes a training row; nothing is calibrated or measured on it
    the answer is left out    answers of none of the labels, labels that the rows lack, repeats, and texts with different answers

The model chose the events that people answered, mostly events of low confidence. So these events are not a representative sample of the
stream, and no figure or threshold may use them. A user's own rows were not chosen by the model, so a row may be used even if its label
comes from an answer.
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
    A user's rows merged with people's answers. Every answer is fresh, of a row, or left out for one reason.

    Attributes:
        rows: The rows with their final labels, in the order of the file.
        fresh: The answers about texts that no row has, each text once. They become training rows.
        of_rows: The answers about texts of rows.
        corrected: The rows whose label an answer changed: the row with its old label, and the answer's label.
        off_subject: The answers that a text has none of the labels.
        unknown: The answers with labels that the rows lack.
        differing: The answers about texts with two or more different answers. None of these answers is used.
        repeated: The answers that repeat the text and the label of an earlier answer.
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
    Read the answers from a file of `tagstream review --export FILE --form rows`, with their line numbers.

    Raises:
        DataError: The file cannot be read or is empty, or a line is not a row. The message names the line.
    """
    rows = tuple(
        OwnRow(line=number, row=answers.row_of(line, tag=line.tag, source=OWN), id=line.id)
        for number, line in answers.read_lines(path)
    )
    # The file of the user's rows may have the same name, so the prefix keeps the two digests apart.
    digests = {f"answers/{name}": digest for name, digest in answers.digest(path).items()}
    return OwnRows(name=str(path), unit="line", rows=rows, digests=digests)


def stand(rows: OwnRows, given: OwnRows) -> Answered:
    """
    Replace the labels of rows that have an answer, and sort all other answers.

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
    """Return the row with `tag` as its first label. The old first label is dropped, unless `tag` was already one of the row's labels."""
    if tag == own.row.tag:
        return own
    others = [label for label in own.row.tags if label != tag and (tag in own.row.tags or label != own.row.tag)]
    return replace(own, row=replace(own.row, tag=tag, tags=(tag, *others) if others else ()))
