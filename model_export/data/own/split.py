"""
Split a user's rows into training, calibration and test parts.

    left out      rows without a text or a label, rows of none of the labels, repeats of an earlier row, and (near-)duplicates of a row
                  that their part must not have seen; `Division.left_out` lists all
    by column     if the file has a column `split`, the column sets the part
    by hash       otherwise a hash of the topic sets the part, label by label: 70 % train, 15 % calibration, 15 % test. A gold set
                  replaces the test part: then 82 % train, 18 % calibration

People's answers are only used for training and do not change the part of a row. An answer that (nearly) duplicates a calibration or
test row is left out.

Near-duplicates, and rows of one group, have the same topic and are in the same part. So no row is lost, and no part leaks into another
part. Only with a `split` column or a gold set can near-duplicates be in two parts.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from tagstream.model_export.data.duplicates import similar_pairs, split_near_duplicates
from tagstream.model_export.data.own.read import CALIBRATION, TEST, TRAIN
from tagstream.model_export.data.own.rows import OwnRow, OwnRows
from tagstream.model_export.data.reader import RowsError
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import CALIBRATION_SHARE, TRAIN_SHARE, Splits, titles


class Why(StrEnum):
    """Reasons to leave a row out."""

    EMPTY_TEXT = "empty text"
    EMPTY_LABEL = "empty label"
    OFF_SUBJECT = "none of the labels"
    REPEATED = "repeated"
    IN_GOLD = "in the gold set"
    NEAR_GOLD = "nearly in the gold set"
    NEAR_PART = "nearly in another part"
    LEARNED = "the model has learned from it, or from nearly the same text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """
    The parts of a user's rows.

    Attributes:
        splits: The parts. Rows that must stay together have the same topic.
        left_out: The rows that are in no part, by reason.
        topics: The topic of each row in a part, by line number. The gold set is not included.
        near: Pairs of near-duplicates. The pairs connect all near-duplicates of a cluster.
        answers_left_out: The answers that are not used for training, by reason.
    """

    splits: Splits
    left_out: dict[Why, tuple[OwnRow, ...]]
    topics: dict[int, str]
    near: tuple[tuple[OwnRow, OwnRow], ...]
    answers_left_out: dict[Why, tuple[OwnRow, ...]]


def divide(
    rows: OwnRows, gold: OwnRows | None = None, *, base: Splits | None = None, answers: OwnRows | None = None
) -> Division:
    """
    Assign each row to a part, or leave the row out with a reason.

    Args:
        rows: The user's rows.
        gold: The gold set, only for measurement. It becomes `holdout`.
        base: Tagstream's own rows. The rows of `base` with one of the user's labels join the parts.
        answers: People's answers about texts that are not in `rows`, with labels of `rows` (`own.answers`).

    Raises:
        RowsError: Both a gold set and a test part are given, or `base` has none of the user's labels.
    """
    left_out: defaultdict[Why, list[OwnRow]] = defaultdict(list)
    usable = _usable(rows.rows, left_out)
    golden = [own for own in gold.rows if own.row.text.strip() and own.is_labelled] if gold else []
    usable = _outside(usable, golden, left_out)
    near = list(similar_pairs([own.row.text for own in usable]))
    parts = _parts(rows, _with_topics(usable, near), with_gold=gold is not None)
    # A split by hash keeps near-duplicates in one part, so only a split by column needs this check.
    by_column = any(own.split for own in usable)
    for part, guarding in ((CALIBRATION, (TEST,)), (TRAIN, (TEST, CALIBRATION))) if by_column else ():
        guarded = [own for other in guarding for own in parts[other]]
        parts[part], known = split_near_duplicates(parts[part], guarded, key=_text)
        left_out[Why.NEAR_PART] += known
    answered, answers_left_out = _learned_alone(answers.rows if answers else (), parts, golden)
    parts[TRAIN], fresh = _beside(parts[TRAIN], answered)
    made = _splits(
        parts,
        golden,
        rows.digests | (answers.digests if answers else {}),
        gold.digests if gold else {},
        answers=fresh,
        removed=sum(
            len(found.get(why, ())) for found in (left_out, answers_left_out) for why in (Why.NEAR_GOLD, Why.NEAR_PART)
        ),
    )
    return Division(
        splits=made if base is None else _with_base(made, base, rows),
        left_out={why: tuple(left_out[why]) for why in Why if left_out[why]},
        topics={own.line: own.row.topic for part in parts.values() for own in part},
        near=tuple((usable[left], usable[right]) for left, right in near),
        answers_left_out={why: tuple(found) for why, found in answers_left_out.items() if found},
    )


def unlearned(rows: OwnRows, learned: OwnRows) -> tuple[OwnRows, tuple[OwnRow, ...]]:
    """
    Return the rows that a model was not trained on, and the rows that (nearly) duplicate a training row.

    Args:
        rows: The rows.
        learned: The training rows of the model. Their labels are not used.
    """
    left_out: defaultdict[Why, list[OwnRow]] = defaultdict(list)
    kept = _outside(list(rows.rows), learned.rows, left_out)
    gone = {own.line for own in rows.rows} - {own.line for own in kept}
    return replace(rows, rows=tuple(kept)), tuple(own for own in rows.rows if own.line in gone)


def _usable(rows: Iterable[OwnRow], left_out: dict[Why, list[OwnRow]]) -> list[OwnRow]:
    """Return the rows with a text and a label. Of rows with the same text and label, only the first is kept."""
    kept: dict[tuple[str, str], OwnRow] = {}
    for own in rows:
        if not own.row.text.strip():
            left_out[Why.EMPTY_TEXT].append(own)
        elif not own.row.tag.strip():
            left_out[Why.EMPTY_LABEL].append(own)
        elif own.is_off_subject:
            left_out[Why.OFF_SUBJECT].append(own)
        elif kept.setdefault((folded(own.row.text), own.row.tag), own) is not own:
            left_out[Why.REPEATED].append(own)
    return list(kept.values())


def _outside(rows: list[OwnRow], golden: Sequence[OwnRow], left_out: dict[Why, list[OwnRow]]) -> list[OwnRow]:
    """Return the rows that are not (near-)duplicates of a gold row."""
    if not golden:
        return rows
    same = {folded(own.row.text) for own in golden}
    left_out[Why.IN_GOLD] += [own for own in rows if folded(own.row.text) in same]
    others = [own for own in rows if folded(own.row.text) not in same]
    kept, near = split_near_duplicates(others, golden, key=_text)
    left_out[Why.NEAR_GOLD] += near
    return kept


def _learned_alone(
    answers: Sequence[OwnRow], parts: Mapping[str, Sequence[OwnRow]], golden: Sequence[OwnRow]
) -> tuple[list[OwnRow], dict[Why, list[OwnRow]]]:
    """Return the answers that do not (nearly) duplicate a calibration, test or gold row, and the other answers by reason."""
    left_out: defaultdict[Why, list[OwnRow]] = defaultdict(list)
    unseen = _outside(list(answers), golden, left_out)
    kept, left_out[Why.NEAR_PART] = split_near_duplicates(unseen, [*parts[TEST], *parts[CALIBRATION]], key=_text)
    return kept, left_out


def _beside(rows: Sequence[OwnRow], answers: Sequence[OwnRow]) -> tuple[list[OwnRow], list[OwnRow]]:
    """Return rows and answers with common topics for near-duplicates: cross-fitting must not train on a near-duplicate of the row."""
    if not answers:
        return list(rows), []
    found = together([*rows, *answers])
    return found[: len(rows)], found[len(rows) :]


def together(rows: Sequence[OwnRow]) -> list[OwnRow]:
    """Return the rows in order. Near-duplicates have a common topic."""
    return _with_topics(rows, list(similar_pairs([own.row.text for own in rows])))


def _with_topics(rows: Sequence[OwnRow], near: Sequence[tuple[int, int]]) -> list[OwnRow]:
    """Return the rows in order, each with the topic of its cluster. This is the first of the cluster's topics in alphabetical order."""
    topics = [own.row.topic for own in rows]
    for cluster in clusters(topics, near):
        least = min(topics[place] for place in cluster)
        for place in cluster:
            topics[place] = least
    return [replace(own, row=replace(own.row, topic=topic)) for own, topic in zip(rows, topics, strict=True)]


