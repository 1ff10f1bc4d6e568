"""
The trial of a suspect: a process of its own decides the event, and the worker looks on.

A worker may die for any reason, whatever is in its model. So its death proves nothing against an event. A trial's process has one event
in its model and no other work, and the worker sees how it ends. Only an end that the event itself brings about counts against it: a
signal that the kernel or the C library raises for a process's own code, an exit, more memory than it may have, or no answer within
`inference_timeout_seconds`. SIGKILL, SIGTERM and the like come from outside and count for nothing, however often they come; neither
does the end of a process that the worker itself has ended.

An event that survives its trial gets the outcome of the trial. It is never again in the model of a worker.
"""

import math
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any, Protocol

from stream.contract.decisions import ModelRef
from stream.contract.publication import Publication
from stream.contract.record import Record
from stream.decide.draw import Draw
from stream.decide.pipeline import Pipeline
from stream.settings.settings import Settings

CHILD = "stream.deliver.crash.child"
LOOK_SECONDS = 0.1
# Ten times what a process needs to load a bundle on two busy cores.
START_SECONDS = 60.0
# A process that is ready takes an event at once, and one that has closed its end is about to end.
PROMPT_SECONDS = 10
# Signals that are raised for a process's own code. A person or a system that ends processes sends others.
OWN_FAULTS = frozenset(
    {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGSYS, signal.SIGTRAP}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """
    What makes the worker's pipeline in another process. It can be pickled, which a loaded network cannot.

    Attributes:
        make: Makes the pipeline. A function of a module, by whose name the other process finds it.
        settings: Its argument, with the limits that the worker has.
        draw: The worker's.
        model: The model that must be found.
    """

    make: Callable[[Settings], Pipeline]
    settings: Settings
    draw: Draw | None
    model: ModelRef


@dataclass(frozen=True, slots=True)
class Died:
    """The event ended its trial's process; `how` says by what."""

    how: str


@dataclass(frozen=True, slots=True)
class NotHeld:
    """There was no trial, or something outside ended it: nothing is known of the event. `why` has no word of it."""

    why: str


@dataclass(frozen=True, slots=True)
class Begun:
    """The event is in the model of the trial's process."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The trial's process has loaded its model."""


class Trials(Protocol):
    """Holds trials, one at a time."""

    def hold(self, event: Record, wanted: Callable[[], bool]) -> Publication | Died | NotHeld | None:
        """
        Decide the event in another process. Blocks, with a bound.

        Args:
            event: The suspect.
            wanted: Asked about ten times a second; once it says no, the trial is given up.

        Returns:
            Its outcome, why there is none, or None if the trial was given up.
        """
        ...

    def end(self) -> None:
        """End the process, if there is one. Not while a trial is held."""
        ...


class _UnwantedError(Exception):
    """The trial was given up."""


class _LateError(Exception):
    """The process did not answer in time."""


class _NotReadyError(Exception):
    """The process cannot load the worker's model; the message says why."""


@dataclass(frozen=True, slots=True)
class _Child:
    process: "subprocess.Popen[bytes]"
    connection: Any


class ChildTrials:
    """Implements `Trials` with a child process, which is started for the first trial and ends by itself when none follows."""

    def __init__(self, recipe: Recipe) -> None:
        """Start nothing yet."""
        self._recipe = recipe
        self._seconds = recipe.settings.inference_timeout_seconds
        self._child: _Child | None = None

    def hold(self, event: Record, wanted: Callable[[], bool]) -> Publication | Died | NotHeld | None:
        """See `Trials`."""
        begun = False
        try:
            child = self._ready(wanted)
            # The budget of its batch stays here, where dead letters are made.
            child.connection.send(replace(event, budget=None))
            _received(child, PROMPT_SECONDS, wanted)
            begun = True
            found: Publication | Died | NotHeld = _received(child, self._seconds, wanted)
        except _UnwantedError:
            self.end()
            return None
        except _LateError:
            self.end()
            if begun:
                return Died(f"no answer within {self._seconds:g} s (inference_timeout_seconds)")
            return NotHeld("the trial's process was not ready in time")
        except _NotReadyError as error:
            self.end()
            return NotHeld(str(error))
        except (EOFError, OSError) as error:
            return self._ended(error, begun=begun)
        if isinstance(found, Died):
            self.end()
        return found

    def end(self) -> None:
        """See `Trials`."""
        child, self._child = self._child, None
        if child is not None:
            child.process.kill()
            child.process.wait(PROMPT_SECONDS)
            child.connection.close()

    def _ended(self, error: Exception, *, begun: bool) -> Died | NotHeld:
        """The process has closed its end, or could not be started or spoken to."""
        child = self._child
        if child is None:
            return NotHeld(f"the trial's process cannot be started: {error}")
        try:
            code = child.process.wait(PROMPT_SECONDS)
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL
        self.end()
        how = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
        if begun and (code >= 0 or -code in OWN_FAULTS):
            return Died(how)
        return NotHeld(f"the trial's process was ended by {how}")

    def _ready(self, wanted: Callable[[], bool]) -> _Child:
        """The process, with its model loaded."""
        if self._child is not None and self._child.process.poll() is None:
            return self._child
        self.end()
        self._child = child = _started()
        child.connection.send(self._recipe)
        found = _received(child, START_SECONDS, wanted)
        if isinstance(found, NotHeld):
            raise _NotReadyError(found.why)
        return child


def _started() -> _Child:
    ours, theirs = socket.socketpair()
    # A process that is stopped (SIGSTOP) takes nothing and gives nothing.
    for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
        ours.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", PROMPT_SECONDS, 0))
    with theirs, ours:
        process = subprocess.Popen(  # noqa: S603 - our own file, in our own interpreter
            [sys.executable, "-P", "-m", CHILD, str(theirs.fileno()), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            # It finds the modules that this process has found, whatever folder it is started in.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        return _Child(process, Connection(ours.detach()))


def _received(child: _Child, seconds: float, wanted: Callable[[], bool]) -> Any:
    """
    The next message. It is unpickled: the other process runs the code of this one, and is trusted as the worker's own model is.

    Looks are counted and not seconds, since a worker that was stopped for a while must not take its child for late.
    """
    for _ in range(math.ceil(seconds / LOOK_SECONDS)):
        if not wanted():
            raise _UnwantedError
        if child.connection.poll(LOOK_SECONDS):
            return child.connection.recv()
    raise _LateError
