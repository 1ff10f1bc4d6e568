"""A release begins where it can end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.release.failure import ReleaseError
from deploy.release.release import TOOLS, release

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_that_is_gone_is_named_with_the_command_that_puts_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    """The stamp of `make` says that all is installed, so make alone does not."""
    monkeypatch.setitem(sys.modules, tool, None)
    with pytest.raises(
        ReleaseError, match=rf"has no {tool}, .*Next: {sys.executable} -m pip install --no-deps --require-hashes -r .*/dev.lock"
    ):
        release(tmp_path, "0.2.0", engine=None)


def test_a_release_without_a_version_installs_nothing(tmp_path: Path) -> None:
    """It asks for the version in a checkout that has no environment yet, and leaves it without one."""
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    (tmp_path / "tagstream").mkdir()
    # As a person calls it: below another make, it would name the folders that it enters.
    environ = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
    found = subprocess.run(
        ["make", "release", "VERSION=", "PYTHON=false"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (found.returncode, found.stdout) == (2, "Which version? Next: make release VERSION=0.2.0\n")
    assert not (tmp_path / ".venv").exists()
