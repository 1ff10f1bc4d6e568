"""The face of the package: light, complete, and nothing beside it."""

import subprocess
import sys
from pathlib import Path

import pytest

import tagstream

ROOT = Path(__file__).parents[2]


def test_the_package_is_imported_without_its_rooms() -> None:
    """`import tagstream` loads nothing of them; each name brings what it needs."""
    code = (
        "import sys, tagstream; print([name for name in sys.modules if name.startswith('tagstream.')], tagstream.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, timeout=120)
    assert done.stdout.decode().startswith("[] ")


@pytest.mark.parametrize("name", tagstream.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """And is found in `dir`."""
    assert getattr(tagstream, name) is not None
    assert name in dir(tagstream)


def test_another_name_is_an_error_that_lists_those_there_are() -> None:
    """A misspelt one."""
    with pytest.raises(AttributeError, match=r"no public name 'tagger'; it has .*Tagger"):
        _ = tagstream.tagger
