"""The labelled rows and the frozen rule that says which of them may be learned from, calibrated on, or only measured
on.

    train         most of dataset.csv, the corpus topics that fall to training, the plain titles of the lexicon, what people
                  answered where a file of it is given, and labelled real titles where their folder is given
    calibration   a held-back part of dataset.csv, the corpus topics that fall to calibration, and as many sources of real
                  titles; also chooses models
    holdout       holdout.csv: gold. Never trained on, never used to choose anything
    corpus_test   the corpus topics that fall to testing; as gold as the holdout
    unlabelled    texts without a class on which a network may imitate another: the corpus' `not-ml` rows, and the titles
                  alone of training rows, and real titles that nobody labelled

A corpus topic never straddles two parts: rows of one topic share their words, and a row beside its siblings would be
recognised rather than understood.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tagstream.model_export.bundle.text import compose
from tagstream.model_export.data import answers, corpus, madewithml, real
from tagstream.model_export.data.corpus import CORPUS, NOT_ML, PAIRS
from tagstream.model_export.data.duplicates import split_near_duplicates
from tagstream.model_export.data.row import Row

TITLES = "titles"
TRAIN_SHARE, CALIBRATION_SHARE = 0.70, 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """
    The parts, and the record of how they came about.

    Attributes:
        near_duplicates_removed: Rows left out because they nearly repeat a row that their part must not have seen.
        digests: The SHA-256 of every file, by its name.
        gold_digests: The same of a user's file that is only measured on.
        pairs: By part (`train`, `calibration`, `corpus_test`), rows of which most carry two labels; they have topics of
            their own.
        version: The name that the user gives to this version of the rows; empty if there is none.
        listed: The SHA-256 of the list of a user's rows (`own.row_list`); empty if there is none.
    """

    train: tuple[Row, ...]
    calibration: tuple[Row, ...]
    holdout: tuple[Row, ...]
    corpus_test: tuple[Row, ...]
    unlabelled: tuple[Row, ...]
    near_duplicates_removed: int
    digests: dict[str, str] = field(default_factory=dict)
    gold_digests: dict[str, str] = field(default_factory=dict)
    pairs: dict[str, tuple[Row, ...]] = field(default_factory=dict)
    version: str = ""
    listed: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the rows that are learned from, calibrated on and measured on, in alphabetical order."""
        labelled = (*self.train, *self.calibration, *self.holdout, *self.corpus_test)
        return tuple(sorted({row.tag for row in labelled}))

    def counts(self) -> dict[str, int]:
        """The number of rows, by part."""
        parts = ("train", "calibration", "holdout", "corpus_test", "unlabelled")
        return {part: len(getattr(self, part)) for part in parts}

    def as_record(self) -> dict[str, object]:
        """The record of these rows in a manifest."""
        optional = {"gold_sha256": self.gold_digests, "version": self.version, "listed": self.listed}
        return {
            "rows": self.counts(),
            "sha256": self.digests,
            **{name: found for name, found in optional.items() if found},
            "near_duplicates_removed": self.near_duplicates_removed,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """
    The folders with rows that are not in the project.

    Attributes:
        data: Made With ML's files; None: there are none, and no holdout.
        real: The texts of real titles; None: none is learned from.
    """

    data: Path | None
    real: Path | None = None


def load(
    data_folder: Path | None,
    corpus_folder: Path = CORPUS,
    answers_file: Path | None = None,
    *,
    real_folder: Path | None = None,
) -> Splits:
    """
    Read all files and split their rows.

    Args:
        data_folder: The folder with Made With ML's files; without it the authored corpus is used alone.
        corpus_folder: The folder with the authored `*.jsonl` files.
        answers_file: Rows that people's answers gave. All are learned from and none is measured on, so that figures stay comparable.
        real_folder: The folder with the texts of real titles; without it there are none.

    Raises:
        DataError: A file is missing, differs from its sum, or holds a row that breaks the corpus' rules.
    """
    given: list[Row] = []
    holdout: list[Row] = []
    digests = corpus.digests(corpus_folder)
    if data_folder is not None:
        given = madewithml.rows(data_folder, madewithml.DATASET)
        holdout = madewithml.rows(data_folder, madewithml.HOLDOUT)
        digests |= madewithml.SHA256
    answered = [] if answers_file is None else answers.read_answers(answers_file)
    if answers_file is not None:
        digests |= answers.digest(answers_file)
    digests |= real.digests(real_folder)
    return split(
        authored=corpus.read_corpus(corpus_folder),
        given=given,
        holdout=holdout,
        plain=[*corpus.read_lexicon(corpus_folder), *answered],
        pairs=corpus.read_pairs(corpus_folder),
        found=[*real.read_learned(real_folder), *real.read_unlabelled(real_folder)],
        digests=digests,
    )


def split(
    *,
    authored: Sequence[Row],
    given: Sequence[Row],
    holdout: Sequence[Row],
    digests: dict[str, str],
    plain: Sequence[Row] = (),
    pairs: Sequence[Row] = (),
    found: Sequence[Row] = (),
) -> Splits:
    """
    Apply the frozen rule; rows that nearly repeat a row of a part that must stay unseen are left out and counted.

    Args:
        authored: Rows of the corpus; the part of each goes by its topic.
        given: Rows of Made With ML's training file.
        holdout: Rows that measure, and that no choice looks at.
        digests: SHA-256 of each source file by its name, for the record.
        plain: Rows that are only trained on: those in plain words, and those that people's answers gave.
        pairs: Rows of the corpus that differ in one thing.
        found: Real titles; a source is learned from or calibrated on, and those without a label are learned from. Left out are
            those that are not about machine learning, which have no class, and of calibrated sources most of those that were read for
            being hard.
    """
    parts: defaultdict[str, list[Row]] = defaultdict(list)
    for row in authored:
        parts["unlabelled" if row.tag == NOT_ML else part_of_topic(row.topic)].append(row)
    for row, part in zip(given, _parts_of_given(given), strict=True):
        parts[part].append(row)
    parts["train"] = [replace(row, tag="other") if row.topic in madewithml.SOUND_ROWS else row for row in parts["train"]]
    for row in plain:
        parts["unlabelled" if row.tag == NOT_ML else "train"].append(row)
    for row in found:
        part = "calibration" if part_of_topic(row.topic) == "calibration" else "train" if row.tag else "unlabelled"
        if row.tag != NOT_ML and (part != "calibration" or (row.tag and real.is_representative(row))):
            parts[part].append(row)
    parts["unlabelled"].extend(titles(parts["train"]))
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
    """The rows by the part of their topic, without near-duplicates of rows that must stay unseen or were learned from."""
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


def titles(rows: Sequence[Row]) -> list[Row]:
    """
    The titles of described rows, as unlabelled texts: the label of a whole text need not fit its title alone.

    A title keeps the tag of its row for the record; it is not learned.
    """
    return [
        replace(row, text=compose(row.title, None), source=TITLES, described=False, register=None, tags=())
        for row in rows
        if row.described and row.title
    ]


def part_of_topic(topic: str) -> str:
    """
    The part of the corpus that a topic belongs to: a hash of its name decides, so it never changes.

    >>> part_of_topic("data-versioning") == part_of_topic("data-versioning")
    True
    """
    place = _place(topic)
    if place < TRAIN_SHARE:
        return "train"
    return "calibration" if place < TRAIN_SHARE + CALIBRATION_SHARE else "corpus_test"


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
