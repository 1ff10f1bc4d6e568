"""The memory that this process may still take, and the memory that a model takes: both are compared before a second model is loaded."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
# The most memory of a model that is loaded and warmed up, and of each thread, as a multiple of the size of the model's files. The shipped
# bundle of 19.4 MiB took 62, 69 and 85 MiB with one, two and four threads.
LOADED, OF_A_THREAD = 3.0, 0.5
# A process without a model takes 27 MiB. The kernel counts the whole stack of a thread, though little of it is used.
OF_A_PROCESS, OF_A_STACK = 32 * 1024 * 1024, 8 * 1024 * 1024


def needed_bytes(file_bytes: int, threads: int) -> int:
    """
    The bytes that a model takes if no loaded model has the same network.

    Args:
        file_bytes: The size of the bundle's files in bytes.
        threads: The number of threads that decide at once.

    >>> needed_bytes(10, 2)
    40
    """
    return int(file_bytes * (LOADED + OF_A_THREAD * threads))


def tried_bytes(file_bytes: int, threads: int) -> int:
    """
    The bytes of a new process that loads a model and warms it up. Arguments as for `needed_bytes`.

    >>> tried_bytes(0, 2) // 1024 // 1024
    48
    """
    return needed_bytes(file_bytes, threads) + OF_A_PROCESS + threads * OF_A_STACK


def free_bytes(root: Path = ROOT) -> int | None:
    """
    The bytes that this process may still take, within its control groups (v2 or v1) and the machine, before the kernel ends a process.

    Pages of files that the kernel can drop count as free. None if the kernel does not tell, as on a system other than Linux.

    Args:
        root: Where `proc` and `sys` are.
    """
    found = [left for left, _ in (*_of_groups(root), *_of_the_machine(root))]
    return max(0, min(found)) if found else None


def used_share(root: Path = ROOT) -> float | None:
    """
    The used share, 0 to 1, of the tightest memory limit: of this process's control groups, or of the machine. None if there is no limit.

    Args:
        root: Where `proc` and `sys` are.
    """
    limits = [*_of_groups(root), *_of_the_machine(root)]
    return max((1 - left / most for left, most in limits if most), default=None)


def _of_groups(root: Path) -> Iterator[tuple[int, int]]:
    for line in _lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            yield from _left(root / "sys/fs/cgroup", path, "memory.max", "memory.current", "")
        elif "memory" in controllers.split(","):
            yield from _left(root / "sys/fs/cgroup/memory", path, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_")


def _left(mount: Path, path: str, limit: str, usage: str, prefix: str) -> Iterator[tuple[int, int]]:
    """
    The bytes left of a limit, and the limit, for a group and each group above it that has a limit.

    In a container the mount is the group, whatever the group's path.
    """
    group = mount / path.strip("/")
    for folder in {mount, group, *group.parents}:
        if not folder.is_relative_to(mount):
            continue
        most, used = (_number(folder / name) for name in (limit, usage))
        if most is not None and used is not None:
            stat = dict(line.split() for line in _lines(folder / "memory.stat"))
            free = most - used + sum(int(stat.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))
            yield free, most


def _of_the_machine(root: Path) -> Iterator[tuple[int, int]]:
    found = {name: value for name, _, value in (line.partition(":") for line in _lines(root / "proc/meminfo"))}
    if "MemAvailable" in found:
        free, most = (int(found.get(name, "0").split()[0]) * 1024 for name in ("MemAvailable", "MemTotal"))
        yield free, most


def _number(file: Path) -> int | None:
    """The number in a file of the kernel; None if the file does not exist, or states no limit."""
    (text,) = _lines(file) or ("",)
    return int(text) if text.isdigit() else None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
