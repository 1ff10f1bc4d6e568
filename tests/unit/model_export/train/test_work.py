"""A training that was stopped goes on: what is finished is not computed again, and the result is the same to the bit."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tagstream.model_export.train import tuning, work
from tagstream.model_export.train.distil import StudentRecipe, distil
from tagstream.model_export.train.examples import Examples, soft_examples
from tagstream.model_export.train.network import Shape, TagNetwork
from tagstream.model_export.train.work import Work

LABELS = 3
RECIPE = tuning.TeacherRecipe(epochs=3, batch_rows=8, source_shares={})
STUDENT = StudentRecipe(layers=(1,), epochs=3, batch_rows=8, source_shares={}, dropout=0.1)


class StoppedError(Exception):
    """The process died here."""


def network() -> TagNetwork:
    """A small network with dropout, whose random numbers are part of what must be kept."""
    torch.manual_seed(0)
    return TagNetwork(Shape(vocabulary=64, positions=32, width=16, inner=32, heads=2, layers=2, labels=LABELS, dropout=0.2))


def rows(count: int) -> Examples:
    """Random texts of three labels."""
    generator = np.random.default_rng(1)
    texts = [[2, *generator.integers(4, 64, generator.integers(3, 12)).tolist(), 3] for _ in range(count)]
    return Examples(rows=texts, targets=[row[1] % LABELS for row in texts], sources=["own"] * count)


def tuned(at: Work) -> dict[str, torch.Tensor]:
    """The weights of a teacher and of its student."""
    some = rows(64)
    lessons = soft_examples(some, labels=LABELS)
    teacher = tuning.tune(network(), some, rows(24), RECIPE, lessons, at).network
    student = distil(teacher, some, lessons, STUDENT, at)
    return {f"teacher.{name}": value for name, value in teacher.state_dict().items()} | dict(student.state_dict())


@pytest.mark.parametrize("stage", ["teacher", "student"])
def test_a_stopped_tuning_gives_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    """Stopped in the middle of either network, it goes on from the last kept step; one that was never stopped is no other."""
    monkeypatch.setattr(work, "KEEP_EVERY", 5)
    told: list[tuple[str, int, int]] = []

    def stop_at_17(name: str, done: int, of: int) -> None:
        told.append((name, done, of))
        if (name, done) == (stage, 17):
            raise StoppedError

    whole = tuned(Work())
    with pytest.raises(StoppedError):
        tuned(Work(tmp_path, stop_at_17))
    told.clear()
    again = tuned(Work(tmp_path, lambda *one: told.append(one)))
    assert next(one for one in told if one[0] == stage) == (stage, 16, 24)
    assert told[-1] == ("student", 24, 24)
    assert all(torch.equal(again[name], value) for name, value in whole.items())


def test_a_finished_stage_is_read_and_a_half_written_one_is_not(tmp_path: Path) -> None:
    """A stage that dies while it writes is computed again; a finished one never is."""
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        return b"result"

    def dies(path: Path, data: bytes) -> None:
        path.write_bytes(data[:2])
        raise StoppedError

    def save(path: Path, data: bytes) -> None:
        path.write_bytes(data)

    at = Work(tmp_path)
    with pytest.raises(StoppedError):
        at.stage("one", make, save=dies, load=Path.read_bytes)
    found = [at.stage("one", make, save=save, load=Path.read_bytes) for _ in range(3)]
    assert found == [b"result"] * 3
    assert len(made) == 2


def test_other_rows_have_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stages that an earlier run kept are taken for the same rows, recipe and code alone."""
    before = Work(tmp_path).within(["a"], RECIPE)
    assert Work(tmp_path).within(["a"], RECIPE).folder == before.folder
    assert Work(tmp_path).within(["b"], RECIPE).folder != before.folder
    assert Work(tmp_path).within(["a"], STUDENT).folder != before.folder
    monkeypatch.setattr(work, "_code", lambda: "another version")
    assert Work(tmp_path).within(["a"], RECIPE).folder != before.folder
    assert Work().within(["a"]).folder is None
