"""The C library's memory allocator, told to keep one heap: a worker that runs for weeks must not grow."""

import ctypes

# From glibc's malloc.h; the same as MALLOC_ARENA_MAX in the environment.
M_ARENA_MAX = -8
M_MMAP_THRESHOLD = -3
# What glibc begins with, and raises without bound as larger blocks are freed.
LARGE_BYTES = 128 * 1024


def keep_one_heap() -> bool:
    """
    Allocate from one heap in all threads; call before threads are started.

    glibc gives each thread a heap of its own. What one thread allocates and another frees, as events do on their way through
    consumer, model and producer, leaves holes in all of them: a worker grew by some 5 to 8 MB an hour (docs/faults.md). The price
    is a lock that threads rarely meet at, since they hold Python's own.

    Returns:
        Whether this C library has the setting; musl has one heap anyway.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # Each read of a socket asks for 256 KiB and keeps a little: out of the heap, it leaves no holes. 9.6 MB an hour without.
    return bool(mallopt(M_ARENA_MAX, 1)) and bool(mallopt(M_MMAP_THRESHOLD, LARGE_BYTES))
