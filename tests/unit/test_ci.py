"""`.ci/run` passes where every step passed, and fails where one failed: its own clean-up decides neither."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / ".ci" / "run"
STEPS = (
    ".venv/.dev",
    "label-studio",
    "asyncapi",
    "openapi",
    "kubernetes",
    "docs",
    "test",
    "test-learning",
    "faults",
    "images-test",
)
# Found on the PATH, they need no installation.
PROGRAMS = ("java", "mvn", "npm", "openssl", "go", "promtool", "chromium", "faketime", "initdb", "docker")
NEEDED = ("bash", "dirname", "realpath", "mktemp", "nice", "cat", "rm", "paste", "grep", "id", "sleep", "env")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder with programs that do nothing, a `make` that notes its steps, and the few real ones that the script calls."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in PROGRAMS:
        (folder / name).write_text("#!/bin/sh\n")
    (folder / "make").write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/made\n[ "$1" != "$FAILING" ]\n')
    for made in folder.iterdir():
        made.chmod(0o755)
    for name in NEEDED:
        found = next((Path(place) / name for place in ("/usr/bin", "/bin") if (Path(place) / name).exists()), None)
        assert found is not None, name
        (folder / name).symlink_to(found)
    return tmp_path


def run(machine: Path, failing: str = "") -> tuple[int, list[str], str]:
    """The exit status of `.ci/run`, the steps that it made, and what it printed."""
    environ = {"PATH": str(machine / "bin"), "PYTHON": sys.executable, "FAILING": failing, "HOME": str(machine)}
    environ |= {"TMPDIR": str(machine), "LANG": os.environ.get("LANG", "C.UTF-8")}
    done = subprocess.run([RUN], env=environ, capture_output=True, timeout=300, check=False)
    return done.returncode, (machine / "made").read_text().split(), done.stdout.decode() + done.stderr.decode()


def test_it_passes_when_every_step_has_passed(machine: Path) -> None:
    """The installation beside the first steps is over by then, and whoever tries to end it finds nobody."""
    code, made, printed = run(machine)
    assert code == 0, printed
    assert [step for step in made if step != ".venv-learning/.installed"] == list(STEPS)
    assert "skipped: nothing" in printed


@pytest.mark.parametrize("failing", [*STEPS, ".venv-learning/.installed"])
def test_it_fails_when_a_step_fails(machine: Path, failing: str) -> None:
    """The first one, the last one, and the one in the background."""
    code, made, printed = run(machine, failing)
    assert code != 0, printed
    assert failing in made
