"""`model train` and `model evaluate` on rows that have no end; they need the second environment."""

from pathlib import Path

import pytest

from tests.integration.holes.test_formats import TINY, refuses_rows


@pytest.mark.parametrize("verb", [("train", "out", "--quick", "--data"), ("evaluate", TINY, "--data")])
@pytest.mark.parametrize("given", ["a pipe", "/dev/zero", "/dev/urandom", "many labels"])
def test_rows_without_an_end_are_refused_at_once(verb: tuple[str | Path, ...], given: str, tmp_path: Path) -> None:
    """A pipe that nobody writes to, a device without an end, and a label for each of 300,000 rows are a sentence with code 2."""
    refuses_rows(verb, given, tmp_path)
