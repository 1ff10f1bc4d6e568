"""Speed, on a clock that a test moves."""

import os
from collections.abc import Sequence

import pytest
import torch

from tagstream.model_export.bundle.model import Prediction
from tagstream.model_export.measure import speed


class Clock:
    """Time that passes only in models, and the order in which they were asked."""

    def __init__(self) -> None:
        """No time has passed."""
        self.now = 0.0
        self.asked: list[str] = []

    def model(self, name: str, *seconds: float) -> speed.Predict:
        """A model that takes so long, call by call; the last time stays."""
        left = list(seconds)

        def predict(_: Sequence[str]) -> list[Prediction]:
            self.asked.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]
            return []

        return predict

    def __call__(self) -> float:
        """The time."""
        return self.now


def test_first_round_does_not_count_and_the_median_is_reported() -> None:
    """A cold start and one slow round do not move the figure."""
    clock = Clock()
    models = {"net": clock.model("net", 60.0, 2.0, 1.0, 50.0, 2.0, 2.0)}
    found = speed.measure(models, ["a"] * 10, rounds=5, clock=clock, processor=lambda: clock.now / 2)["net"]
    assert (found.texts_per_second, found.slowest, found.fastest) == (5.0, 0.2, 10.0)
    assert (found.threads, found.rounds, found.texts, found.cores) == (1, 5, 10, 0.5)


def test_models_are_asked_in_turn_and_each_begins_a_round() -> None:
    """Models take turns, so that a slow host slows all of them."""
    clock = Clock()
    speed.measure({name: clock.model(name, 1.0) for name in "abc"}, ["a"], rounds=3, clock=clock, processor=clock)
    assert "".join(clock.asked) == "abc" + "abc" + "bca" + "cab"


def test_one_core_is_one_core_and_then_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside the context PyTorch and the tokenizer have one thread, afterwards as many as before."""
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with speed.one_core():
            assert (torch.get_num_threads(), os.environ["TOKENIZERS_PARALLELISM"]) == (1, "false")
        assert (torch.get_num_threads(), os.environ["TOKENIZERS_PARALLELISM"]) == (2, "true")
    finally:
        torch.set_num_threads(before)


def test_a_shared_processor_is_said() -> None:
    """A measurement on a shared processor comes with a warning, one on a free core without."""
    clock = Clock()
    half, whole = (
        speed.measure({"a": clock.model("a", 1.0)}, ["a"], clock=clock, processor=lambda part=part: clock.now * part)["a"]
        for part in (0.5, 1.0)
    )
    assert "0.50 of a core" in speed.shared([whole, half])
    assert speed.shared([whole]) == ""


@pytest.mark.parametrize(("texts", "rounds"), [([], 5), (["a"], 0)])
def test_nothing_to_measure_is_an_error(texts: list[str], rounds: int) -> None:
    """A measurement without texts or rounds is refused."""
    with pytest.raises(ValueError, match="measure nothing"):
        speed.measure({}, texts, rounds=rounds)
