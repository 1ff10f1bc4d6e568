"""Find near-duplicates of rows that must stay unseen: a test row does not test a model that has read its paraphrase."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

SIMILARITY_LIMIT = 0.8

T = TypeVar("T")


def word_set(text: str) -> frozenset[str]:
    """
    The different words of a text, lower case, without punctuation.

    >>> sorted(word_set("Show, Attend and Tell: show!"))
    ['and', 'attend', 'show', 'tell']
    """
    return frozenset(re.findall(r"\w+", text.lower()))


def similarity(left: frozenset[str], right: frozenset[str]) -> float:
    """
    Jaccard similarity of two word sets, 0 to 1; two empty sets are the same.

    >>> similarity(frozenset("ab"), frozenset("bc"))
    0.3333333333333333
    """
    union = len(left | right)
    return len(left & right) / union if union else 1.0


def split_near_duplicates(
    rows: Sequence[T], guarded: Iterable[T], *, key: Callable[[T], str], limit: float = SIMILARITY_LIMIT
) -> tuple[list[T], list[T]]:
    """
    Separate the rows that are at least `limit` similar (0 to 1) to a guarded one from the rest.

    Returns:
        The rows to keep and the rows that repeat a guarded one, both in order.
    """
    by_size: defaultdict[int, list[frozenset[str]]] = defaultdict(list)
    for other in guarded:
        words = word_set(key(other))
        by_size[len(words)].append(words)
    kept: list[T] = []
    repeated: list[T] = []
    for row in rows:
        words = word_set(key(row))
        # Jaccard >= limit needs sizes within that ratio: most pairs are never compared.
        sizes = [size for size in by_size if limit * len(words) <= size <= len(words) / limit]
        near = any(similarity(words, other) >= limit for size in sizes for other in by_size[size])
        (repeated if near else kept).append(row)
    return kept, repeated
