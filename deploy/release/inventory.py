"""The list of what an environment has installed, in CycloneDX: its scanners tell whom a new vulnerability concerns."""

import os
import sys
from pathlib import Path

from deploy.release.environment import Environment
from deploy.release.failure import output


def write(of: Environment, file: Path, *, epoch: int) -> None:
    """
    Write the list.

    Args:
        of: The environment.
        file: JSON, by the schema of CycloneDX, which the program checks.
        epoch: The time that it gets, in seconds since 1970.

    Raises:
        ReleaseError: It cannot be written.
    """
    words = (sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--output-format", "JSON")
    output((*words, "--output-file", file, of.python), at=of.work, environ={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)})
