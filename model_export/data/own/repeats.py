"""Rows that repeat each other, word for word or nearly: one topic holds them, so that no part of the data knows another one."""

from collections import defaultdict
from collections.abc import Sequence

from model_export.data.duplicates import similar_pairs
from model_export.data.own.rows import OwnRow


def same_text(rows: Sequence[OwnRow]) -> list[list[OwnRow]]:
    """The groups of two rows or more with one text, case aside, in the order of their first rows."""
    found: defaultdict[str, list[OwnRow]] = defaultdict(list)
    for own in rows:
        found[folded(own.row.text)].append(own)
    return [group for group in found.values() if len(group) > 1]


def folded(text: str) -> str:
    """
    A text without differences of case and white space.

    >>> folded("Refund  PLEASE ") == folded("refund please")
    True
    """
    return " ".join(text.casefold().split())


def near_pairs(rows: Sequence[OwnRow]) -> list[tuple[OwnRow, OwnRow]]:
    """Pairs of rows that nearly repeat each other, so many that all which hang together are connected."""
    return [(rows[left], rows[right]) for left, right in similar_pairs([own.row.text for own in rows])]


def clusters(rows: Sequence[OwnRow], pairs: Sequence[tuple[OwnRow, OwnRow]]) -> list[list[OwnRow]]:
    """
    The rows in groups: those of one topic, those of one pair, and all that hang together by either.

    Args:
        rows: The rows; no two have the same line.
        pairs: Pairs of them.

    Returns:
        Every row in one group; groups and rows in the file's order.
    """
    parent = list(range(len(rows)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    first: dict[str, int] = {}
    for place, own in enumerate(rows):
        parent[root(place)] = root(first.setdefault(own.row.topic, place))
    place_of = {own.line: place for place, own in enumerate(rows)}
    for left, right in pairs:
        high, low = sorted((root(place_of[left.line]), root(place_of[right.line])), reverse=True)
        parent[high] = low
    found: defaultdict[int, list[OwnRow]] = defaultdict(list)
    for place, own in enumerate(rows):
        found[root(place)].append(own)
    return list(found.values())
