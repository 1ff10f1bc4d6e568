"""On glibc all threads share one heap, and large blocks are allocated outside it."""

import platform
import subprocess
import sys

import pytest

# Each thread allocates and holds blocks too large for Python's own allocator; glibc lists its heaps as XML.
PROGRAM = """
import ctypes, sys, threading
from tagstream.stream.worker.allocator import limit_fragmentation
if sys.argv[1] == "one":
    assert limit_fragmentation()
barrier = threading.Barrier(5)
def hold():
    kept = [bytes(2000) for _ in range(200)]
    barrier.wait(600)
    barrier.wait(600)
threads = [threading.Thread(target=hold) for _ in range(4)]
for thread in threads: thread.start()
barrier.wait(600)
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
barrier.wait(600)
for thread in threads: thread.join()
"""

# After a block of 4 MiB is freed, glibc would allocate smaller blocks in the heap; then 256 KiB are held.
LARGE = """
import ctypes, sys
from tagstream.stream.worker.allocator import limit_fragmentation
if sys.argv[1] == "one":
    assert limit_fragmentation()
class Said(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"
    )]
libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Said
bytes(4 * 2**20)
before = libc.mallinfo2().hblkhd
kept = bytes(256 * 2**10)
print(libc.mallinfo2().hblkhd - before)
"""


def heaps(how: str) -> int:
    """The number of heaps of a process with five busy threads."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, timeout=600, check=True)
    return done.stdout.count("<heap nr=")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has a heap for each thread")
def test_threads_share_one_heap() -> None:
    """By default each thread has a heap of its own, and a worker's memory grows."""
    assert heaps("many") > 1
    assert heaps("one") == 1


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc changes its threshold for large blocks")
def test_what_is_large_stays_out_of_the_heap() -> None:
    """This holds after a larger block was freed, whose size glibc would otherwise take for the new threshold."""

    def outside(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", LARGE, how], capture_output=True, text=True, timeout=600, check=True)
        return int(done.stdout)

    assert outside("many") == 0
    assert outside("one") >= 256 * 2**10
