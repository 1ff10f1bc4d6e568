"""Which events a challenger decides."""

from hypothesis import given
from hypothesis import strategies as st

from tagstream.stream.contract.rollout_records import BundleName, Challenger
from tagstream.stream.decide.pipeline import Draw
from tagstream.stream.rollout.arms import is_challengers

BUNDLE = BundleName(digest="0" * 64, name="b", version="1")
KEYS = [f"key-{number}".encode() for number in range(4_000)]


def arm(share: float, salt: str = "s", unit: str = "key", sources: tuple[str, ...] = ()) -> set[bytes]:
    """The keys in the arm."""
    challenger = Challenger(bundle=BUNDLE, share=share, unit=unit, salt=salt, sources=sources)
    return {key for key in KEYS if is_challengers(challenger, key=key, event_id=key.decode(), source="blog")}


@given(st.floats(0.01, 1), st.floats(0.01, 1), st.text(min_size=1, max_size=20))
def test_a_larger_share_keeps_every_key(one: float, other: float, salt: str) -> None:
    """A ramp moves no key back and forth."""
    assert arm(min(one, other), salt) <= arm(max(one, other), salt)


def test_the_share_is_that_of_the_keys() -> None:
    """Within five standard deviations, and all of them at 1."""
    assert abs(len(arm(0.2)) - 800) < 5 * (4_000 * 0.2 * 0.8) ** 0.5
    assert len(arm(1.0)) == 4_000


def test_salts_and_audits_are_independent() -> None:
    """With one hash for two purposes, all audits would fall into one arm."""
    audited = {key for key in KEYS if Draw(rate=0.2, salt="s").inclusion_probability(key.decode(), "label")}
    for other in (arm(0.2, "another"), audited):
        assert abs(len(arm(0.2) & other) - 0.2 * len(other)) < 5 * (len(other) * 0.2 * 0.8) ** 0.5


def test_the_unit_is_the_key_or_the_id() -> None:
    """All events of a key are in one arm; an event without a key is its own unit."""
    challenger = Challenger(bundle=BUNDLE, share=0.5, unit="key", salt="s")
    assert len({is_challengers(challenger, key=b"k", event_id=str(number), source=None) for number in range(50)}) == 1
    for unit, key in (("id", b"k"), ("key", None)):
        found = Challenger(bundle=BUNDLE, share=0.5, unit=unit, salt="s")
        assert len({is_challengers(found, key=key, event_id=str(number), source=None) for number in range(50)}) == 2


def test_an_audience_is_of_its_sources_alone() -> None:
    """Events of others stay with the champion."""
    assert arm(1.0, sources=("blog",)) == set(KEYS)
    assert arm(1.0, sources=("intern",)) == set()
