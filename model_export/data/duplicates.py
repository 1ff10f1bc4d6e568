"""
The word similarity of two texts, the near-duplicates among rows, and the digests by which a database finds near-duplicates.

If a model was trained on a paraphrase of a test row, the row does not test the model. In the review console, one answer may settle an
event and its near-duplicates. The console stores words as digests, so each text is read once and its words are kept with it.

If two texts share a fraction J of their words, then a hash function has its minimum at the same word with probability J (MinHash). Six
digests, each of four such minima, find 96 % of the pairs with J = 0.8 and nearly all pairs with J = 0.9.
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
# Of a longer text, only the first words within the first characters are compared.
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
    Return the words of a text in order, without case and punctuation.

    >>> word_list("Show, attend and STRAẞE")
    ['show', 'attend', 'and', 'strasse']
    """
    return _WORD.findall(text.casefold())


def word_set(text: str) -> frozenset[str]:
    """
    Return the distinct words of a text.

    >>> sorted(word_set("Show, Attend and Tell: show!"))
    ['and', 'attend', 'show', 'tell']
    """
    return frozenset(word_list(text))


def similarity(left: frozenset[T], right: frozenset[T]) -> float:
    """
    Return the Jaccard similarity of two sets of words or word digests, 0 to 1. Two empty sets have similarity 1.

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
    Split rows into rows to keep and near-duplicates of guarded rows.

    Args:
        rows: The rows to split.
        guarded: The rows that `rows` must not repeat.
        key: Returns the text of a row.
        limit: The least similarity of a near-duplicate, 0 to 1.

    Returns:
        The rows to keep and the near-duplicates, both in order.
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
    Yield the pairs of texts whose similarity is at least `limit` (0 to 1). A pair holds two indices, the smaller index first.

    If several texts have the same words, only the first text is compared with other texts, and each further text is paired with the
    first. So all near-duplicates are still connected by pairs.

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
    Return the rarest words of a set, its prefix. Two sets with similarity `limit` share a word of their prefixes (Chaudhuri et al. 2006).

    A second set with similarity `limit` contains at least the fraction `limit` of this set's words. So the number of this set's words that
    the second set lacks is smaller than the length of the prefix.
    """
    ordered = sorted(words, key=lambda word: (frequency.get(word, 0), word))
    # The small constant keeps rounding errors of `limit * len(words)` from raising the result of ceil.
    return ordered[: len(words) - math.ceil(limit * len(words) - 1e-9) + 1]


def word_digests(title: str, description: str | None) -> frozenset[int]:
    """
    Return the digests of a text's distinct words. The time is bounded for a text of any length.

    >>> word_digests("Fast vision, fast!", "On GPUs") == frozenset(map(digest, ("fast", "gpus", "on", "vision")))
    True
    """
    begin = f"{title[:MOST_CHARACTERS]} {(description or '')[:MOST_CHARACTERS]}"[:MOST_CHARACTERS]
    return frozenset(map(digest, word_list(begin)[:MOST_WORDS]))


def packed(found: Collection[int]) -> bytes:
    """
    Return word digests as a database stores them, eight bytes each.

    >>> unpacked(packed({-1, 2**63 - 1})) == frozenset({-1, 2**63 - 1})
    True
    """
    return np.array(sorted(found), dtype="<i8").tobytes()


def unpacked(kept: bytes) -> frozenset[int]:
    """Return the word digests that `packed` encoded."""
    return frozenset(np.frombuffer(kept, dtype="<i8").tolist())


def digest(text: str) -> int:
    """Return a 64-bit hash of a text as a signed integer, which databases can store."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def prints(found: Collection[int]) -> tuple[int, ...]:
    """Return the MinHash digests of a set of words. Near-duplicates share one or more digests. Empty if there are no words."""
    hashes = np.array(list(found), dtype=np.int64).view(np.uint64)
    if not hashes.size:
        return ()
    mixed = hashes[np.newaxis, :] * _FACTORS + _SHIFTS
    mixed ^= mixed >> np.uint64(29)
    smallest = (mixed * np.uint64(0x9E3779B97F4A7C15)).min(axis=1).reshape(BANDS, ROWS)
    return tuple(digest(f"{band}:{row.tobytes().hex()}") for band, row in enumerate(smallest))


def shared(one: frozenset[int], other: frozenset[int]) -> float:
    """
    Return the Jaccard similarity of two texts' words, 0 to 1. The similarity of a text without words is 0.

    >>> shared(frozenset({1, 2, 3}), frozenset({2, 3, 4}))
    0.5
    """
    return similarity(one, other) if one and other else 0.0


def weighed(one: frozenset[int], other: frozenset[int], known: Mapping[int, int], texts: int) -> float:
    """
    Return the similarity as in `shared`, with a larger weight for rare words.

    Args:
        one: The words of the first text.
        other: The words of the second text.
        known: The number of texts that contain a word, by word. A word that is missing is in 0 texts.
        texts: The number of all texts.
    """

    def weight(some: Iterable[int]) -> float:
        return sum(math.log(1 + (texts + 1) / (known.get(word, 0) + 1)) for word in some)

    return weight(one & other) / weight(one | other) if one and other else 0.0