def _parts(rows: OwnRows, usable: Sequence[OwnRow], *, with_gold: bool) -> dict[str, list[OwnRow]]:
    if all(own.split is None for own in usable):
        return _by_hash(usable, (CALIBRATION,) if with_gold else (CALIBRATION, TEST))
    parts: dict[str, list[OwnRow]] = {TRAIN: [], CALIBRATION: [], TEST: []}
    for own in usable:
        parts[own.split or TRAIN].append(own)
    if with_gold and parts[TEST]:
        msg = (
            f"{rows.at(parts[TEST])}: these rows are the test part, and a gold set is given too. Next: measure on one of them: "
            f"leave --gold out, or give these rows another part."
        )
        raise RowsError(msg)
    if not parts[CALIBRATION]:
        parts |= _by_hash(parts[TRAIN], (CALIBRATION,)) | {TEST: parts[TEST]}
    return parts


def _by_hash(rows: Sequence[OwnRow], held_back: Sequence[str]) -> dict[str, list[OwnRow]]:
    """
    Split the rows into parts by the hash of their topic. Each label's topics with the lowest hashes are held back for calibration and test.

    So the labels keep their shares in each part. A topic counts for the label of its first row. A label with as many topics as there are
    parts has one topic in each part.
    """
    by_topic: defaultdict[str, list[OwnRow]] = defaultdict(list)
    for own in rows:
        by_topic[own.row.topic].append(own)
    by_label: defaultdict[str, list[str]] = defaultdict(list)
    for topic, members in by_topic.items():
        by_label[members[0].row.tag].append(topic)
    # With a gold set, no rows are held back for test. The ratio of the train and calibration shares stays the same.
    share = CALIBRATION_SHARE if TEST in held_back else CALIBRATION_SHARE / (CALIBRATION_SHARE + TRAIN_SHARE)
    part_of: dict[str, str] = {}
    for topics in by_label.values():
        sizes = {topic: len(by_topic[topic]) for topic in topics}
        for place, part in enumerate(held_back):
            left = sorted(sizes.keys() - part_of.keys(), key=lambda topic: hashlib.sha256(topic.encode()).digest())
            # Each of the remaining parts, including train, needs a topic.
            spare = len(left) - (len(held_back) - place)
            part_of |= dict.fromkeys(_of_about(share * sum(sizes.values()), left, sizes)[: max(spare, 0)], part)
    parts: dict[str, list[OwnRow]] = {TRAIN: [], CALIBRATION: [], TEST: []}
    for own in rows:
        parts[part_of.get(own.row.topic, TRAIN)].append(own)
    return parts


