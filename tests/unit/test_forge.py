"""`.github`: its workflows are valid and call what there is, and its forms have what a forge asks of them."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.go.programs import ROOT, EngineError, GoProgram, built, cache_folder, run_to_end
from tests.lacking import program

FORGE = ROOT / ".github"
WORKFLOWS = sorted((FORGE / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (FORGE / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
ACTIONLINT = GoProgram(
    name="actionlint",
    module="github.com/rhysd/actionlint",
    version="v1.7.12",
    package="github.com/rhysd/actionlint/cmd/actionlint",
    imported="github.com/rhysd/actionlint",
)
CHECK_SECONDS = 60.0
TARGET = re.compile(r"^([\w./-]+):", re.MULTILINE)
# A call of make, or of the script that takes its targets, with all words that are neither options nor settings.
CALL = re.compile(r"(?:^|\s)(?:make|(\.ci/run))((?:[ ][\w./-]+(?![\w./=-]))*)", re.MULTILINE)


def read(path: Path) -> dict[Any, Any]:
    """A file of YAML; the key `on` of a workflow is read as `True`."""
    found: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def check(*files: Path) -> None:
    """
    Check workflows by actionlint. Other linters that it would call, where a machine has them, are left out.

    Raises:
        EngineError: Something is wrong in one of them, or actionlint cannot be had.
    """
    program("go")
    words = (str(built(ACTIONLINT, cache_folder("forge"))), "-no-color", "-shellcheck=", "-pyflakes=", *map(str, files))
    run_to_end(words, os.environ, CHECK_SECONDS)


def called(script: str) -> list[str]:
    """
    The targets of make that a script calls.

    >>> called('cd x && make release VERSION="$X"')
    ['release']
    >>> called(".ci/run docs test-all")
    ['docs', 'test-all']
    """
    return [word for _, words in CALL.findall(script) for word in words.split()]


def scripts(path: Path) -> list[str]:
    """The scripts of a workflow."""
    return [step["run"] for job in read(path)["jobs"].values() for step in job.get("steps", ()) if "run" in step]


@pytest.mark.slow
def test_the_workflows_are_valid() -> None:
    """By actionlint: names, types and places of what they say, and the expressions in it."""
    check(*WORKFLOWS)


@pytest.mark.slow
def test_a_workflow_with_a_mistake_is_found(tmp_path: Path) -> None:
    """The message names it."""
    wrong = tmp_path / "wrong.yml"
    wrong.write_text((FORGE / "workflows" / "nightly.yml").read_text("utf-8").replace("runs-on:", "run-on:"), encoding="utf-8")
    with pytest.raises(EngineError, match="run-on"):
        check(wrong)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_targets_of_make_that_exist(path: Path) -> None:
    """A target that is renamed here would be missed by the forge alone."""
    targets = set(TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))
    assert [target for script in scripts(path) for target in called(script) if target not in targets] == []
    assert any(re.search(r"\bmake |\.ci/run\b", script) for script in scripts(path))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_job_has_an_end_and_no_right_that_it_does_not_name(path: Path) -> None:
    """A job that calls another workflow has the ends of its jobs."""
    workflow = read(path)
    assert workflow["permissions"] == {}
    assert "concurrency" in workflow
    jobs = workflow["jobs"]
    assert [name for name, job in jobs.items() if not job.get("permissions")] == []
    assert [name for name, job in jobs.items() if "uses" not in job and not 0 < job["timeout-minutes"] <= 180] == []


def test_nothing_that_signs_or_publishes_runs_the_project() -> None:
    """A job of a release with a right to write checks nothing out, so no package that a test brings can use that right."""
    jobs = read(FORGE / "workflows" / "release.yml")["jobs"]
    writing = {name for name, job in jobs.items() if "write" in job["permissions"].values()}
    checked_out = {
        name for name, job in jobs.items() if any("actions/checkout@" in step.get("uses", "") for step in job.get("steps", ()))
    }
    assert writing == {"attest", "image", "pypi", "notes"}
    assert checked_out == {"build"}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_has_what_the_forge_asks_of_it(path: Path) -> None:
    """A form with a mistake is not offered, and the forge says so to nobody."""
    form = read(path)
    assert form.keys() <= {"name", "description", "title", "labels", "body"}
    assert form["name"]
    assert form["description"]
    inputs = [part for part in form["body"] if part["type"] != "markdown"]
    assert {part["type"] for part in inputs} <= {"input", "textarea", "dropdown", "checkboxes"}
    assert len({part["id"] for part in inputs}) == len({part["attributes"]["label"] for part in inputs}) == len(inputs) > 0
    assert all(part["attributes"]["options"] for part in inputs if part["type"] in {"dropdown", "checkboxes"})
    assert all(part["attributes"]["value"] for part in form["body"] if part["type"] == "markdown")


def test_an_issue_is_opened_by_a_form() -> None:
    """A free issue has nothing that warns of credentials and of real events."""
    assert {path.stem for path in FORMS} == {"bug", "wrong-decision", "feature"}
    assert read(FORGE / "ISSUE_TEMPLATE" / "config.yml")["blank_issues_enabled"] is False
