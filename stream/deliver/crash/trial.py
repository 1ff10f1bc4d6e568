"""
The trial of a suspect: a process of its own decides the event, and the worker looks on.

A worker may die for any reason, whatever is in its model. So a worker's death proves nothing against an event. A trial's process has one
event in its model and no other work, and the worker sees how the process ends. Only an end that the event causes counts against it: a
signal that the kernel or the C library raises for a process's own code, an exit, too much memory, or no answer within
`inference_timeout_seconds`. SIGKILL, SIGTERM and the like come from outside and count for nothing, however often they come. If the
worker itself ends the process, that counts for nothing, too.

An event that survives its trial gets the outcome of the trial. It is never again in the model of a worker.

The trial uses the model that decides the event. A challenger has a stand-in, the champion, and blames no event: if the challenger's trial
dies, or its model cannot be loaded there, the champion decides the event from then on, in the next trial and in the worker.
"""

import math
import signal
import socket
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any, Protocol

import msgspec

from tagstream.model_export.bundle.child_process import started
from tagstream.model_export.bundle.manifest import ALWAYS_ASK
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import ModelRef, Publication
from tagstream.stream.decide.pipeline import Decider, Draw, Pipeline
from tagstream.stream.settings.settings import Settings

CHILD = "tagstream.stream.deliver.crash.child"
LOOK_SECONDS = 0.1
# Ten times what a process needs to load a bundle on two busy cores.
START_SECONDS = 60.0
# The most time for what takes a moment: a ready process accepts an event, and a process that has closed its socket ends.
PROMPT_SECONDS = 10
# Signals that are raised for a process's own code. A person or a system that ends processes sends others.
OWN_FAULTS = frozenset(
    {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGSYS, signal.SIGTRAP}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecipe:
    """
    Makes the worker's pipeline in another process. It can be pickled, which a loaded network cannot.

    Attributes:
        make: Makes the pipeline. It is a function of a module, so that the other process finds it by its name.
        settings: The argument of `make`, with the worker's limits.
        draw: The worker's draw.
        model: The model that the other process must find.
        ask: The worker's `Pipeline.ask`.
    """

    make: Callable[[Settings], Pipeline]
    settings: Settings
    draw: Draw | None
    model: ModelRef
    ask: Callable[[Publication], Publication] | None = None


@dataclass(frozen=True, slots=True)
class Died:
    """The event ended its trial's process. `how` names the signal, exit code or bound."""

    how: str


@dataclass(frozen=True, slots=True)
class NotHeld:
    """There was no trial, or it was ended from outside: nothing is known of the event. `why` never quotes the event."""

    why: str


class _Unready(NotHeld):
    """No process with the model was ready."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The event is in the model of the trial's process."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The trial's process has loaded its model."""


class Trials(Protocol):
    """Holds trials, one at a time."""

    def hold(self, event: Record, goes_on: Callable[[], bool]) -> Publication | Died | NotHeld | None:
        """
        Decide the event in another process. Blocks, with a bound.

        Args:
            event: The suspect.
            goes_on: Called about ten times a second. Once it returns False, the trial is given up.

        Returns:
            The event's outcome, or why it has no outcome (`Died`, `NotHeld`); None if the trial was given up.
        """
        ...

    def end(self) -> None:
        """End the process, if there is one. Must not be called during a trial."""
        ...


class _GivenUpError(Exception):
    """The trial was given up."""


class _LateError(Exception):
    """The process did not answer in time."""


class _NotReadyError(Exception):
    """The process cannot load the worker's model; the message says why."""


@dataclass(frozen=True, slots=True)
class _Child:
    process: "subprocess.Popen[bytes]"
    connection: Any
    model: ModelRef


class ChildTrials:
    """Implements `Trials` with a child process, which is started for the first trial and ends by itself when none follows."""

    def __init__(
        self,
        recipe: TrialRecipe,
        *,
        decider_for: Callable[[Record], Decider | None] = lambda _: None,
        distrust: Callable[[Record], None] = lambda _: None,
    ) -> None:
        """
        Start nothing yet.

        Args:
            recipe: Makes the pipeline. Its bundle is replaced by the bundle of `decider_for`.
            decider_for: Gives the decider of an event; None for the model of the recipe.
            distrust: Called with an event that its decider's stand-in must decide from now on.
        """
        self._recipe = recipe
        self._decider_for = decider_for
        self._distrust = distrust
        self._seconds = recipe.settings.inference_timeout_seconds
        self._child: _Child | None = None

    def hold(self, event: Record, goes_on: Callable[[], bool]) -> Publication | Died | NotHeld | None:
        """Decide the event in the child process. If the event's decider has a stand-in, its death gives `NotHeld`, never `Died`."""
        decider = self._decider_for(event)
        recipe = self._recipe if decider is None else _recipe_for(decider, self._recipe)
        found = self._held(recipe, event, goes_on)
        if decider is None or decider.stand_in is None or not isinstance(found, Died | _Unready):
            return found
        self._distrust(event)
        why = found.how if isinstance(found, Died) else found.why
        return NotHeld(f"{decider.model.name} {decider.model.version} cannot decide this event ({why}), and the champion does")

    def _held(self, recipe: TrialRecipe, event: Record, goes_on: Callable[[], bool]) -> Publication | Died | NotHeld | None:
        begun, kept = False, self._child
        try:
            child = self._ready(recipe, goes_on)
            # The batch's budget stays in this process, which makes the dead letters.
            child.connection.send(msgspec.structs.replace(event, budget=None))
            _received(child, PROMPT_SECONDS, goes_on)
            begun = True
            found: Publication | Died | NotHeld = _received(child, self._seconds, goes_on)
        except _GivenUpError:
            self.end()
            return None
        except _LateError:
            self.end()
            if begun:
                return Died(f"no answer within {self._seconds:g} s (inference_timeout_seconds)")
            return _Unready("the trial's process was not ready in time")
        except _NotReadyError as error:
            self.end()
            return _Unready(str(error))
        except (EOFError, OSError) as error:
            # A process without work ends by itself, perhaps at this moment. A new process then gets the event.
            idle = not begun and kept is not None and self._child is kept
            ended = self._ended(error, begun=begun)
            return self._held(recipe, event, goes_on) if idle else ended
        if isinstance(found, Died):
            self.end()
        return found

    def end(self) -> None:
        """Kill the child process, if there is one, and wait for its end."""
        child, self._child = self._child, None
        if child is not None:
            child.process.kill()
            child.process.wait(PROMPT_SECONDS)
            child.connection.close()

    def _ended(self, error: Exception, *, begun: bool) -> Died | NotHeld:
        """Why the process has closed its socket, or could not be started or written to."""
        child = self._child
        if child is None:
            return _Unready(f"the trial's process cannot be started: {error}")
        try:
            code = child.process.wait(PROMPT_SECONDS)
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL
        self.end()
        how = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
        if begun and (code >= 0 or -code in OWN_FAULTS):
            return Died(how)
        why = f"the trial's process was ended by {how}"
        return NotHeld(why) if begun else _Unready(why)

    def _ready(self, recipe: TrialRecipe, goes_on: Callable[[], bool]) -> _Child:
        """The process with this model loaded; a new process if there is none."""
        if self._child is not None and self._child.process.poll() is None and self._child.model == recipe.model:
            return self._child
        self.end()
        self._child = child = _started(recipe.model)
        child.connection.send(recipe)
        found = _received(child, START_SECONDS, goes_on)
        if isinstance(found, NotHeld):
            raise _NotReadyError(found.why)
        return child


def _recipe_for(decider: Decider, recipe: TrialRecipe) -> TrialRecipe:
    settings = recipe.settings
    if decider.bundle is not None:
        settings = settings.model_copy(update={"bundle": decider.bundle.path})
    if decider.threshold == ALWAYS_ASK:
        # In this decider's epoch people are asked about every event, whatever the bundle's thresholds say.
        settings = settings.model_copy(update={"confidence_threshold": ALWAYS_ASK})
    return replace(recipe, settings=settings, model=decider.model)


def _started(model: ModelRef) -> _Child:
    ours, theirs = socket.socketpair()
    # A process that is stopped (SIGSTOP) neither reads nor writes.
    for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
        ours.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", PROMPT_SECONDS, 0))
    with theirs, ours:
        process = started(CHILD, str(theirs.fileno()), stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
        return _Child(process, Connection(ours.detach()), model)


def _received(child: _Child, seconds: float, goes_on: Callable[[], bool]) -> Any:
    """
    The next message. It is unpickled: the child runs the same code as this process, and is trusted like the worker's own model.

    The bound counts looks and not seconds: a worker that was stopped for a while must not take its child for late.
    """
    for _ in range(math.ceil(seconds / LOOK_SECONDS)):
        if not goes_on():
            raise _GivenUpError
        if child.connection.poll(LOOK_SECONDS):
            return child.connection.recv()
    raise _LateError
