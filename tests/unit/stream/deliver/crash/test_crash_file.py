"""The file that outlives its process: readable at every moment, locked while its process lives, found when it is dead."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tagstream.stream.deliver.crash.crash_file import FORGOTTEN_SECONDS, CrashFile, left_behind, newest
from tests.waiting import HANG_SECONDS

ROOM = 64


@hypothesis_settings(deadline=None)
@given(st.lists(st.binary(max_size=ROOM), min_size=1, max_size=6), st.data())
def test_a_crash_at_any_byte_leaves_the_last_payload_or_the_one_before(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], data: st.DataObject
) -> None:
    """If only some bytes of the last write have reached the file, or one byte is wrong, the payload before it is read."""
    file = CrashFile(tmp_path_factory.getbasetemp(), stem="torn", payload_bytes=ROOM)
    contents = [file.path.read_bytes()]
    for payload in payloads:
        file.write(payload)
        contents.append(file.path.read_bytes())
    file.close(remove=True)
    before, after = contents[-2:]
    was = payloads[-2] if len(payloads) > 1 else None
    assert newest(after) == payloads[-1]

    changed = [at for at in range(len(after)) if before[at] != after[at]]
    cut = data.draw(st.integers(changed[0], changed[-1]))
    assert newest(after[:cut] + before[cut:]) == was

    at = data.draw(st.sampled_from(changed))
    wrong = after[:at] + bytes([after[at] ^ data.draw(st.integers(1, 255))]) + after[at + 1 :]
    assert newest(wrong) == was


@given(st.binary(max_size=300))
def test_other_bytes_are_read_as_no_payload(content: bytes) -> None:
    """Bytes that another program wrote neither become a payload nor raise."""
    assert newest(content) is None


def test_a_file_of_zeros_has_no_payload(tmp_path: Path) -> None:
    """A process that dies before its first write leaves such a file."""
    file = CrashFile(tmp_path, stem="a", payload_bytes=ROOM)
    assert newest(file.path.read_bytes()) is None
    file.close(remove=True)
    assert list(tmp_path.iterdir()) == []


def test_a_payload_that_is_too_large_is_refused_and_the_last_one_stays(tmp_path: Path) -> None:
    """A larger payload would run into the other slot."""
    file = CrashFile(tmp_path, stem="a", payload_bytes=ROOM)
    file.write(b"said")
    with pytest.raises(OSError, match="65 bytes where there is room for 64"):
        file.write(b"x" * 65)
    assert newest(file.path.read_bytes()) == b"said"
    file.write(b"x" * 64)
    assert newest(file.path.read_bytes()) == b"x" * 64
    file.close(remove=False)


@pytest.fixture
def other(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A living process that has written `theirs`."""
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom tagstream.stream.deliver.crash.crash_file import CrashFile\n"
        f"CrashFile(Path(sys.argv[1]), stem='a', payload_bytes={ROOM}).write(b'theirs')\nprint('ready', flush=True)\ntime.sleep({HANG_SECONDS})\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_a_living_process_keeps_its_file_and_a_killed_one_leaves_it(tmp_path: Path, other: "subprocess.Popen[str]") -> None:
    """The kernel releases the lock of a dead process, and then only one process can take its file."""
    assert list(left_behind(tmp_path, stem="a")) == []
    other.kill()
    other.wait(HANG_SECONDS)
    assert list(left_behind(tmp_path, stem="b")) == []
    (left,) = left_behind(tmp_path, stem="a")
    assert left.payload == b"theirs"
    assert list(left_behind(tmp_path, stem="a")) == []
    left.remove()
    assert list(tmp_path.iterdir()) == []


def test_files_of_other_groups_are_deleted_when_they_cannot_be_needed_any_more(tmp_path: Path) -> None:
    """A dead process's file goes after a month; the file of a living process stays, however old it is."""
    alive = CrashFile(tmp_path, stem="alive", payload_bytes=ROOM)
    for name in ("old", "young"):
        CrashFile(tmp_path, stem=name, payload_bytes=ROOM).close(remove=False)
    long_ago = time.time() - FORGOTTEN_SECONDS - 60
    for path in tmp_path.glob("[ao]*"):
        os.utime(path, (long_ago, long_ago))
    assert list(left_behind(tmp_path, stem="mine")) == []
    assert sorted(path.name.split("-")[0] for path in tmp_path.iterdir()) == ["alive", "young"]
    alive.close(remove=True)
