"""The breaker opens at too many dead letters, and a file tells the next worker that the breaker is open."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.monitoring.observer import Observation
from tagstream.monitoring.vocabulary import Destination, Reason
from tagstream.stream.deliver.breaker import OF_THE_MODEL, Breaker, BreakerFile
from tagstream.stream.settings.settings import Settings

REASONS: tuple[Reason | None, ...] = (None, Reason.INVALID_JSON, Reason.MODEL_RAISED, Reason.CRASHES_WORKER)
# Ratios as people write them; a float product that misses a whole number by a rounding error must not count as an event.
RATIOS = st.integers(0, 1000).map(lambda thousandths: Fraction(thousandths, 1000))


def seen(reason: Reason | None) -> Observation:
    """Return an outcome: a dead letter for this reason, or a decision for None."""
    return Observation(destination=Destination.DLQ if reason else Destination.TAGGED, created_ms=0, rejection=reason)


@given(st.lists(st.lists(st.sampled_from(REASONS), max_size=9), max_size=30), st.integers(1, 40), RATIOS, RATIOS)
def test_it_trips_when_the_last_window_holds_more_than_its_share(
    batches: Sequence[Sequence[Reason | None]], window: int, dead: Fraction, failed: Fraction
) -> None:
    """The breaker agrees with a fresh count after every batch. It never trips before a full window, and never at a ratio of 1."""
    breaker = Breaker(window=window, dead_letter_ratio=float(dead), model_failure_ratio=float(failed))
    never = Breaker(window=window, dead_letter_ratio=1.0, model_failure_ratio=1.0)
    past: list[Reason | None] = []
    for batch in batches:
        past += batch
        last = past[-window:]
        too_many = sum(reason is not None for reason in last) > dead * window
        too_weak = sum(reason in OF_THE_MODEL for reason in last) > failed * window
        assert (breaker.trips(list(map(seen, batch))) is not None) == (len(past) >= window and (too_many or too_weak))
        assert never.trips(list(map(seen, batch))) is None


def test_by_default_bad_events_do_not_trip_it_and_a_model_that_fails_on_more_than_half_does() -> None:
    """Producers cannot stop the stream by sending bad bytes. If the model fails on most readable events, the model is at fault."""
    settings = Settings()

    def trips(reason: Reason, share: float) -> str | None:
        breaker = Breaker(
            window=settings.breaker_window_events,
            dead_letter_ratio=settings.breaker_dead_letter_ratio,
            model_failure_ratio=settings.breaker_model_failure_ratio,
        )
        return breaker.trips([seen(reason if number < share * 1000 else None) for number in range(1000)])

    assert trips(Reason.INVALID_JSON, 1.0) is None
    assert trips(Reason.MODEL_RAISED, 0.5) is None
    assert "breaker_model_failure_ratio" in (trips(Reason.MODEL_RAISED, 0.501) or "")


def opened(folder: Path, release: str = "1", **knobs: object) -> BreakerFile:
    """Return the breaker file for this state folder, release and settings."""
    return BreakerFile(Settings.model_validate({"state_folder": folder, **knobs}), release=release)


def test_it_stays_open_until_a_person_has_answered(tmp_path: Path) -> None:
    """The breaker stays open for the same group, release and limits. Removing the file closes the breaker."""
    assert opened(tmp_path / "new").why() is None
    assert opened(tmp_path / "new").write("too many")
    assert opened(tmp_path / "new").why() == "too many"
    assert opened(tmp_path / "new", group="another").why() is None
    assert opened(tmp_path / "new").why() == "too many"
    opened(tmp_path / "new").path.unlink()
    assert opened(tmp_path / "new").why() is None


@pytest.mark.parametrize(
    ("release", "knobs"),
    [("2", {}), ("1", {"breaker_dead_letter_ratio": 0.9}), ("1", {"breaker_model_failure_ratio": 1.0})],
)
def test_another_release_or_limit_is_an_answer(tmp_path: Path, release: str, knobs: dict[str, object]) -> None:
    """The breaker closes for good, because the file is removed."""
    opened(tmp_path).write("too many")
    assert opened(tmp_path, release, **knobs).why() is None
    assert opened(tmp_path).why() is None


def test_a_file_that_cannot_be_read_keeps_it_open_and_says_which(tmp_path: Path) -> None:
    """A truncated file does not close the breaker."""
    opened(tmp_path).write("too many")
    path = opened(tmp_path).path
    path.write_bytes(path.read_bytes()[:20])
    assert opened(tmp_path).why() == f"{path} cannot be read"
    path.write_bytes(b'{"why":"\xff"}')
    assert opened(tmp_path).why() == f"{path} cannot be read"
    path.unlink()
    path.mkdir()
    assert opened(tmp_path).why() == f"{path} cannot be read: Is a directory"


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    """`write` returns False, and the worker still stops."""
    (tmp_path / "file").write_text("")
    assert not opened(tmp_path / "file").write("too many")
    assert opened(tmp_path / "file").why() is None


def test_a_share_that_is_exactly_the_limit_is_not_more() -> None:
    """29 of 100 is not more than the ratio 0.29, although the floating-point product of 0.29 and 100 is a little less than 29."""
    breaker = Breaker(window=100, dead_letter_ratio=0.29, model_failure_ratio=1.0)
    assert breaker.trips([seen(Reason.INVALID_JSON)] * 29 + [seen(None)] * 71) is None
    assert breaker.trips([seen(Reason.INVALID_JSON)] * 30) is not None
