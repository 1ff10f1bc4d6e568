"""The C library's memory allocator, told to keep one heap: a worker that runs for weeks must not grow."""

import ctypes

# From glibc's malloc.h; the same as MALLOC_ARENA_MAX in the environment.
M_ARENA_MAX = -8


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
    return mallopt is not None and bool(mallopt(M_ARENA_MAX, 1))
