"""The memory that is left, by the files of a kernel: of control groups of both versions, and of the machine."""

from pathlib import Path

import pytest

from tagstream.stream.decide.memory import free_bytes

MEMINFO = "MemTotal: 9000 kB\nMemAvailable:    4000 kB\n"
MACHINE = 4000 * 1024


def kernel(root: Path, **files: str) -> Path:
    """The files of a kernel; `__` in a name stands for a slash."""
    for name, content in files.items():
        file = root / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return root


def group(root: Path, folder: str, limit: str, used: int, dropped: int, *, version: int = 2) -> None:
    """A control group with its limit, its use, and the pages of files that may be dropped."""
    names = (
        ("memory.max", "memory.current", "") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
    )
    at = root / "sys/fs/cgroup" / folder
    at.mkdir(parents=True, exist_ok=True)
    (at / names[0]).write_text(f"{limit}\n")
    (at / names[1]).write_text(f"{used}\n")
    (at / "memory.stat").write_text(f"anon 7\n{names[2]}active_file {dropped}\n{names[2]}inactive_file {dropped}\n")


def test_the_limit_of_the_nearest_group_counts(tmp_path: Path) -> None:
    """Of a group, of one above it, and in a container, where the group is what is mounted."""
    kernel(tmp_path, proc__meminfo=MEMINFO, proc__self__cgroup="0::/pod/worker\n")
    assert free_bytes(tmp_path) == MACHINE
    group(tmp_path, "pod/worker", "max", 10, 0)
    assert free_bytes(tmp_path) == MACHINE
    group(tmp_path, "pod", "1000", 600, 50)
    assert free_bytes(tmp_path) == 500
    group(tmp_path, "pod/worker", "700", 600, 50)
    assert free_bytes(tmp_path) == 200
    group(tmp_path, "", "650", 600, 0)
    assert free_bytes(tmp_path) == 50
    group(tmp_path, "", "500", 600, 0)
    assert free_bytes(tmp_path) == 0


def test_groups_of_the_first_version_count(tmp_path: Path) -> None:
    """That of memory, among others."""
    kernel(tmp_path, proc__meminfo=MEMINFO, proc__self__cgroup="4:cpu,cpuacct:/x\n3:memory:/pod\n")
    group(tmp_path, "memory/pod", "900", 500, 100, version=1)
    assert free_bytes(tmp_path) == 600


@pytest.mark.parametrize("files", [{}, {"proc__self__cgroup": "0::/\n"}])
def test_a_system_that_says_nothing_has_no_limit(tmp_path: Path, files: dict[str, str]) -> None:
    """Nothing is refused there."""
    assert free_bytes(kernel(tmp_path, **files)) is None


def test_this_machine_says_something_that_can_be_true() -> None:
    """The files of a real kernel are read."""
    found = free_bytes()
    assert found is None or 0 < found < 2**50
