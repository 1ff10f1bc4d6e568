"""A difference to the checkout ends the release."""

from pathlib import Path

import pytest

from deploy.release.failure import ReleaseError
from deploy.release.trial import SAMPLES, require_same

EXPECTED: list[dict[str, object]] = [{"tag": "a"}, {"tag": "b"}]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with samples."""
    (tmp_path / SAMPLES).parent.mkdir(parents=True)
    (tmp_path / SAMPLES).write_bytes(b"title\nx\ny\n")
    return tmp_path


def test_decisions_may_differ_in_their_times_alone(root: Path) -> None:
    """The other one gets the samples, and is compared row by row."""
    given: list[bytes] = []

    def decide(rows: bytes) -> bytes:
        given.append(rows)
        return b'{"tag":"a","tagged_at":"2026-11-30T00:00:00Z"}\n{"tagged_at":"2026-11-30T00:00:01Z","tag":"b"}\n'

    require_same(root, EXPECTED, decide, "the wheel")
    assert given == [b"title\nx\ny\n"]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (b'{"tag":"a"}\n{"tag":"c"}\n', "2 decisions on 2 rows of .*, 1 of them different, the first in row 2"),
        (b'{"tag":"a"}\n', r"1 decisions on 2 rows of .*, 0 of them different\. "),
        (b"", "0 decisions on 2 rows"),
    ],
    ids=["other", "fewer", "none"],
)
def test_other_decisions_are_refused(root: Path, lines: bytes, why: str) -> None:
    """Another tag, a row less, or none."""
    with pytest.raises(ReleaseError, match=f"^the wheel decides otherwise than the checkout: {why}"):
        require_same(root, EXPECTED, lambda _: lines, "the wheel")
