"""Find near-duplicates of rows that must stay unseen: a test row does not test a model that has read its paraphrase."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
    common = len(left & right)
    union = len(left) + len(right) - common
    return common / union if union else 1.0


def split_near_duplicates(
    rows: Sequence[T], guarded: Iterable[T], *, key: Callable[[T], str], limit: float = SIMILARITY_LIMIT
) -> tuple[list[T], list[T]]:
    """
    Separate the rows that are at least `limit` similar (0 to 1) to a guarded one from the rest.

    Returns:
        The rows to keep and the rows that repeat a guarded one, both in order.
    """
    sets = {word_set(key(other)) for other in guarded}
    frequency = Counter(word for words in sets for word in words)
    by_word: defaultdict[str, list[frozenset[str]]] = defaultdict(list)
    for words in sets:
        for word in _prefix(words, frequency, limit):
            by_word[word].append(words)
    kept: list[T] = []
    repeated: list[T] = []
    for row in rows:
        words = word_set(key(row))
        near = words in sets or any(
            similarity(words, other) >= limit for word in _prefix(words, frequency, limit) for other in by_word.get(word, ())
        )
        (repeated if near else kept).append(row)
    return kept, repeated


def similar_pairs(texts: Sequence[str], limit: float = SIMILARITY_LIMIT) -> Iterator[tuple[int, int]]:
    """
    Pairs of texts of which one is at least `limit` similar (0 to 1) to the other, as places, the earlier one first.

    Of texts with the same words only the first is compared with others, and the rest are paired with it: every text still
    hangs together with all that it repeats.

    >>> list(similar_pairs(["my card is lost", "is my card lost?", "I lost my phone"]))
    [(0, 1)]
    """
    first: dict[frozenset[str], int] = {}
    for place, text in enumerate(texts):
        words = word_set(text)
        if words in first:
            yield first[words], place
        else:
            first[words] = place
    frequency = Counter(word for words in first for word in words)
    by_word: defaultdict[str, list[tuple[frozenset[str], int]]] = defaultdict(list)
    for words, place in first.items():
        prefix = _prefix(words, frequency, limit)
        near = {
            other
            for word in prefix
            for others, other in by_word[word]
            if limit * len(words) <= len(others) <= len(words) / limit and similarity(words, others) >= limit
        }
        yield from ((other, place) for other in sorted(near))
        for word in prefix:
            by_word[word].append((words, place))


def _prefix(words: frozenset[str], frequency: Mapping[str, int], limit: float) -> list[str]:
    """
    The rarest words of a set, of which two sets that are `limit` similar share at least one (Chaudhuri et al. 2006).

    Both sets must hold `limit` of each other, so they cannot differ in more words than the prefix has, less one.
    """
    ordered = sorted(words, key=lambda word: (frequency.get(word, 0), word))
    # Less a hair, since 0.8 * 5 must not be rounded up to 5.
    return ordered[: len(words) - math.ceil(limit * len(words) - 1e-9) + 1]
