"""The C library's allocator, told to leave no holes: a worker that runs for weeks must not grow."""

import ctypes

# From glibc's malloc.h; MALLOC_ARENA_MAX and MALLOC_MMAP_THRESHOLD_ in the environment do the same.
M_ARENA_MAX = -8
M_MMAP_THRESHOLD = -3
# What glibc begins with.
LARGE_BYTES = 128 * 1024


def limit_fragmentation() -> bool:
    """
    Allocate from one heap in all threads, and never from it what is large; call before threads are started.

    Each read of a socket asks for 256 KiB and keeps a little of them. glibc raises the size from which it keeps blocks out of the heap
    to that of the largest that was freed, and so these come from the heap and leave holes, 9.6 MB an hour (docs/faults.md). Nor are
    there heaps of each thread's own, in which whatever one thread allocates and another frees would do the same. The price is a call
    of the system for a large block, and a lock that threads rarely meet at, since they hold Python's own.

    Returns:
        Whether this C library has the settings; others than glibc have neither habit.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_ARENA_MAX, 1)) and bool(mallopt(M_MMAP_THRESHOLD, LARGE_BYTES))
