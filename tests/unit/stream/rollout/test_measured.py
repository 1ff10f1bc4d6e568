"""What consumers measured: each unit once, the newest value of its event, within bounds."""

import itertools

import pytest

from tagstream.stream.rollout import measured
from tagstream.stream.rollout.measured import Measured, Measurements


def value(
    number: float,
    *,
    event: str = "e",
    unit: str = "u",
    name: str = "clicks",
    its: bool = True,
    at_ms: int = 1,
    written_ms: int = 1,
) -> Measured:
    """A number on an event."""
    return Measured(
        name=name, event=event.encode(), unit=unit.encode(), challenger=its, value=number, at_ms=at_ms, written_ms=written_ms
    )


def taken(*found: Measured) -> Measurements:
    """What these come to."""
    measurements = Measurements()
    for one in found:
        measurements.take(one)
    return measurements


def units_and_mean(measurements: Measurements, name: str = "clicks") -> tuple[float, float]:
    """Of the challenger."""
    arm = measurements.means(name).challenger
    return float(arm.units[0]), float(arm.mean[0])


def test_a_repetition_counts_once_and_the_newest_value_of_an_event_holds() -> None:
    """A record that is written again changes nothing, nor does an older one; of equal times the last of the log holds."""
    first = value(1.0)
    found = taken(first)
    assert not found.take(first)
    assert found.take(value(2.0, at_ms=5, written_ms=9))
    assert not found.take(value(3.0, at_ms=4, written_ms=10))
    assert units_and_mean(found) == (1, 2.0)
    assert found.take(value(4.0, at_ms=5, written_ms=11))
    assert units_and_mean(found) == (1, 4.0)


def test_a_unit_counts_once_by_its_first_event_in_any_order_of_reading() -> None:
    """Several partitions are read one after the other."""
    several = [value(number, event=str(number), written_ms=10 - number) for number in range(3)]
    for order in itertools.permutations(several):
        assert units_and_mean(taken(*order)) == (1, 2.0)


def test_arms_and_names_are_apart() -> None:
    """Each name has its units, and each unit its arm; the name with most values comes first."""
    found = taken(
        value(1.0, unit="a"),
        value(3.0, unit="b"),
        value(9.0, unit="c", its=False),
        value(5.0, unit="a", name="minutes"),
    )
    assert found.names == ["clicks", "minutes"]
    assert units_and_mean(found) == (2, 2.0)
    assert float(found.means("clicks").champion.mean[0]) == 9.0
    assert units_and_mean(found, "minutes") == (1, 5.0)


def test_a_required_name_has_its_place_and_further_names_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever names others write, and however many values: nothing grows without bound, and what is left out is said."""
    found = Measurements(required=["minutes"])
    for number in range(20):
        found.take(value(1.0, name=f"n{number}"))
    assert len(found.names) == 8
    assert found.beyond == 13
    assert found.take(value(1.0, name="minutes"))
    monkeypatch.setattr(measured, "MOST_VALUES", 8)
    assert not found.take(value(1.0, name="minutes", unit="other"))
    assert found.beyond == 14
    assert found.take(value(2.0, name="minutes", at_ms=2)), "a correction needs no further place"