def _of_about(rows: float, topics: Sequence[str], sizes: Mapping[str, int]) -> list[str]:
    """Return topics, in order, with about `rows` rows together. If each topic is too large, return the smallest topic."""
    found, taken = [], 0.0
    for topic in topics:
        if taken + sizes[topic] / 2 <= rows:
            found.append(topic)
            taken += sizes[topic]
    return found or sorted(topics, key=lambda topic: sizes[topic])[:1]


def _splits(
    parts: dict[str, list[OwnRow]],
    golden: Sequence[OwnRow],
    digests: dict[str, str],
    gold_digests: dict[str, str],
    *,
    answers: Sequence[OwnRow],
    removed: int,
) -> Splits:
    calibration, test = (tuple(own.row for own in parts[part]) for part in (CALIBRATION, TEST))
    train = tuple(own.row for own in (*parts[TRAIN], *answers))
    return Splits(
        train=train,
        calibration=calibration,
        holdout=tuple(own.row for own in golden) or test,
        corpus_test=(),
        unlabelled=tuple(titles(train)),
        near_duplicates_removed=removed,
        digests=digests,
        gold_digests=gold_digests,
    )


def _with_base(own: Splits, base: Splits, rows: OwnRows) -> Splits:
    """
    Return the parts with those rows of `base` that have one of the user's labels and are not near-duplicates of the user's rows.

    Near-duplicates must be removed: a row of `base` could be in another part or fold than the user's row that it duplicates.
    """
    labels = set(rows.labels)
    unseen = [*own.calibration, *own.holdout]
    added: dict[str, tuple[Row, ...]] = {}
    removed = 0
    for part in ("train", "calibration", "corpus_test", "unlabelled"):
        of_labels = [row for row in getattr(base, part) if row.tag in labels]
        # Unlabelled texts are only used for distillation, so they may duplicate training rows.
        theirs = unseen if part == "unlabelled" else [*own.train, *unseen]
        kept, near = split_near_duplicates(of_labels, theirs, key=lambda row: row.text)
        added[part] = tuple(kept)
        removed += len(near)
    if not added["train"]:
        msg = f"{rows.name} has none of tagstream's own labels ({', '.join(base.labels)}). Next: leave --base-corpus out."
        raise RowsError(msg)
    return replace(
        own,
        train=(*own.train, *added["train"]),
        calibration=(*own.calibration, *added["calibration"]),
        corpus_test=added["corpus_test"],
        unlabelled=(*own.unlabelled, *added["unlabelled"]),
        near_duplicates_removed=own.near_duplicates_removed + removed,
        digests=own.digests | base.digests,
    )


def _text(own: OwnRow) -> str:
    return own.row.text


def same_text(rows: Sequence[OwnRow]) -> list[list[OwnRow]]:
    """Return the groups of two or more rows with the same `folded` text, in the order of their first rows."""
    found: defaultdict[str, list[OwnRow]] = defaultdict(list)
    for own in rows:
        found[folded(own.row.text)].append(own)
    return [group for group in found.values() if len(group) > 1]


def folded(text: str) -> str:
    """
    Return a text with case folded and white space normalised.

    >>> folded("Refund  PLEASE ") == folded("refund please")
    True
    """
    return " ".join(text.casefold().split())


def clusters(topics: Sequence[str], pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """
    Return the connected components of rows. Rows are connected if they have the same topic or are a pair.

    Args:
        topics: The topic of each row.
        pairs: Pairs of row indices.

    Returns:
        The components as lists of row indices. Each row is in one component; components and indices are in order.

    >>> clusters(["a", "b", "a", "c"], [(1, 2)])
    [[0, 1, 2], [3]]
    """
    parent = list(range(len(topics)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    first: dict[str, int] = {}
    for place, topic in enumerate(topics):
        parent[root(place)] = root(first.setdefault(topic, place))
    for left, right in pairs:
        high, low = sorted((root(left), root(right)), reverse=True)
        parent[high] = low
    found: defaultdict[int, list[int]] = defaultdict(list)
    for place in range(len(topics)):
        found[root(place)].append(place)
    return list(found.values())
