"""Files as the output of a batch: whole or not there, and the same however often the run was killed."""

import contextlib
import json
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tagstream.model_export.data import reader
from tagstream.model_export.data.reader import Columns
from tagstream.stream.batch import side_file
from tagstream.stream.batch.file_out import FileOut, Paths
from tagstream.stream.batch.formats import Csv, Format, JsonLines
from tagstream.stream.batch.run import BatchError, ChangedError, Tally, run
from tagstream.stream.batch.sources import LineFiles
from tagstream.stream.decide.pipeline import Pipeline

ROWS = 70
ROWS_A_PART = 32
CLOCK = re.compile(rb'"tagged_at":"[^"]*"|,[0-9-]{10}T[0-9:.]{12}Z')
IDENTITY = {"model": "a"}
FORMS: dict[str, Callable[[LineFiles], Format]] = {
    "jsonl": lambda _: JsonLines(),
    "csv": lambda source: Csv(source, Columns()),
}


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two chunks make a part, and three parts the output."""
    monkeypatch.setattr(reader, "ROWS_AT_ONCE", 16)


def written(folder: Path, rows: int = ROWS) -> Path:
    """A file of events, every seventh of which is none."""
    path = folder / "in.jsonl"
    titles = ("deployment", "maybe image", "translation")
    lines = [f'{{"id":{number},"title":"{titles[number % 3]}"}}' if number % 7 else f"bad {number}" for number in range(rows)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def tagged(path: Path, out: Path, pipeline: Pipeline, *, form: str = "jsonl", folder: bool = False, **given: Any) -> Tally:
    """A run from a file into a file or a folder; the lock of a run that is killed ends with it, as that of a process does."""
    rows = LineFiles([path], Columns())
    identity = given.pop("identity", IDENTITY)
    sink = FileOut(Paths(out), FORMS[form](rows), identity, folder=folder, rows_a_part=ROWS_A_PART, **given)
    try:
        return run(pipeline, rows, sink)
    except BaseException:
        sink.let_go()
        raise


def content(out: Path) -> dict[str, bytes]:
    """The output and its side file without clocks."""
    files = sorted(out.iterdir()) if out.is_dir() else [out]
    return {file.name: CLOCK.sub(b"", file.read_bytes()) for file in [*files, Paths(out).rejected]}


class Killed(BaseException):
    """The process ends here."""


@contextlib.contextmanager
def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """End the process before one of its changes of the disk; yields the changes that it made."""
    made: list[str] = []

    def counting(name: str, change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*args: Any, **named: Any) -> Any:
            if len(made) == step:
                raise Killed
            made.append(name)
            return change(*args, **named)

        return changed

    with monkeypatch.context() as patch:
        for name in ("write_bytes", "replace", "rename", "unlink", "mkdir"):
            patch.setattr(pathlib.Path, name, counting(name, getattr(pathlib.Path, name)))
        patch.setattr(os, "link", counting("link", os.link))
        patch.setattr(os, "fsync", counting("fsync", os.fsync))
        patch.setattr(shutil, "rmtree", counting("rmtree", shutil.rmtree))
        patch.setattr(shutil, "copyfileobj", counting("copyfileobj", shutil.copyfileobj))
        yield made


@pytest.mark.parametrize(("form", "folder"), [("jsonl", False), ("csv", False), ("jsonl", True), ("csv", True)])
def test_a_kill_before_any_change_of_the_disk_changes_nothing(
    tmp_path: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, form: str, folder: bool
) -> None:
    """Whichever change of the disk a run is killed at, the same command again gives what one run gives, and leaves nothing beside it."""
    path = written(tmp_path)
    wanted = tmp_path / f"wanted.{form}"
    tally = tagged(path, wanted, pipeline, form=form, folder=folder)
    reference = list(content(wanted).values())
    for step in range(1_000):
        place = tmp_path / f"{step}"
        place.mkdir()
        out = place / f"out.{form}"
        with killed_at(step, monkeypatch) as made:
            try:
                tagged(path, out, pipeline, form=form, folder=folder)
            except Killed:
                pass
            else:
                break
        if out.exists():
            assert list(content(out).values()) == reference, (
                f"an output that was not whole was to be seen, before change {step}"
            )
        assert tagged(path, out, pipeline, form=form, folder=folder) == tally
        assert list(content(out).values()) == reference
        assert {file.name for file in place.iterdir()} == {out.name, Paths(out).rejected.name, Paths(out).summary.name}
        shutil.rmtree(place)
    assert len(made) == step > 20


def test_a_row_is_decided_once_over_all_runs(tmp_path: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that are whole are not decided again."""
    path, out = written(tmp_path), tmp_path / "out.jsonl"
    decided: list[int] = []
    publications = pipeline.publications

    def counting(records: list[Any], **named: Any) -> list[Any]:
        if sum(decided) >= 2 * ROWS_A_PART:
            raise Killed
        decided.append(len(records))
        return publications(records, **named)

    monkeypatch.setattr(pipeline, "publications", counting)
    with pytest.raises(Killed):
        tagged(path, out, pipeline)
    held = json.loads(Paths(out).state.read_bytes())["tally"]["rows"]
    assert held >= ROWS_A_PART
    decided.clear()
    monkeypatch.setattr(
        pipeline, "publications", lambda records, **named: decided.append(len(records)) or publications(records, **named)
    )
    tagged(path, out, pipeline)
    assert sum(decided) == ROWS - held


