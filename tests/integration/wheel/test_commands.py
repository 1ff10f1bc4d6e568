"""The command of the installed wheel does what the checkout's does, beside packages of the user's own with the names of our rooms."""

import importlib.util
import json
import subprocess
import tomllib
from pathlib import Path

import pytest

from deploy.release.environment import FOREIGN, OWN_WORDS, Environment, environ
from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE
from tagstream.stream.cli.models import needs
from tests.integration.command_line import Command
from tests.waiting import HANG_SECONDS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
TICKETS = ROOT / "examples" / "tickets" / "gold.csv"


def without_broker(installed: Environment, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """A command where no broker answers, however it ends."""
    return subprocess.run(
        [installed.folder / "bin" / "tagstream", *words],
        cwd=installed.work,
        env={**environ(), "TAGSTREAM_BROKERS": "127.0.0.1:1", "TAGSTREAM_METRICS_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_package_and_our_room_of_its_name_are_imported_together(installed: Environment, name: str) -> None:
    """The wheel claims one name, so neither replaces a file of the other."""
    program = f"import {name}, tagstream.{name}; print({name}.WHOSE); print(tagstream.{name}.__file__)"
    whose, ours = installed.run("python", "-c", program).decode().splitlines()
    assert whose == OWN_WORDS
    assert Path(ours) == installed.packages / "tagstream" / name / "__init__.py"


def test_the_version_is_the_number_alone(installed: Environment) -> None:
    """An installed package is what its number says."""
    assert installed.run("tagstream", "--version").decode() == f"tagstream {VERSION}\n"


def test_help_names_the_folder_of_the_pages(installed: Environment, package: Path) -> None:
    """Messages say docs/NAME.md, and `--help` where that is: in the package."""
    said = installed.run("tagstream", "--help").decode()
    assert str(package / "docs") in "".join(said.split())
    assert (package / "docs" / "own-labels.md").is_file()


def test_classify_gives_the_decisions_of_the_checkout(installed: Environment, tagstream: Command) -> None:
    """Byte for byte but for the time."""
    here = tagstream("classify", "--json", TICKETS)
    assert here.returncode == 0, here.stderr
    there = installed.run("tagstream", "classify", "--json", TICKETS)
    assert _without_times(there) == _without_times(here.stdout)
    assert len(there.splitlines()) == 140


def _without_times(output: bytes) -> list[str]:
    found = [json.loads(line) for line in output.splitlines()]
    assert all(one.pop("tagged_at") for one in found)
    return [json.dumps(one) for one in found]


@pytest.mark.parametrize(
    "words",
    [
        ("config", "show"),
        ("contract", "show"),
        ("model", "inspect"),
        ("model", "inspect", "--json"),
        ("model", "list", str(DEFAULT_BUNDLE.parent)),
        ("doctor", "--acls", "user"),
    ],
    ids=" ".join,
)
def test_what_is_shown_is_what_the_checkout_shows(
    installed: Environment, package: Path, tagstream: Command, words: tuple[str, ...]
) -> None:
    """Settings, contract, bundle and rights, with another folder for the bundle."""
    here = tagstream(*words)
    assert here.returncode == 0, here.stderr
    assert here.stdout
    # An absolute path in the checkout may lead through the package's link or not.
    shown = here.stdout.decode()
    for folder in (ROOT / "tagstream", ROOT):
        shown = shown.replace(str(folder), str(package))
    assert installed.run("tagstream", *words).decode() == shown


@pytest.mark.parametrize(
    "words",
    [
        ("train", "out", "--data", TICKETS, "--quick"),
        ("train", "out", "--corpus-only"),
        ("import", "model", "out", "--calibrate", TICKETS),
        ("evaluate", "--data", TICKETS),
        ("train", "out", "--from", DEFAULT_BUNDLE),
    ],
    ids=lambda words: words[0],
)
def test_before_training_it_says_what_torch_takes_and_how_to_take_less(
    installed: Environment, package: Path, words: tuple[str | Path, ...]
) -> None:
    """Where PyTorch is missing: how to install it from this wheel, its size, and the page on the build for the CPU, which is there."""
    if importlib.util.find_spec("torch") is not None:
        pytest.skip("this environment has PyTorch, and lends it")
    done = without_broker(installed, "model", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{installed.python} -m pip install 'tagstream[export] @ " in done.stderr
    assert needs.TORCH_TAKES in done.stderr
    page = package / "docs" / "install.md"
    assert str(page) in done.stderr
    assert "## PyTorch for the CPU\n" in page.read_text(encoding="utf-8")
    assert list(installed.work.iterdir()) == []


def test_doctor_without_a_broker_says_what_to_do(installed: Environment) -> None:
    """All that needs no broker is in order in the installed package, and the next step is named."""
    done = without_broker(installed, "doctor")
    assert done.returncode == 3, done.stderr
    failed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert failed == ["brokers"], done.stdout
    assert "next: start the broker, or correct host and port in TAGSTREAM_BROKERS" in done.stdout
