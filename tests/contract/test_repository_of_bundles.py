"""`examples/bundles`: the commands of its workflow, as they stand, on pull requests with the shipped bundle and with one made worse."""

import csv
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile, copytree
from typing import Any

import msgspec
import pytest
import yaml

from tagstream.model_export.bundle import bundle as bundles
from tagstream.model_export.bundle.signature import sign
from tagstream.model_export.compare import requirements
from tagstream.model_export.data import splits
from tagstream.model_export.measure.suites import SUITES
from tagstream.stream.demo.rollout import exchanged
from tests.unit.model_export.bundle.test_signature import new_keys

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "bundles"
WORKFLOW: dict[Any, Any] = yaml.safe_load((EXAMPLE / ".github" / "workflows" / "bundle.yml").read_text("utf-8"))
JOB = WORKFLOW["jobs"]["judge"]
RUNS = [step for step in JOB["steps"] if "run" in step]
INSTALL = "install"
(MODEL,) = JOB["strategy"]["matrix"]["model"]
SECONDS = 800
# Every so many rows of the authored topics that no shipped model has learned from.
EVERY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How the steps went: the name of the last one that ran, its exit code and what it printed."""

    step: str
    code: int
    said: str


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """The keys of a releaser and of a stranger."""
    folder = tmp_path_factory.mktemp("keys")
    return {name: new_keys(folder, name) for name in ("release", "stranger")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The shipped bundle, the same with another version, and one with the names of two labels exchanged."""
    folder, shipped = tmp_path_factory.mktemp("bundles"), bundles.read(bundles.DEFAULT_BUNDLE)
    manifest = msgspec.structs.replace(shipped.manifest, version=f"{shipped.manifest.version}-again")
    again = bundles.write(folder / "again", manifest=manifest, model=shipped.model, tokenizer=shipped.tokenizer).path
    first, second, *_ = shipped.manifest.labels
    return {"shipped": shipped.path, "again": again, "worse": exchanged(shipped, folder / "worse", (first, second), "worse")}


def git(folder: Path, *words: str) -> None:
    """Run git there, as somebody."""
    who = ("-c", "user.name=Somebody", "-c", "user.email=somebody@localhost", "-c", "init.defaultBranch=main")
    subprocess.run(("git", *who, *words), cwd=folder, check=True, capture_output=True, timeout=SECONDS)


def commit(repository: Path, name: str) -> None:
    """Commit all that is there, on a branch of that name, which begins here."""
    git(repository, "checkout", "-q", "-B", name)
    git(repository, "add", "--all")
    git(repository, "commit", "-q", "-m", name)


def main_branch(repository: Path, key: Path) -> None:
    """The branch `main` before its first bundle: the example, with rows and cases for the shipped labels."""
    copytree(EXAMPLE, repository)
    git(repository, "init", "-q")
    with (repository / MODEL / "gold.csv").open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(("title", "tag"))
        lines.writerows((row.text, row.tag) for row in splits.load(None).corpus_test[::EVERY])
    copyfile(SUITES / "minimum.jsonl", repository / MODEL / "suite.jsonl")
    copyfile(key, repository / "release.pub")
    commit(repository, "main")


def bring(repository: Path, bundle: Path, key: Path) -> None:
    """Put a signed bundle into its place."""
    copytree(bundle, repository / MODEL / "bundle", dirs_exist_ok=True)
    sign(repository / MODEL / "bundle", key)


def judged(repository: Path, workspace: Path) -> Ran:
    """Check out as the workflow says, and run its steps on the branch `new` until one fails."""
    workspace.mkdir()
    known = {"${{ matrix.model }}": MODEL, "${{ github.workspace }}": str(workspace), "${{ github.base_ref }}": "main"}

    def filled(text: str) -> str:
        for expression, value in known.items():
            text = text.replace(expression, value)
        return text

    for step in JOB["steps"]:
        if step.get("uses", "").startswith("actions/checkout@"):
            branch = filled(step["with"].get("ref", "new"))
            git(workspace, "clone", "-q", "--branch", branch, str(repository), step["with"]["path"])
    beside = Path(sys.executable).parent
    env: dict[str, str] = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TAGSTREAM_")},
        **{name: filled(value) for name, value in JOB["env"].items()},
        "PYTHONPATH": str(ROOT),
        "PATH": f"{beside}:{os.environ['PATH']}",
    }
    ran = Ran(step="", code=0, said="")
    for step in RUNS:
        if step["name"] == INSTALL or ran.code:
            continue
        ran = run(step, workspace, env)
    return ran


