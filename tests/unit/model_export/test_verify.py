"""A bundle is verified in a process that can be ended, whatever its network does."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, Bundle, BundleError
from tagstream.model_export.verify import GivenUpError, verify
from tests.data.make_endless_bundle import endless
from tests.waiting import HANG_SECONDS, until


def test_verify_returns_what_was_checked(tiny_bundle: Bundle) -> None:
    """The command returns digest, labels and counts of its checks."""
    found = verify(tiny_bundle.path)
    assert found.digest == tiny_bundle.digest
    assert found.golden_texts == 6
    assert verify(tiny_bundle.path, texts=["Another text"]).invariance.rows == 7


def test_verify_refuses_what_is_no_bundle() -> None:
    """An empty folder is refused with a next step."""
    with pytest.raises(BundleError, match="Next:"):
        verify(DEFAULT_BUNDLE.parent / "no-such-bundle")


def test_a_network_that_computes_for_hours_is_ended(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """With its process: at its bound, or once the one who asked gives up."""
    folder = endless(tiny_bundle, tmp_path / "endless")
    before = children_of(os.getpid())
    with pytest.raises(BundleError, match=r"has not decided on the golden texts within 3 s\. Next: "):
        verify(folder, seconds=3)
    assert children_of(os.getpid()) == before
    over = threading.Event()
    threading.Timer(2, over.set).start()
    with pytest.raises(GivenUpError):
        verify(folder, seconds=HANG_SECONDS, goes_on=lambda: not over.is_set())
    assert children_of(os.getpid()) == before


def test_a_network_that_wants_all_memory_is_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Its process gets no more than it may have."""
    folder = endless(tiny_bundle, tmp_path / "endless")
    with pytest.raises(BundleError, match=r"(?i)memory|alloc"):
        verify(folder, most_bytes=48 * 1024 * 1024, seconds=HANG_SECONDS)


def test_the_process_dies_with_the_one_that_asked(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Also where that one is killed."""
    folder = endless(tiny_bundle, tmp_path / "endless")
    asks = f"from pathlib import Path; from tagstream.model_export.verify import verify; verify(Path({str(folder)!r}))"
    asking = subprocess.Popen([sys.executable, "-c", asks])
    until(lambda: children_of(asking.pid), "the process is there")
    (child,) = children_of(asking.pid)
    asking.kill()
    asking.wait(HANG_SECONDS)
    until(lambda: not Path(f"/proc/{child}/cmdline").exists(), "no process is left")


def children_of(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
