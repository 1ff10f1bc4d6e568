"""A trial: the released files decide as the checkout does, on every row of the sample files, to the byte but for the time."""

import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from deploy.release.environment import environ
from deploy.release.failure import ReleaseError, output

SAMPLES = Path("examples/tickets/gold.csv")
# The words of `tagstream` that decide what comes in on standard input.
CLASSIFY = ("classify", "--json", "-")

Decide = Callable[[bytes], bytes]
"""From the bytes of a file of rows to the lines of `tagstream classify --json`."""


def of_checkout(root: Path) -> list[dict[str, object]]:
    """The decisions of the checkout on the samples."""
    words = (sys.executable, "-m", "tagstream.stream.cli.main", *CLASSIFY)
    return decisions(output(words, at=root, environ=environ(), given=(root / SAMPLES).read_bytes()))


def require_same(root: Path, expected: list[dict[str, object]], decide: Decide, who: str) -> None:
    """
    Let another one decide on the samples.

    Args:
        root: The checkout.
        expected: Its decisions.
        decide: The other one.
        who: Its name in a sentence.

    Raises:
        ReleaseError: It failed, or a decision is another one.
    """
    found = decisions(decide((root / SAMPLES).read_bytes()))
    differing = [number for number, (one, other) in enumerate(zip(expected, found, strict=False), 1) if one != other]
    if differing or len(found) != len(expected):
        first = f", the first in row {differing[0]}" if differing else ""
        msg = (
            f"{who} decides otherwise than the checkout: {len(found)} decisions on {len(expected)} rows of {SAMPLES}, "
            f"{len(differing)} of them different{first}. Next: compare the versions of onnxruntime and tokenizers that it has "
            "with those of the checkout's environment (requirements/run.lock)."
        )
        raise ReleaseError(msg)


def decisions(lines: bytes) -> list[dict[str, object]]:
    """The decisions without their times."""
    found = [msgspec.json.decode(line, type=dict[str, object]) for line in lines.splitlines()]
    return [{name: value for name, value in one.items() if name != "tagged_at"} for one in found]
