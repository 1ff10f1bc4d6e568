"""How alike two texts are by their words, and the digests by which a database finds candidates. Pure.

A word is its digest here: the store keeps those of a text beside it, so that a text is read once.

Of two texts that share a part J of their words, the smallest of the words' hashes is the same with probability J (MinHash). Six
digests of four such hashes each find 96 % of the pairs with J = 0.8, and nearly all with J = 0.9.
"""

import hashlib
import math
import re
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import numpy.typing as npt

# From here on one answer can settle two texts, if the reviewer says so.
NEARLY_EQUAL = 0.8
# Below this a neighbour says nothing of the item.
LEAST_ALIKE = 0.1
BANDS, ROWS = 6, 4
# A longer text is compared by the first words of its first characters.
MOST_WORDS = 400
MOST_CHARACTERS = 4_000
_WORD = re.compile(r"\w+")
_generator = np.random.default_rng(1)
_FACTORS: npt.NDArray[np.uint64] = _generator.integers(1, 2**63, size=(BANDS * ROWS, 1), dtype=np.uint64) * np.uint64(
    2
) + np.uint64(1)
_SHIFTS: npt.NDArray[np.uint64] = _generator.integers(0, 2**63, size=(BANDS * ROWS, 1), dtype=np.uint64)


def words(title: str, description: str | None) -> frozenset[int]:
    """
    The digests of a text's different words, in the same time for a text of any length.

    >>> words("Fast vision, fast!", "On GPUs") == frozenset(map(digest, ("fast", "gpus", "on", "vision")))
    True
    """
    begin = f"{title[:MOST_CHARACTERS]} {(description or '')[:MOST_CHARACTERS]}"[:MOST_CHARACTERS]
    return frozenset(map(digest, _WORD.findall(begin.casefold())[:MOST_WORDS]))


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
    The part of both texts' words that they share, 0 to 1.

    >>> shared(frozenset({1, 2, 3}), frozenset({2, 3, 4}))
    0.5
    """
    return len(one & other) / len(one | other) if one and other else 0.0


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