def test_a_whole_output_is_left_as_it_is(tmp_path: Path, pipeline: Pipeline) -> None:
    """The same command behind a run that has ended decides nothing and changes nothing."""
    path, out = written(tmp_path), tmp_path / "out.jsonl"
    first = tagged(path, out, pipeline)
    before = out.read_bytes()
    assert tagged(path, out, pipeline) == first
    assert out.read_bytes() == before


@pytest.mark.parametrize("ended", [True, False])
def test_another_input_is_noticed(tmp_path: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, ended: bool) -> None:
    """A changed row, a row more behind a whole output, and rows less are refused with the next step; nothing is lost."""
    path, out = written(tmp_path), tmp_path / "out.jsonl"
    if ended:
        tagged(path, out, pipeline)
    else:
        _stopped_behind_a_part(path, out, pipeline, monkeypatch)
    as_it_was = path.read_bytes()
    path.write_bytes(as_it_was.replace(b"maybe image", b"maybe Image", 1))
    with pytest.raises(ChangedError, match=r"not those that .* was begun with.* --fresh"):
        tagged(path, out, pipeline)
    path.write_bytes(as_it_was[:20])
    with pytest.raises(ChangedError, match=r"and the input has.* --fresh"):
        tagged(path, out, pipeline)
    if ended:
        path.write_bytes(as_it_was + b'\n{"title":"one more"}')
        with pytest.raises(ChangedError, match=r"and the input has more.* --fresh"):
            tagged(path, out, pipeline)
    path.write_bytes(as_it_was)
    assert tagged(path, out, pipeline).rows == ROWS