def run(step: Mapping[str, str], workspace: Path, env: Mapping[str, str]) -> Ran:
    """One step, in the shell that GitHub runs it in."""
    script = workspace / "step.sh"
    script.write_text(step["run"], encoding="utf-8")
    shell = ("bash", "--noprofile", "--norc", "-eo", "pipefail", str(script))
    done = subprocess.run(shell, cwd=workspace, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)
    return Ran(step=step["name"], code=done.returncode, said=done.stdout + done.stderr)


def test_no_value_of_a_pull_request_is_written_into_a_script() -> None:
    """Scripts take variables alone, so a name of a branch cannot become a command; the shell is the one that the tests run."""
    assert [step["name"] for step in RUNS] == [INSTALL, "verify", "evaluate"]
    assert not any("${{" in step["run"] for step in RUNS)
    assert WORKFLOW["defaults"]["run"]["shell"] == "bash"
    assert WORKFLOW["permissions"] == {"contents": "read"}


def test_the_step_that_is_not_run_here_installs_what_there_is() -> None:
    """Its extras are tagstream's, and among them are those that the commands need."""
    (install,) = [step["run"] for step in RUNS if step["name"] == INSTALL]
    (extras,) = re.findall(r"\[([\w,-]+)\]", install)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(extras.split(",")) == {"export", "signing"} <= set(project["optional-dependencies"])


def test_the_requirements_can_be_judged() -> None:
    """The file `require` of the example is read without an error."""
    asked = (EXAMPLE / MODEL / "require").read_text("utf-8").splitlines()
    assert [str(requirements.parse(each, beside=False)) for each in asked] == [each.replace("=", ">=") for each in asked]


def test_a_bundle_that_is_as_good_passes_and_a_worse_one_is_refused(
    made: dict[str, Path], keys: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    """The first bundle by the figures alone, the same again beside it; a worse one ends with 1, even if it brings lower figures."""
    repository, (private, public) = tmp_path / "repository", keys["release"]
    main_branch(repository, public)
    bring(repository, made["shipped"], private)
    commit(repository, "new")
    first = judged(repository, tmp_path / "first")
    assert (first.step, first.code) == ("evaluate", 0), first.said
    assert "not-worse" not in first.said
    assert (tmp_path / "first" / "report" / "report.md").is_file()
    git(repository, "branch", "--force", "main", "new")
    bring(repository, made["again"], private)
    commit(repository, "new")
    again = judged(repository, tmp_path / "again")
    assert (again.step, again.code) == ("evaluate", 0), again.said
    assert "holds   not-worse (base): it is not told apart, 0 rows right in this one alone, 0 in the other alone" in again.said
    bring(repository, made["worse"], private)
    (repository / MODEL / "require").write_text("f1=0\n", encoding="utf-8")
    (repository / MODEL / "gold.csv").write_text("title,tag\nImages,computer-vision\n", encoding="utf-8")
    commit(repository, "new")
    worse = judged(repository, tmp_path / "worse")
    assert (worse.step, worse.code) == ("evaluate", 1), worse.said
    assert "MISSED  not-worse (base): it is worse, " in worse.said
    assert "MISSED  f1>=0.85: it is 0." in worse.said
    assert "Next: keep the bundle that decides now" in worse.said


def test_a_bundle_of_a_stranger_is_not_measured(
    made: dict[str, Path], keys: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    """A pull request that brings its own key is judged by that of `main`."""
    repository = tmp_path / "repository"
    main_branch(repository, keys["release"][1])
    bring(repository, made["again"], keys["stranger"][0])
    copyfile(keys["stranger"][1], repository / "release.pub")
    commit(repository, "new")
    ran = judged(repository, tmp_path / "workspace")
    assert (ran.step, ran.code) == ("verify", 1), ran.said
    assert "no trusted key has signed it" in ran.said
