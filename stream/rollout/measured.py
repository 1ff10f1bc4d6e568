"""What consumers measured in a canary, by name and arm: one value of each unit. Pure: it uses no broker and no clock."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import numpy as np

from tagstream.monitoring.quality.sample import Floats
from tagstream.stream.contract.rollout_records import MAX_OUTCOMES
from tagstream.stream.rollout.means import ArmMean, TwoMeans

# The most values that are kept, of all names together. Each takes about 0.3 kB.
MOST_VALUES = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """
    A consumer's number for one event that an arm of the canary decided.

    Attributes:
        name: What was measured.
        event: A digest of the event's id.
        unit: A digest of the event's unit.
        challenger: Whether the unit is in the challenger's arm.
        value: The number.
        at_ms: When it was measured, Unix milliseconds: the latest holds, and of equal ones the last that is taken.
        written_ms: When its record was written, Unix milliseconds.
    """

    name: str
    event: bytes
    unit: bytes
    challenger: bool
    value: float
    at_ms: int
    written_ms: int


@dataclass(slots=True)
class Measurements:
    """
    The values that count.

    A unit counts once for each name, by the event whose record was written first, in any order of reading. Its value is the newest of that
    event. If several events of a unit counted, they would say the same again: a unit's events are alike.

    Attributes:
        required: Names that have a place before all others.
        beyond: The number of records that do not count, since `MAX_OUTCOMES` names or `MOST_VALUES` values are kept.
    """

    required: Collection[str] = ()
    beyond: int = 0
    _values: dict[str, dict[bytes, Measured]] = field(init=False)
    _kept: int = 0

    def __post_init__(self) -> None:
        """Make a place for each required name."""
        self._values = {name: {} for name in self.required}

    def take(self, found: Measured) -> bool:
        """Count a record. Returns True if it changes a value."""
        values = self._values.get(found.name, {})
        before = values.get(found.unit)
        if before is None:
            if self._kept >= MOST_VALUES or (found.name not in self._values and len(self._values) >= MAX_OUTCOMES):
                self.beyond += 1
                return False
            self._values.setdefault(found.name, values)
            self._kept += 1
        elif found.event == before.event:
            if found.at_ms < before.at_ms:
                return False
            found = replace(found, written_ms=min(found.written_ms, before.written_ms))
        elif (found.written_ms, found.event) >= (before.written_ms, before.event):
            return False
        values[found.unit] = found
        return before is None or (found.value, found.event) != (before.value, before.event)

    @property
    def names(self) -> list[str]:
        """The names that have a place, those with most values first."""
        return sorted(self._values, key=lambda name: (-len(self._values[name]), name))

    def means(self, name: str) -> TwoMeans:
        """Return the arms' means of an outcome, each with the shape (1,)."""
        values = self._values[name].values()
        arms = [np.array([one.value for one in values if one.challenger is its]) for its in (True, False)]
        return TwoMeans(challenger=_mean(arms[0]), champion=_mean(arms[1]))


def _mean(values: Floats) -> ArmMean:
    origin = float(values.mean()) if len(values) else 0.0
    apart = values - origin
    sums = [np.array([(apart**power).sum()]) for power in (1, 2, 3)]
    return ArmMean.of(np.array([float(len(values))]), *sums, origin=origin)
