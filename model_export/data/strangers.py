"""
Texts that are not about machine learning: some of the project's own, and real ones from a folder that the setting `real` names.

The real texts are other people's and are never copied into the project. `corpus/real/strangers.toml` says which sources are learned from,
and which are only measured on. The project's own, in `corpus/strangers`, are neighbours of the subject: servers, databases, tools,
photographs, robots' hardware, languages and their study.
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
    The permitted use of a source; each is named by the beginning of the `source` of its rows.

    Attributes:
        held_out: No row of it is learned from, and none chooses anything.
        title_only: Descriptions are not learned from.
    """

    held_out: tuple[str, ...]
    title_only: tuple[str, ...]

    def is_held_out(self, source: str) -> bool:
        """
        Are the texts of this source kept for measuring?

        >>> StrangerSources(held_out=("a/b:texts/news",), title_only=()).is_held_out("a/b:texts/news_one.txt")
        True
        """
        return names(self.held_out, source) or source.startswith(tuple(f"{beginning}_" for beginning in self.held_out))


class Neighbour(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line of the project's own texts: a title and its kind."""

    title: str
    kind: str


def read_neighbours(folder: Path = NEIGHBOURS) -> list[Row]:
    """
    The project's own texts, in the order of file names and lines.

    Args:
        folder: The folder with the `*.jsonl` files.

    Raises:
        DataError: There are none, or a line is none; the message names file and line.
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
    The texts of the sources that are learned from, or those of the others; each with its kind as a column.

    Args:
        folder: The folder with `not_ml.csv.gz`; without it there are no rows.
        sheets: The folder with the list of sources.
        held_out: The texts that are only measured on.

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
    The SHA-256 of the project's own files and of the real texts, by name; a manifest keeps them.

    Args:
        folder: The folder with `not_ml.csv.gz`, if there is one.
    """
    files = [*sorted(NEIGHBOURS.glob("*.jsonl")), *([] if folder is None else [folder / TEXTS])]
    return {path.name: hashlib.sha256(read_whole(path)).hexdigest() for path in files}


def _sources(path: Path) -> StrangerSources:
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), type=StrangerSources)
    except (OSError, ValueError) as error:
        msg = f"{path} does not name the sources: {error}. Next: restore the file."
        raise DataError(msg) from error
