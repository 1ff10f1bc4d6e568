"""The fixed corpus: the same 10,000 hostile records for everyone, by a seed; and Hypothesis strategies over the same classes."""

import random
from collections.abc import Iterator

from hypothesis import strategies as st

from tests.hostile import encodings, envelopes, fields, structures, texts
from tests.hostile.record import NUMBER, Hostile, Make
from tests.replacing import replace

SIZE = 10_000
SEED = "hostile"
LIGHT: tuple[Make, ...] = (
    *encodings.CLASSES,
    *structures.CLASSES,
    *fields.CLASSES,
    *texts.CLASSES,
    *envelopes.CLASSES,
)
# Records of tens of kilobytes to a megabyte: a few of each, or the corpus would weigh gigabytes.
HEAVY: tuple[Make, ...] = (*encodings.HEAVY, *structures.HEAVY)
HEAVY_SHARE = 0.015


def corpus(size: int = SIZE, seed: str = SEED) -> Iterator[tuple[Make, Hostile]]:
    """Every class in turn, a heavy one now and then; each record with its class and, as its first header, its number."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    for number in range(size):
        heavy = chance.random() < HEAVY_SHARE
        make = chance.choice(HEAVY) if heavy else LIGHT[number % len(LIGHT)]
        yield make, numbered(make(chance, number), number)


def numbered(record: Hostile, number: int) -> Hostile:
    """The record with its number."""
    return replace(record, headers=((NUMBER, b"%d" % number), *record.headers))


def hostile(*, classes: tuple[Make, ...] = LIGHT) -> st.SearchStrategy[Hostile]:
    """Records of these classes."""
    return st.builds(
        lambda make, chance, number: make(chance, number),
        st.sampled_from(classes),
        st.randoms(use_true_random=False),
        st.integers(min_value=0, max_value=2**31),
    )


@st.composite
def mutated(draw: st.DrawFn) -> Hostile:
    """A record of which bytes were changed, lost, repeated or put in: nothing is said of its door."""
    record = draw(hostile())
    value = bytearray(record.value or b"{}")
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(value) - 1)))
        width = draw(st.integers(0, 8))
        value[at : at + width] = draw(st.binary(max_size=8))
    return Hostile(key=record.key, value=bytes(value), headers=record.headers)
