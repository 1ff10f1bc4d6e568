"""The labelled rows and the frozen rule that says which of them may be learned from, calibrated on, or only measured on.

    train         most of dataset.csv, the corpus topics that fall to training, and the plain titles of the lexicon
    calibration   a held-back part of dataset.csv, and the corpus topics that fall to calibration; also chooses models
    holdout       holdout.csv: gold. Never trained on, never used to choose anything
    corpus_test   the corpus topics that fall to testing; as gold as the holdout
    unlabelled    texts without a class that a network may imitate another on: the corpus' `not-ml` rows, and the titles alone of what is
                  learned from

A corpus topic never straddles two parts: rows of one topic share their words, and a row beside its siblings would be
recognised rather than understood.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from model_export.bundle.text import compose, is_described
from model_export.data import lexicon, madewithml
from model_export.data.duplicates import split_near_duplicates
from model_export.data.madewithml import DataError

LABELS = ("computer-vision", "mlops", "natural-language-processing", "other")
NOT_ML = "not-ml"
# The sources of authored rows: borderline on purpose, and plain as a stream has them (files `plain-*.jsonl`).
AUTHORED, PLAIN = "corpus", "plain"
TITLES = "titles"
# Rows for the option of several labels alone, in the corpus' folder of that name: no network is trained, calibrated or measured on them.
PAIRS = "pairs"
REGISTERS = (
    "paper", "repository", "blog", "course", "announcement", "release", "question", "terse", "long", "noisy",
)  # fmt: skip
CORPUS = Path(__file__).parents[1] / "corpus"
TRAIN_SHARE, CALIBRATION_SHARE = 0.70, 0.15
# Rows of dataset.csv, by their topic, that are learned as `other`: speech synthesis and music made as audio, which they call language
# and the guidelines do not. Calibration rows and the holdout keep the labels that they carry.
SOUND_ROWS = frozenset(f"{madewithml.DATASET}:{row}" for row in (403, 529, 686, 920, 1181, 1255, 1721))


class CorpusLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line of a corpus file; `guidelines.md` beside the files says what the fields mean."""

    title: str
    tag: str
    topic: str
    register: str
    description: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """
    One labelled text.

    `described`: it is more than a title, and `title` is that alone. `register`: one of `REGISTERS`, of authored rows only.
    `tags`: every label that it carries, `tag` among them; empty where it carries `tag` alone.
    """

    text: str
    tag: str
    source: str
    topic: str
    described: bool = True
    title: str = ""
    register: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """
    The parts, and what must be recorded of how they came about.

    `pairs`: by part (`train`, `calibration`, `corpus_test`), rows of which most carry two labels; of these topics no other part has rows.
    """

    train: tuple[Row, ...]
    calibration: tuple[Row, ...]
    holdout: tuple[Row, ...]
    corpus_test: tuple[Row, ...]
    unlabelled: tuple[Row, ...]
    near_duplicates_removed: int
    digests: dict[str, str] = field(default_factory=dict)
    pairs: dict[str, tuple[Row, ...]] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Rows a part."""
        parts = ("train", "calibration", "holdout", "corpus_test", "unlabelled")
        return {part: len(getattr(self, part)) for part in parts}

    def as_record(self) -> dict[str, object]:
        """What a manifest says of the rows that something was learned from."""
        return {"rows": self.counts(), "sha256": self.digests, "near_duplicates_removed": self.near_duplicates_removed}


def load(data_folder: Path | None, corpus_folder: Path = CORPUS) -> Splits:
    """
    Read everything there is and split it.

    Args:
        data_folder: The folder with Made With ML's files; without it the authored corpus is used alone.
        corpus_folder: The folder with the authored `*.jsonl` files.

    Raises:
        DataError: A file is missing, differs from its sum, or holds a row that breaks the corpus' rules.
    """
    authored = read_corpus(corpus_folder)
    plain = _plain(corpus_folder / lexicon.LEXICON.name)
    pairs = read_corpus(corpus_folder / PAIRS) if (corpus_folder / PAIRS).is_dir() else []
    given: list[Row] = []
    holdout: list[Row] = []
    digests = _corpus_digests(corpus_folder)
    if data_folder is not None:
        given = _made_with_ml(data_folder, madewithml.DATASET)
        holdout = _made_with_ml(data_folder, madewithml.HOLDOUT)
        digests |= madewithml.SHA256
    return split(authored=authored, given=given, holdout=holdout, plain=plain, pairs=pairs, digests=digests)


def split(
    *,
    authored: Sequence[Row],
    given: Sequence[Row],
    holdout: Sequence[Row],
    digests: dict[str, str],
    plain: Sequence[Row] = (),
    pairs: Sequence[Row] = (),
) -> Splits:
    """Apply the frozen rule; rows that nearly repeat a row they must not have seen are left out and counted."""
    parts: defaultdict[str, list[Row]] = defaultdict(list)
    for row in authored:
        parts["unlabelled" if row.tag == NOT_ML else part_of_topic(row.topic)].append(row)
    for row, part in zip(given, _parts_of_given(given), strict=True):
        parts[part].append(row)
    parts["train"] = [replace(row, tag="other") if row.topic in SOUND_ROWS else row for row in parts["train"]]
    parts["train"].extend(plain)
    parts["unlabelled"].extend(_titles(parts["train"]))
    removed = 0
    for part, guarded in (
        ("corpus_test", holdout),
        ("calibration", [*holdout, *parts["corpus_test"]]),
        ("train", [*holdout, *parts["corpus_test"], *parts["calibration"]]),
        ("unlabelled", [*holdout, *parts["corpus_test"], *parts["calibration"]]),
    ):
        kept, repeated = split_near_duplicates(parts[part], guarded, key=lambda row: row.text)
        parts[part] = kept
        removed += len(repeated)
    return Splits(
        train=tuple(parts["train"]),
        calibration=tuple(parts["calibration"]),
        holdout=tuple(holdout),
        corpus_test=tuple(parts["corpus_test"]),
        unlabelled=tuple(parts["unlabelled"]),
        near_duplicates_removed=removed,
        digests=digests,
        pairs=_pairs(pairs, parts, holdout),
    )


def _pairs(rows: Sequence[Row], parts: Mapping[str, Sequence[Row]], holdout: Sequence[Row]) -> dict[str, tuple[Row, ...]]:
    """The rows by the part of their topic, without those that nearly repeat what their part must not have seen, or was learned from."""
    drawn: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        drawn[part_of_topic(row.topic)].append(replace(row, source=PAIRS))
    gold, learned = [*holdout, *parts["corpus_test"]], parts["train"]
    guarded = {
        "corpus_test": [*learned, *parts["calibration"]],
        "calibration": [*learned, *gold, *drawn["corpus_test"]],
        "train": [*gold, *parts["calibration"], *drawn["corpus_test"], *drawn["calibration"]],
    }
    kept = {
        part: tuple(split_near_duplicates(drawn[part], others, key=lambda row: row.text)[0]) for part, others in guarded.items()
    }
    return {part: found for part, found in kept.items() if found}


def _titles(rows: Sequence[Row]) -> list[Row]:
    """
    The titles of described rows: what a label says of the whole, it need not say of the title.

    Their tag is that of the row, for the record; nobody learns it.
    """
    return [
        replace(row, text=compose(row.title, None), source=TITLES, described=False, register=None, tags=())
        for row in rows
        if row.described and row.title
    ]


def part_of_topic(topic: str) -> str:
    """
    The part of the corpus that a topic belongs to, for ever: a hash of its name decides.

    >>> part_of_topic("data-versioning") == part_of_topic("data-versioning")
    True
    """
    place = _place(topic)
    if place < TRAIN_SHARE:
        return "train"
    return "calibration" if place < TRAIN_SHARE + CALIBRATION_SHARE else "corpus_test"


def read_corpus(folder: Path) -> list[Row]:
    """
    Read the authored rows, in the order of file names and lines.

    Raises:
        DataError: There are no rows, or a line breaks the rules; the message names file and line.
    """
    rows: list[Row] = []
    for path in sorted(folder.glob("*.jsonl")):
        for number, raw in enumerate(path.read_bytes().splitlines(), start=1):
            line = _corpus_line(raw, f"{path.name}:{number}")
            text = compose(line.title, line.description)
            rows.append(
                Row(
                    text=text,
                    tag=line.tag,
                    source=PLAIN if path.name.startswith(PLAIN) else AUTHORED,
                    topic=line.topic,
                    described=is_described(line.description),
                    title=line.title,
                    register=line.register,
                    tags=line.tags,
                )
            )
    if not rows:
        msg = f"{folder} holds no *.jsonl rows. Next: give the folder of the authored corpus."
        raise DataError(msg)
    return rows


def _corpus_line(raw: bytes, where: str) -> CorpusLine:
    try:
        line = msgspec.json.decode(raw, type=CorpusLine)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        msg = f"{where} is not a corpus row: {error}. Next: see corpus/guidelines.md for the fields."
        raise DataError(msg) from error
    wrong = {
        f"tag {line.tag!r} is none of {LABELS} and not {NOT_ML!r}": line.tag not in {*LABELS, NOT_ML},
        f"register {line.register!r} is none of {REGISTERS}": line.register not in REGISTERS,
        f"tags {line.tags!r} name an unknown label": not set(line.tags) <= {*LABELS, NOT_ML},
        f"tags {line.tags!r} lack the tag {line.tag!r}": bool(line.tags) and line.tag not in line.tags,
        "title is empty": not line.title.strip(),
        "topic is empty": not line.topic.strip(),
    }
    for rule, broken in wrong.items():
        if broken:
            msg = f"{where} breaks the corpus' rules: {rule}. Next: see corpus/guidelines.md."
            raise DataError(msg)
    return line


def _plain(path: Path) -> list[Row]:
    """The lexicon's rows; another corpus may come without one."""
    if not path.is_file():
        return []
    try:
        made = lexicon.rows(path)
    except (OSError, ValueError) as error:
        msg = f"{path} is not a lexicon: {error}. Next: see corpus/guidelines.md for its shape."
        raise DataError(msg) from error
    return [
        Row(
            text=compose(row.title, row.description),
            tag=row.tag,
            source="lexicon",
            topic=row.topic,
            described=is_described(row.description),
        )
        for row in made
    ]


def _made_with_ml(folder: Path, name: str) -> list[Row]:
    rows = madewithml.records(folder, name)
    return [
        Row(
            text=compose(row["title"], row["description"]),
            tag=row["tag"],
            source="madewithml",
            topic=f"{name}:{row['id']}",
            described=is_described(row["description"]),
            title=row["title"],
        )
        for row in rows
    ]


def _parts_of_given(rows: Sequence[Row]) -> list[str]:
    """Hold back the rows of each class whose hash is lowest, so that the classes keep their shares."""
    by_tag: defaultdict[str, list[int]] = defaultdict(list)
    for position, row in enumerate(rows):
        by_tag[row.tag].append(position)
    held_back: set[int] = set()
    for positions in by_tag.values():
        ordered = sorted(positions, key=lambda position: _place(rows[position].topic))
        held_back.update(ordered[: round(len(ordered) * CALIBRATION_SHARE)])
    return ["calibration" if position in held_back else "train" for position in range(len(rows))]


def _place(name: str) -> float:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def _corpus_digests(folder: Path) -> dict[str, str]:
    paths: Iterable[Path] = sorted([*folder.glob("*.jsonl"), *folder.glob("*.toml")])
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
