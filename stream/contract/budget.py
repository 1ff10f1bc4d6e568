"""Bounds what the events of one compressed batch may leave in the topic of dead letters."""

import threading

# The most bytes of dead letters for each byte that the batch took on `content`. References come on top, about half a kilobyte each.
FACTOR = 3
# A dead letter that cannot be kept whole keeps this much of its value; an event with no more bytes is always whole.
FIRST_BYTES = 256


class Budget:
    """
    Bytes that are left for the dead letters of one batch; several threads may share it.

    The broker bounds the compressed size of a batch alone: 1 MB may hold 1 GB of events. Kept whole, as many bytes of dead letters
    would be written. What is beyond the budget is kept as a reference: place, SHA-256, length, first bytes and reason.

    >>> budget = Budget(100)
    >>> budget.take(250), budget.take(100), budget.take(1)
    (True, False, True)
    """

    def __init__(self, batch_bytes: int) -> None:
        """`batch_bytes`: what the batch took on `content`."""
        self._left = batch_bytes * FACTOR
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        """Take so many bytes; False, and nothing is taken, if fewer are left."""
        with self._lock:
            if count > self._left:
                return False
            self._left -= count
            return True
