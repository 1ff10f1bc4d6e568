"""The points in a worker's code at which a fault run makes it break, and the signals that arm them."""

import os
import signal
from enum import Enum

# Points that are armed when the process starts, `NAME` or `NAME:passings`, with commas between.
FAILPOINTS_VARIABLE = "TESTS_FAULTS_FAILPOINTS"


class Point(Enum):
    """
    Where a process may be made to break: each is armed by a signal of its own and breaks once, at its next passing.

    By the environment too, before it starts (`FAILPOINTS_VARIABLE`); the runs use signals, since they time a fault by the progress of a running worker
    has done.
    """

    EXCEPTION = signal.SIGRTMIN + 1
    PRODUCE_FAILURE = signal.SIGRTMIN + 2
    KILL_BEFORE_DECIDING = signal.SIGRTMIN + 3
    KILL_BEFORE_SENDING = signal.SIGRTMIN + 4
    KILL_AMONG_SENDS = signal.SIGRTMIN + 5
    KILL_BEFORE_ACKNOWLEDGING = signal.SIGRTMIN + 6
    KILL_BEFORE_COMMITTING = signal.SIGRTMIN + 7
    PRODUCE_REFUSED = signal.SIGRTMIN + 8
    PRODUCE_SILENCE = signal.SIGRTMIN + 9
    MODEL_FAILS_ONCE = signal.SIGRTMIN + 10
    ABORT = signal.SIGRTMIN + 11
    OUT_OF_MEMORY = signal.SIGRTMIN + 12
    HANG = signal.SIGRTMIN + 13
    SLOW_MODEL = signal.SIGRTMIN + 14
    BLOCKED_LOOP = signal.SIGRTMIN + 15
    FREEZE_AMONG_SENDS = signal.SIGRTMIN + 17
    BLOCKED_FOR_EVER = signal.SIGRTMIN + 18
    NO_MORE_THREADS = signal.SIGRTMIN + 19
    # No break: the model runs at full speed from now on, so that the rest after the last fault is done soon.
    HURRY = signal.SIGRTMIN + 16


class Arms:
    """
    The armed points of this process.

    >>> arms = Arms()
    >>> arms.arm(Point.EXCEPTION)
    >>> arms.fires(Point.EXCEPTION), arms.fires(Point.EXCEPTION)
    (True, False)
    >>> arms.read("HANG, EXCEPTION:1")
    >>> arms.fires(Point.HANG), arms.fires(Point.EXCEPTION), arms.fires(Point.EXCEPTION)
    (True, False, True)
    """

    def __init__(self) -> None:
        """Start with no point armed."""
        # Operations on a dict are atomic; a lock could be held by the very code that a signal interrupts.
        self._armed: dict[Point, int] = {}

    def listen(self) -> None:
        """Let the signals arm the points."""
        for point in Point:
            signal.signal(point.value, lambda number, _: self.arm(Point(number)))
        # SIGCONT also disarms a freeze whose point has not come, so that a thawed worker is not frozen afterwards.
        signal.signal(signal.SIGCONT, lambda *_: self.fires(Point.FREEZE_AMONG_SENDS))

    def read(self, failpoints: str) -> None:
        """
        Arm the points in the text of `FAILPOINTS_VARIABLE`.

        Raises:
            KeyError: A name that is no point's.
            ValueError: A number of passings that is none.
        """
        for word in filter(None, (word.strip() for word in failpoints.split(","))):
            name, _, passings = word.partition(":")
            self.arm(Point[name], passings=int(passings or 0))

    def arm(self, point: Point, passings: int = 0) -> None:
        """Break at the next passing of this point, or after so many more."""
        self._armed[point] = passings

    def fires(self, point: Point) -> bool:
        """Whether the process must break at this passing; disarms the point."""
        left = self._armed.get(point)
        if left is None:
            return False
        if left:
            self._armed[point] = left - 1
            return False
        # Not `del`: a signal handler may have run in between.
        return self._armed.pop(point, None) is not None

    def is_armed(self, point: Point) -> bool:
        """Whether the process would break at this passing; the point stays armed."""
        return point in self._armed

    def kill_at(self, point: Point) -> None:
        """SIGKILL this process if the point fires."""
        if self.fires(point):
            os.kill(os.getpid(), signal.SIGKILL)

    def freeze_at(self, point: Point) -> None:
        """SIGSTOP this process until SIGCONT if the point fires."""
        if self.fires(point):
            os.kill(os.getpid(), signal.SIGSTOP)
