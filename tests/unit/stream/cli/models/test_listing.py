"""`tagstream model list`: the bundles of a folder in order, and a line for each folder that has none."""

import json
import os
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from tagstream.model_export.bundle import bundle as bundles
from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.make.parent import Predecessor, recorded
from tagstream.stream.cli import main

DATA = {"rows": {"train": 10, "calibration": 5}, "sha256": {"rows.csv": "a" * 64}, "version": "2026-11"}


def listed(folder: Path, *words: str) -> tuple[int, str, str]:
    """Run the command; its exit code, its output, and what it says beside it."""
    done = CliRunner().invoke(main.app, ["model", "list", str(folder), *words])
    return done.exit_code, done.stdout, done.stderr


def written(folder: Path, of: Bundle, version: str, before: Bundle | None, seconds: int) -> Bundle:
    """A bundle with this parent, whose manifest was written at this time."""
    manifest = msgspec.structs.replace(of.manifest, version=version, training={**of.manifest.training, "data": DATA})
    training = recorded(manifest, None if before is None else Predecessor(bundle=before))
    made = bundles.write(
        folder,
        manifest=msgspec.structs.replace(manifest, training=training),
        model=of.model,
        tokenizer=of.tokenizer,
    )
    os.utime(folder / "bundle.json", (seconds, seconds))
    return made


def folders(folder: Path) -> list[str]:
    """The folders in the order in which they are listed."""
    return [json.loads(line)["folder"] for line in listed(folder, "--json")[1].splitlines()]


def test_the_newest_bundle_is_last_and_a_parent_is_before_its_children(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """By the time of the manifest; a copy may have changed the times, and then a parent still comes first."""
    first = written(tmp_path / "z", tiny_bundle, "1", None, 100)
    child = written(tmp_path / "b", tiny_bundle, "2", first, 300)
    written(tmp_path / "a", tiny_bundle, "other", None, 200)
    assert folders(tmp_path) == ["z", "a", "b"]
    os.utime(tmp_path / "z" / "bundle.json", (900, 900))
    written(tmp_path / "c", tiny_bundle, "3", child, 50)
    assert folders(tmp_path) == ["a", "z", "b", "c"]


def test_parent_rows_and_what_changed_are_said(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Of a parent in the folder, of one that is elsewhere, and of a bundle that names none, as older ones do."""
    elsewhere = written(tmp_path / "elsewhere", tiny_bundle, "0", None, 1)
    store = tmp_path / "store"
    first = written(store / "first", tiny_bundle, "1", elsewhere, 1)
    warmer = msgspec.structs.replace(
        tiny_bundle, manifest=msgspec.structs.replace(tiny_bundle.manifest, temperature=2.0, golden=first.manifest.golden)
    )
    written(store / "second", warmer, "2", first, 2)
    bundles.write(store / "older", manifest=tiny_bundle.manifest, model=tiny_bundle.model, tokenizer=tiny_bundle.tokenizer)
    code, out, said = listed(store)
    name = tiny_bundle.manifest.name
    assert (code, said) == (0, "")
    assert f"first: {name} 1, digest {first.digest[:12]}, " in out
    assert f"  parent   {name} 0 ({elsewhere.digest[:12]}), not in this folder\n  changed  nothing that decides\n" in out
    assert f"  parent   {name} 1 ({first.digest[:12]}), in first\n  changed  temperature\n" in out
    assert "  rows (version 2026-11): 10 learned from, 5 to calibrate\n  files: rows.csv\n" in out
    assert "older: " in out
    assert "  parent   it names none\n" in out


def test_half_a_bundle_and_other_folders_have_a_line_each(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """With the reason, and the bundles are listed all the same."""
    written(tmp_path / "whole", tiny_bundle, "1", None, 1)
    for half, lacking in (("no-manifest", "bundle.json"), ("no-network", "model.onnx")):
        written(tmp_path / half, tiny_bundle, "1", None, 1)
        (tmp_path / half / lacking).unlink()
    written(tmp_path / "altered", tiny_bundle, "1", None, 1)
    (tmp_path / "altered" / "tokenizer.json").write_text("{}", encoding="utf-8")
    (tmp_path / "notes").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "file").write_text("", encoding="utf-8")
    code, out, _ = listed(tmp_path)
    assert code == 0
    assert "whole: " in out
    for name, why in (
        ("no-manifest", "bundle.json cannot be read"),
        ("no-network", "model.onnx cannot be read"),
        ("altered", "tokenizer.json has SHA-256"),
    ):
        assert f"{name}: bundle {tmp_path / name} is refused: {why}" in out
    assert out.splitlines()[-1] == "folders without a bundle: notes"
    faults = [json.loads(line) for line in listed(tmp_path, "--json")[1].splitlines()][1:]
    assert [(each["folder"], each["fault"] == "no bundle") for each in faults] == [
        ("altered", False),
        ("no-manifest", False),
        ("no-network", False),
        ("notes", True),
    ]


def test_a_folder_that_cannot_have_bundles_is_refused(tiny_bundle_folder: Path, tmp_path: Path) -> None:
    """A bundle itself and a wrong path name the next step; an empty folder is no error."""
    code, _, said = listed(tiny_bundle_folder)
    assert (code, "is a bundle itself. Next: `tagstream model inspect" in said) == (2, True)
    code, _, said = listed(tmp_path / "none")
    assert (code, "is no folder. Next: " in said) == (2, True)
    assert listed(tmp_path) == (0, "", f"{tmp_path} has no bundle in it\n")


@pytest.mark.parametrize("record", ["a name", {"name": "x"}, {"name": "x", "version": "1", "digest": "../x"}, [1]])
def test_a_parent_in_another_form_is_no_parent(record: object, tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Another program may write anything into the record of the training."""
    bundles.write(
        tmp_path / "one",
        manifest=msgspec.structs.replace(tiny_bundle.manifest, training={"parent": record, "data": 3}),
        model=tiny_bundle.model,
        tokenizer=tiny_bundle.tokenizer,
    )
    code, out, _ = listed(tmp_path)
    assert (code, "  parent   it names none\n" in out) == (0, True)
