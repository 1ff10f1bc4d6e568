"""What a demo shows in acts: programs beside the worker, and sentences about them."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from tagstream.stream.broker.ports import free_ports
from tagstream.stream.broker.processes import Process, Processes, tail
from tagstream.stream.demo.program import COMMAND, Program, ProgramError, environment
from tagstream.stream.settings.settings import Settings

LOOK_SECONDS = 3.0
# A proof takes a minute or two, and longer on a busy machine.
ACT_SECONDS = 600.0
STOP_SECONDS = 40.0


class StoryError(Exception):
    """A step failed. The message names the step."""


class StoppedError(Exception):
    """The demo is stopped before the end of the story."""


class Story(ABC):
    """
    Acts, one after another, for a thread of its own.

    Attributes:
        phase: A line on the current act.
        failed: Why the story failed; empty if it succeeded or was stopped.
        ended: True once the story is over.
        answer_seconds: The pause of the scripted reviewer between two answers. People are slower, and a proof would take days.
    """

    answer_seconds = 0.1

    def __init__(self, settings: Settings, *, folder: Path, processes: Processes) -> None:
        """
        Store the parts; `run` starts the story.

        Args:
            settings: The settings of all its programs.
            folder: The demo's folder, for logs.
            processes: Starts processes, and ends them if this process is killed.
        """
        self._settings = settings
        self._folder = folder
        self._processes = processes
        self._over = threading.Event()
        self._tell: Callable[[str], None] = lambda _: None
        self._started: list[Program] = []
        self.phase = ""
        self.failed = ""
        self.ended = False

    def run(self, over: threading.Event, tell: Callable[[str], None]) -> None:
        """Run the acts until `over` is set, and call `tell` with each line. On return, every program that this method started has ended."""
        self._over, self._tell = over, tell
        try:
            self._acts()
        except StoppedError:
            pass
        except (StoryError, ProgramError) as error:
            self.failed = str(error)
        finally:
            # All programs get the signal first, because each may take a while to end.
            for program in self._started:
                program.ask_to_end()
            unclean = [words for program in reversed(self._started) if (words := program.stop())]
            self.failed = self.failed or "; ".join(unclean)
            self.ended = True

    @abstractmethod
    def _acts(self) -> None:
        """
        Run the acts.

        Raises:
            StoryError, ProgramError: A step failed.
            StoppedError: The demo is stopped.
        """

    def _program(self, name: str, *words: str) -> Program:
        port = free_ports(1)[0]
        program = Program(
            name,
            [*COMMAND, *words, "--metrics-port", str(port)],
            env=environment(self._settings, self._folder),
            address=f"http://{self._settings.metrics_host}:{port}",
            processes=self._processes,
            folder=self._folder,
            stop_seconds=STOP_SECONDS,
        )
        self._started.append(program)
        return program

    def _command(self, *words: str) -> Process:
        """Start a command that ends by itself; `_tell_output` tells what it printed."""
        env = environment(self._settings, self._folder)
        return self._processes.start([*COMMAND, *words], env=env, log_file=self._folder / f"{words[1]}.log")

    def _tell_output(self, process: Process, what: str) -> None:
        """
        Tell the lines of a command that has ended.

        Raises:
            StoryError: It failed.
        """
        if process.exit_code:
            msg = f"`{what}` ended with {process.exit_code}; {tail(process)}"
            raise StoryError(msg)
        for line in process.output().splitlines():
            self._tell(line)

    def _stop(self, program: Program) -> None:
        """Stop a program before the end of the story."""
        self._started.remove(program)
        if unclean := program.stop():
            raise StoryError(unclean)

    def _until(self, happened: Callable[[], bool], what: str, *programs: Program) -> None:
        """Wait until `happened()` is true. Meanwhile check that these programs are running."""
        until = time.monotonic() + ACT_SECONDS
        while not happened():
            for program in programs:
                program.check()
            if time.monotonic() > until:
                msg = f"{what} did not come within {ACT_SECONDS:.0f} s: {self.phase}"
                raise StoryError(msg)
            self._sleep(LOOK_SECONDS)

    def _sleep(self, seconds: float) -> None:
        if self._over.wait(seconds):
            raise StoppedError
