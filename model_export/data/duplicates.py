"""
How alike two texts are by their words, the near-duplicates among rows, and the digests by which a database finds them.

A test row does not test a model that has read its paraphrase; in the review console one answer may settle an event and its
near-duplicates. There a word is its digest, so that a text is read once and its words are kept beside it.

Of two texts that share a part J of their words, the smallest of the words' hashes is the same with probability J (MinHash). Six
digests of four such hashes each find 96 % of the pairs with J = 0.8, and nearly all with J = 0.9.
"""

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

SIMILARITY_LIMIT = 0.8
_WORD = re.compile(r"\w+")
BANDS, ROWS = 6, 4
# A longer text is compared by the first words of its first characters.
MOST_WORDS = 400
MOST_CHARACTERS = 4_000
_generator = np.random.default_rng(1)
_FACTORS: npt.NDArray[np.uint64] = _generator.integers(1, 2**63, size=(BANDS * ROWS, 1), dtype=np.uint64) * np.uint64(
    2
) + np.uint64(1)
_SHIFTS: npt.NDArray[np.uint64] = _generator.integers(0, 2**63, size=(BANDS * ROWS, 1), dtype=np.uint64)

T = TypeVar("T")


def word_list(text: str) -> list[str]:
    """
    The words of a text in their order, without case and punctuation.

    >>> word_list("Show, attend and STRAẞE")
    ['show', 'attend', 'and', 'strasse']
    """
    return _WORD.findall(text.casefold())


def word_set(text: str) -> frozenset[str]:
    """
    The different words of a text.

    >>> sorted(word_set("Show, Attend and Tell: show!"))
    ['and', 'attend', 'show', 'tell']
    """
    return frozenset(word_list(text))


def similarity(left: frozenset[T], right: frozenset[T]) -> float:
    """
    Jaccard similarity of two sets of words, or of their digests, 0 to 1; two empty sets are the same.

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
    Separate the rows that nearly repeat a guarded one from the rest.

    Args:
        rows: The rows to separate.
        guarded: The rows that may not be repeated.
        key: Gives the text of a row.
        limit: The similarity of two sets of words from which on one repeats the other, 0 to 1.

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


def word_digests(title: str, description: str | None) -> frozenset[int]:
    """
    The digests of a text's different words, in the same time for a text of any length.

    >>> word_digests("Fast vision, fast!", "On GPUs") == frozenset(map(digest, ("fast", "gpus", "on", "vision")))
    True
    """
    begin = f"{title[:MOST_CHARACTERS]} {(description or '')[:MOST_CHARACTERS]}"[:MOST_CHARACTERS]
    return frozenset(map(digest, word_list(begin)[:MOST_WORDS]))


def packed(found: Collection[int]) -> bytes:
    """
    Words as a database keeps them, eight bytes each.

    >>> unpacked(packed({-1, 2**63 - 1})) == frozenset({-1, 2**63 - 1})
    True
    """
    return np.array(sorted(found), dtype="<i8").tobytes()


def unpacked(kept: bytes) -> frozenset[int]:
    """The words that `packed` has made bytes of."""
    return frozenset(np.frombuffer(kept, dtype="<i8").tolist())


def digest(text: str) -> int:
    """64 bits of a text, as the signed number that databases keep."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def prints(found: Collection[int]) -> tuple[int, ...]:
    """Digests of a set of words: texts with nearly the same words share one or more. Empty for no words."""
    hashes = np.array(list(found), dtype=np.int64).view(np.uint64)
    if not hashes.size:
        return ()
    mixed = hashes[np.newaxis, :] * _FACTORS + _SHIFTS
    mixed ^= mixed >> np.uint64(29)
    smallest = (mixed * np.uint64(0x9E3779B97F4A7C15)).min(axis=1).reshape(BANDS, ROWS)
    return tuple(digest(f"{band}:{row.tobytes().hex()}") for band, row in enumerate(smallest))


def shared(one: frozenset[int], other: frozenset[int]) -> float:
    """
    The part of both texts' words that they share, 0 to 1; a text without words is like no other.

    >>> shared(frozenset({1, 2, 3}), frozenset({2, 3, 4}))
    0.5
    """
    return similarity(one, other) if one and other else 0.0


def weighed(one: frozenset[int], other: frozenset[int], known: Mapping[int, int], texts: int) -> float:
    """
    The same with rare words counting more.

    Args:
        one: The words of a text.
        other: Those of another.
        known: In how many of the texts a word is; a word that is not named is in none.
        texts: How many texts there are.
    """

    def weight(some: Iterable[int]) -> float:
        return sum(math.log(1 + (texts + 1) / (known.get(word, 0) + 1)) for word in some)

    return weight(one & other) / weight(one | other) if one and other else 0.0
