"""
Texts that are not about machine learning: the project's own texts, and real texts from the folder that the setting `real` names.

The real texts belong to other people and are never copied into the project. `corpus/real/strangers.toml` lists the sources for training
and the sources that are only for measurement. The project's own texts, in `corpus/strangers`, are about subjects near machine learning:
servers, databases, tools, photographs, robot hardware, languages and linguistics.
"""

import hashlib
import tomllib
from pathlib import Path

import msgspec

from tagstream.model_export.bundle.files import read_whole
from tagstream.model_export.bundle.text import compose, is_described
from tagstream.model_export.data.corpus import CORPUS, NOT_ML
from tagstream.model_export.data.madewithml import DataError
from tagstream.model_export.data.real import SHEETS, names, read_packed
from tagstream.model_export.data.row import Row

TEXTS = "not_ml.csv.gz"
SOURCES = "strangers.toml"
STRANGERS = "strangers"
NEIGHBOURS = CORPUS / "strangers"
# The source of the project's own texts.
AUTHORED = "neighbours"


class StrangerSources(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    The permitted uses of the sources. A source is named by the beginning of the `source` field of its rows.

    Attributes:
        held_out: Sources that are not used for training or for any choice.
        title_only: Sources whose descriptions are not used for training.
    """

    held_out: tuple[str, ...]
    title_only: tuple[str, ...]

    def is_held_out(self, source: str) -> bool:
        """
        Return True if the texts of a source are only for measurement.

        >>> StrangerSources(held_out=("a/b:texts/news",), title_only=()).is_held_out("a/b:texts/news_one.txt")
        True
        """
        return names(self.held_out, source) or source.startswith(tuple(f"{beginning}_" for beginning in self.held_out))


class Neighbour(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line of the project's own texts: a title and the kind of text."""

    title: str
    kind: str


def read_neighbours(folder: Path = NEIGHBOURS) -> list[Row]:
    """
    Read the project's own texts, in the order of file names and lines.

    Args:
        folder: The folder with the `*.jsonl` files.

    Raises:
        DataError: The folder has no texts, or a line is invalid. The message names the file and the line.
    """
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        for number, raw in enumerate(path.read_bytes().splitlines(), start=1):
            try:
                line = msgspec.json.decode(raw, type=Neighbour)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                msg = f"{path.name}:{number} is no neighbour: {error}. Next: give it a title and a kind."
                raise DataError(msg) from error
            found.append(
                Row(
                    text=compose(line.title, None),
                    tag=NOT_ML,
                    source=AUTHORED,
                    topic=f"{AUTHORED}:{line.kind}",
                    described=False,
                    title=line.title,
                )
            )
    if not found:
        msg = f"{folder} holds no texts. Next: restore the folder."
        raise DataError(msg)
    return found


def read_strangers(folder: Path | None, sheets: Path = SHEETS, *, held_out: bool) -> list[Row]:
    """
    Read the real texts for training or the real texts for measurement. Each row has the columns `kind` and `source`.

    Args:
        folder: The folder with `not_ml.csv.gz`; None: return no rows.
        sheets: The folder with the list of sources.
        held_out: True: the texts for measurement; False: the texts for training.

    Raises:
        DataError: A file cannot be read, or lacks a column or a list.
    """
    if folder is None:
        return []
    sources = _sources(sheets / SOURCES)
    found = []
    for title, description, source, kind in read_packed(folder / TEXTS, "title", "description", "source", "kind"):
        if sources.is_held_out(source) is not held_out:
            continue
        told = "" if not held_out and names(sources.title_only, source) else description
        found.append(
            Row(
                text=compose(title, told),
                tag=NOT_ML,
                source=STRANGERS,
                # Rows of one repository resemble each other.
                topic=f"{STRANGERS}:{source.partition(':')[0]}",
                described=is_described(told),
                title=title,
                columns=(("kind", kind), ("source", source)),
            )
        )
    return found


def digests(folder: Path | None) -> dict[str, str]:
    """
    Return the SHA-256 of the project's own files and of the real texts, by file name, for a manifest.

    Args:
        folder: The folder with `not_ml.csv.gz`; None: only the project's own files.
    """
    files = [*sorted(NEIGHBOURS.glob("*.jsonl")), *([] if folder is None else [folder / TEXTS])]
    return {path.name: hashlib.sha256(read_whole(path)).hexdigest() for path in files}


def _sources(path: Path) -> StrangerSources:
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), type=StrangerSources)
    except (OSError, ValueError) as error:
        msg = f"{path} does not name the sources: {error}. Next: restore the file."
        raise DataError(msg) from error
