"""Texts of none of a user's labels: from a user's file, from people's answers, or tagstream's own texts."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tagstream.model_export.data import corpus, strangers
from tagstream.model_export.data.corpus import CORPUS, NOT_ML
from tagstream.model_export.data.own.read import OwnColumns, read_own
from tagstream.model_export.data.own.rows import OwnRow, OwnRows
from tagstream.model_export.data.own.split import folded
from tagstream.model_export.data.row import Row

# Tagstream's own texts that are not about machine learning: news, goods, notices, questions and other everyday subjects.
GENERIC = "not-ml.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoneTexts:
    """
    Texts of none of the labels.

    Attributes:
        rows: The texts, each once.
        generic: The texts are tagstream's own, because the user gave no texts.
        labelled: The rows of the user's file that were left out because a labelled row has the same text.
        digests: The SHA-256 of the files, by file name.
    """

    rows: tuple[Row, ...]
    generic: bool
    labelled: tuple[OwnRow, ...]
    digests: dict[str, str]


def read_none(path: Path, columns: OwnColumns) -> OwnRows:
    """
    Read a file of texts of none of the labels. A label column is not read: it names other labels.

    Args:
        path: CSV, JSON Lines or Parquet.
        columns: The column names of the user's labelled rows.

    Raises:
        RowsError: The file cannot be read, has no title column, or a line is not a row.
    """
    return read_own(path, columns.of_none())


def gather(given: OwnRows | None, said: Iterable[OwnRow], labelled: Sequence[Row]) -> NoneTexts:
    """
    Return the texts of none of the labels, for training a gate. Without the user's texts, return tagstream's own texts.

    Args:
        given: The rows of the user's file of such texts; None without a file.
        said: The rows for which people found none of the labels.
        labelled: The labelled rows. Their texts are left out of the result.
    """
    known = {folded(row.text) for row in labelled}
    rows = [*(given.rows if given is not None else ()), *said]
    texts = {folded(own.row.text): own.row for own in rows if own.row.text.strip() and folded(own.row.text) not in known}
    if texts:
        return NoneTexts(
            rows=tuple(texts.values()),
            generic=False,
            labelled=tuple(own for own in (given.rows if given is not None else ()) if folded(own.row.text) in known),
            digests={f"none/{name}": digest for name, digest in given.digests.items()} if given is not None else {},
        )
    own = [row for row in corpus.read_corpus(CORPUS) if row.tag == NOT_ML] + strangers.read_neighbours()
    return NoneTexts(
        rows=tuple(row for row in own if folded(row.text) not in known),
        generic=True,
        labelled=(),
        digests=strangers.digests(None) | {GENERIC: hashlib.sha256((CORPUS / GENERIC).read_bytes()).hexdigest()},
    )
