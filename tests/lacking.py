"""A test that needs something which this machine lacks: skipped on a person's machine, a failure in CI.

In CI a skip would hide that something was never tested, because a run with skips is green too.
"""

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

# Program -> the names that it goes by, and what to say where there is none of them.
LABEL_STUDIO = Path(__file__).parents[1] / ".label-studio" / "bin" / "python"
ASYNCAPI = Path(__file__).parents[1] / ".ci" / "asyncapi" / "node_modules" / ".bin" / "asyncapi"
OPENAPI_PYTHON = Path(__file__).parents[1] / ".openapi" / "bin" / "openapi-python-client"
OPENAPI_TYPESCRIPT = Path(__file__).parents[1] / ".ci" / "openapi" / "node_modules" / ".bin" / "openapi-typescript"
PROGRAMS: dict[str, tuple[tuple[str, ...], str]] = {
    "asyncapi": ((str(ASYNCAPI),), "no AsyncAPI command to validate the contract with: run `make asyncapi`"),
    "chromium": (
        ("chromium", "chromium-browser", "google-chrome"),
        "no browser to open pages in: install the package chromium",
    ),
    "faketime": (("faketime",), "no library to set the clock of a process: install the package faketime"),
    "git": (("git",), "no git to make a checkout with: install the package git"),
    "go": (("go",), "no Go to build kustomize with: install the package golang-go"),
    "label-studio": ((str(LABEL_STUDIO),), "no SDK of Label Studio to read our files with: run `make label-studio`"),
    "openapi-python-client": ((str(OPENAPI_PYTHON),), "no generator of clients in Python: run `make openapi`"),
    "openapi-typescript": ((str(OPENAPI_TYPESCRIPT),), "no generator of clients in TypeScript: run `make openapi`"),
    "openssl": (("openssl",), "no openssl to make certificates with: install the package openssl"),
    "prometheus": (("prometheus",), "no Prometheus to watch real workers: install the package prometheus"),
    "promtool": (("promtool",), "no promtool to evaluate the rules with: install the package prometheus"),
}


def lacking(reason: str) -> NoReturn:
    """
    End the test that is set up or runs: a failure where the variable CI is set, as CI services set it, otherwise a skip.

    Args:
        reason: The missing part and how to get it; the summary prints it.
    """
    if os.environ.get("CI", "").lower() not in {"", "0", "false"}:
        pytest.fail(f"CI must not skip this test: {reason}", pytrace=False)
    pytest.skip(reason)


def program(name: str) -> str:
    """The path of one of `PROGRAMS`; without it the test is `lacking`."""
    names, reason = PROGRAMS[name]
    for found in map(shutil.which, names):
        if found is not None:
            return found
    lacking(reason)


def skipped_line(reasons: Sequence[str]) -> str:
    """
    Why tests were skipped, in one line.

    >>> skipped_line(["no Docker", "no openssl", "no Docker"])
    '2 tests: no Docker; 1 test: no openssl'
    """
    counts = Counter(" ".join(reason.split()) for reason in reasons).most_common()
    return "; ".join(f"{count} test{'s' if count > 1 else ''}: {reason}" for reason, count in counts)
