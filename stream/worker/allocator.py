"""Settings of glibc's allocator that keep a worker's memory from growing over weeks."""

import ctypes

# From glibc's malloc.h; MALLOC_ARENA_MAX and MALLOC_MMAP_THRESHOLD_ in the environment do the same.
M_ARENA_MAX = -8
M_MMAP_THRESHOLD = -3
# glibc's initial value.
LARGE_BYTES = 128 * 1024


def limit_fragmentation() -> bool:
    """
    Use one heap for all threads, and allocate large blocks outside it. Call this before threads are started.

    Each read of a socket allocates 256 KiB and keeps a little of it. glibc allocates blocks above a threshold outside the heap, but raises
    the threshold to the size of the largest block that was freed. So these blocks come from the heap and leave holes, 9.6 MB an hour
    (docs/faults.md). Separate heaps for threads grow in the same way when one thread frees the memory of another. The cost is a system
    call for each large block, and a lock for which threads rarely wait, because they hold Python's own.

    Returns:
        True if the C library has these settings. Libraries other than glibc do not need them.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_ARENA_MAX, 1)) and bool(mallopt(M_MMAP_THRESHOLD, LARGE_BYTES))
