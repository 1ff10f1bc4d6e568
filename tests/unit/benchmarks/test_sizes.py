"""`python -m benchmarks.sizes`: what a text costs in bundles of several sizes."""

from collections.abc import Sequence

import pytest

from benchmarks.sizes import Ask, costs
from tagstream.model_export.bundle.model import Prediction


class Machine:
    """A clock of the processor, and bundles that each take so many microseconds a text on it; every round is slower than the one before."""

    def __init__(self) -> None:
        """Start at 0, with nobody asked."""
        self.seconds = 0.0
        self.asked: list[str] = []

    def bundle(self, name: str, microseconds: float) -> dict[str, Ask]:
        """One bundle by its name."""

        def ask(texts: Sequence[str]) -> list[Prediction]:
            self.asked.append(name)
            slower = 1 + self.asked.count(name)
            self.seconds += len(texts) * microseconds * slower / 1e6
            return []

        return {name: ask}


def test_bundles_take_turns_and_a_slower_machine_changes_no_ratio() -> None:
    """Each round begins with another bundle, the first does not count, and the ratio is that of the same round."""
    machine = Machine()
    bundles = machine.bundle("small", 100) | machine.bundle("large", 250)
    found = costs(bundles, ["a", "b"], rounds=3, clock=lambda: machine.seconds)
    assert machine.asked == ["small", "large", "large", "small", "small", "large", "large", "small"]
    assert found["small"] == (pytest.approx(400), 1.0)
    assert found["large"] == (pytest.approx(1000), pytest.approx(2.5))