def test_rows_that_came_behind_are_taken(tmp_path: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """An input that has grown since the kill gives what one run over all of it gives."""
    path, out = written(tmp_path), tmp_path / "out.jsonl"
    _stopped_behind_a_part(path, out, pipeline, monkeypatch)
    path.write_bytes(path.read_bytes() + b'\n{"title":"one more"}')
    assert tagged(path, out, pipeline).rows == ROWS + 1
    tagged(path, tmp_path / "wanted.jsonl", pipeline)
    assert list(content(out).values()) == list(content(tmp_path / "wanted.jsonl").values())


def test_another_model_is_noticed(tmp_path: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """One output has the decisions of one model; the message names both."""
    path, out = written(tmp_path), tmp_path / "out.jsonl"
    _stopped_behind_a_part(path, out, pipeline, monkeypatch)
    with pytest.raises(ChangedError, match=r"another model \(a, now b\)"):
        tagged(path, out, pipeline, identity={"model": "b"})
    assert tagged(path, out, pipeline, identity={"model": "b"}, fresh=True).rows == ROWS


def test_a_file_of_others_is_not_replaced(tmp_path: Path, pipeline: Pipeline) -> None:
    """An output that no batch has made stays, unless a person says otherwise."""
    path, out = written(tmp_path), tmp_path / "out.jsonl"
    out.write_bytes(b"mine")
    with pytest.raises(ChangedError, match="no batch made it"):
        tagged(path, out, pipeline)
    assert out.read_bytes() == b"mine"
    tagged(path, out, pipeline, fresh=True)
    assert len(out.read_bytes().splitlines()) == sum(number % 7 > 0 for number in range(ROWS))


def test_a_folder_of_others_is_not_replaced(tmp_path: Path, pipeline: Pipeline) -> None:
    """Not even when begun anew: it would go with all that is in it. An empty one is taken."""
    path, out = written(tmp_path), tmp_path / "out"
    out.mkdir()
    (out / "mine").write_bytes(b"mine")
    with pytest.raises(ChangedError, match="a folder with files in it, and no batch made it"):
        tagged(path, out, pipeline, folder=True, fresh=True)
    assert (out / "mine").read_bytes() == b"mine"
    (out / "mine").unlink()
    assert tagged(path, out, pipeline, folder=True, fresh=True).rows == ROWS
    assert tagged(path, out, pipeline, folder=True, fresh=True).rows == ROWS


def test_a_file_of_others_in_the_place_of_the_side_file_stays(tmp_path: Path, pipeline: Pipeline) -> None:
    """A run without a rejected row takes away no file but a side file."""
    path, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_bytes(b'{"id":"a","title":"deployment"}')
    rows, mine = LineFiles([path], Columns()), tmp_path / "mine.jsonl"
    mine.write_bytes(b"mine")
    run(pipeline, rows, FileOut(Paths(out, mine), JsonLines(), IDENTITY, folder=False))
    assert mine.read_bytes() == b"mine"


def test_a_side_file_on_another_disk_grows_beside_its_place(
    tmp_path: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is never moved from one folder into another, which another file system refuses."""
    path, out, bad = written(tmp_path), tmp_path / "out.jsonl", tmp_path / "other" / "bad.jsonl"
    bad.parent.mkdir()
    replace = pathlib.Path.replace

    def within(self: Path, target: Path) -> Path:
        if target == bad and self.parent != bad.parent:
            raise OSError(18, "Invalid cross-device link")
        return replace(self, target)

    monkeypatch.setattr(pathlib.Path, "replace", within)
    run(pipeline, LineFiles([path], Columns()), FileOut(Paths(out, bad), JsonLines(), IDENTITY, folder=False))
    assert len(bad.read_bytes().splitlines()) == ROWS // 7
    assert [file.name for file in bad.parent.iterdir()] == ["bad.jsonl"]


def test_two_runs_do_not_write_one_side_file(tmp_path: Path) -> None:
    """The second one is told, and the first one loses nothing."""
    with side_file.grow(tmp_path / "bad.jsonl") as held:
        held.write(b"{}")
        with pytest.raises(BatchError, match=r"another batch is writing .*bad.jsonl"):
            side_file.grow(tmp_path / "bad.jsonl")
        side_file.put(tmp_path / "bad.jsonl", held)
    side_file.grow(tmp_path / "bad.jsonl").close()
    assert (tmp_path / "bad.jsonl").read_bytes() == b"{}"


@pytest.mark.parametrize("folder", [True, False])
def test_a_fresh_run_replaces_the_output_when_it_is_whole(tmp_path: Path, pipeline: Pipeline, folder: bool) -> None:
    """Begun anew over another input, the output and its side file are the new ones."""
    path, out = written(tmp_path), tmp_path / "out.jsonl"
    tagged(path, out, pipeline, folder=folder)
    path.write_bytes(b'{"id":"a","title":"deployment"}')
    assert tagged(path, out, pipeline, folder=folder, fresh=True) == Tally(rows=1, tagged=1)
    assert not Paths(out).rejected.exists()
    (only,) = out.iterdir() if folder else [out]
    assert json.loads(only.read_bytes())["id"] == "a"


def test_two_runs_do_not_write_one_output(tmp_path: Path, pipeline: Pipeline) -> None:
    """While one run holds the folder of work, another one is told so."""
    path, out = written(tmp_path), tmp_path / "out.jsonl"
    rows = LineFiles([path], Columns())
    held = FileOut(Paths(out), JsonLines(), IDENTITY, folder=False)
    with pytest.raises(BatchError, match="another batch is writing"):
        tagged(path, out, pipeline)
    run(pipeline, rows, held)
    assert out.exists()


def test_a_part_that_is_gone_is_noticed(tmp_path: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that somebody has removed is named, and the output is not made without it."""
    path, out = written(tmp_path), tmp_path / "out.jsonl"
    _stopped_behind_a_part(path, out, pipeline, monkeypatch)
    Paths(out).part(0, ".jsonl").unlink()
    with pytest.raises(ChangedError, match=r"part-000000.jsonl is gone"):
        tagged(path, out, pipeline)


def test_a_state_that_cannot_be_read_is_named(tmp_path: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state that somebody has changed is refused with the next step."""
    path, out = written(tmp_path), tmp_path / "out.jsonl"
    _stopped_behind_a_part(path, out, pipeline, monkeypatch)
    Paths(out).state.write_bytes(b"{")
    with pytest.raises(ChangedError, match="no state of a batch"):
        tagged(path, out, pipeline)


def test_a_disk_that_refuses_is_a_sentence(tmp_path: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk ends the run with the reason, and the same command goes on when there is room."""
    path, out = written(tmp_path), tmp_path / "out.jsonl"

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(BatchError, match="No space left on device"):
            tagged(path, out, pipeline)
    assert tagged(path, out, pipeline).rows == ROWS


def test_a_folder_without_second_names_is_copied(tmp_path: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without hard links gets copies of the parts."""
    path, out = written(tmp_path), tmp_path / "out"

    def refused(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refused)
    tagged(path, out, pipeline, folder=True)
    assert sum(len(file.read_bytes().splitlines()) for file in out.iterdir()) == sum(number % 7 > 0 for number in range(ROWS))


def _stopped_behind_a_part(path: Path, out: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was killed when its state said that the first part is whole."""
    publications = pipeline.publications

    def until_a_part(records: list[Any], **named: Any) -> list[Any]:
        if Paths(out).state.exists():
            raise Killed
        return publications(records, **named)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "publications", until_a_part)
        with pytest.raises(Killed):
            tagged(path, out, pipeline)
