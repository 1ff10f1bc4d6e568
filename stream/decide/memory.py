"""How much more memory this process may take, and how much a model takes: what is asked before a model is loaded beside another."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
# So many times the size of its files a model takes at most while it is loaded and warmed up, and each thread more. The shipped bundle of
# 19.4 MiB took 62, 69 and 85 MiB with one, two and four threads.
LOADED, OF_A_THREAD = 3.0, 0.5
# A process that has loaded no model yet takes 27 MiB of its own. The kernel counts the whole stack of a thread, though little of it is used.
OF_A_PROCESS, OF_A_STACK = 32 * 1024 * 1024, 8 * 1024 * 1024


def needed_bytes(file_bytes: int, threads: int) -> int:
    """
    The bytes that a model takes which shares its network with none that is loaded.

    Args:
        file_bytes: The size of the bundle's files.
        threads: How many decide at once.

    >>> needed_bytes(10, 2)
    40
    """
    return int(file_bytes * (LOADED + OF_A_THREAD * threads))


def tried_bytes(file_bytes: int, threads: int) -> int:
    """
    The bytes of a process of its own in which such a model is loaded and warmed up.

    >>> tried_bytes(0, 2) // 1024 // 1024
    48
    """
    return needed_bytes(file_bytes, threads) + OF_A_PROCESS + threads * OF_A_STACK


def free_bytes(root: Path = ROOT) -> int | None:
    """
    The bytes that this process may still take before the kernel ends a process: of its control groups (v2 or v1), and of the machine.

    Pages of files that the kernel can drop count as free. None where the kernel says neither, as on another system than Linux.

    Args:
        root: Where `proc` and `sys` are.
    """
    found = [left for left, _ in (*_of_groups(root), *_of_the_machine(root))]
    return max(0, min(found)) if found else None


def used_share(root: Path = ROOT) -> float | None:
    """
    The share, 0 to 1, of the tightest limit on this process' memory that is in use: of its control groups, and of the machine.

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
    """What is left of a limit, and the limit: of a group and of those above it, each that has one. In a container the mount is the group, whatever its path."""
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
    """The number in a file of the kernel; None if there is no such file, or no limit."""
    (text,) = _lines(file) or ("",)
    return int(text) if text.isdigit() else None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
