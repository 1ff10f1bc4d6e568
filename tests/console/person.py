"""A console as a process, and a person by script who answers in its page whatever it shows."""

import random
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tagstream.stream.broker.processes import Process, Processes
from tests.integration.running import ended, peak_bytes
from tests.waiting import HANG_SECONDS, until

# 138 MB was seen. A console with 200,000 items may take 512 MiB; this one has 400.
MOST_CONSOLE_BYTES = 400 * 1024 * 1024
ADDRESS = re.compile(r"the console: (http://\S+?)/?\s")
SHOWN = re.compile(r'name="event" value="([^"]+)">\s*<input type="hidden" name="token" value="([^"]+)"')
TAG = re.compile(r'name="tag" value="([^"]+)"')
PERSON = "ann"
NOT_WRITABLE = "cannot be written"
NOTHING_WAITS = "Nothing waits for you"
SAVED = 303


class Console:
    """The console's process, started anew whenever it has ended."""

    def __init__(self, processes: Processes, environ: dict[str, str], folder: Path) -> None:
        """Start the first one."""
        self._processes, self._environ, self._folder = processes, environ, folder
        self._incarnation = 0
        self.process: Process
        self.start()

    @property
    def store(self) -> Path:
        """The file of the store."""
        return self._folder / "store.db"

    def start(self) -> None:
        """Start a process."""
        self._incarnation += 1
        argv = [
            sys.executable,
            "-m",
            "tagstream.stream.cli.main",
            "review",
            "--port",
            "0",
            "--store",
            f"sqlite:///{self.store}",
        ]
        log_file = self._folder / f"console-{self._incarnation}.log"
        self.process = self._processes.start([*argv, "--reviewer", PERSON], env=self._environ, log_file=log_file)

    def kill(self, *, forget: bool) -> None:
        """SIGKILL, and a new process; with `forget` on an empty store."""
        self.process.kill()
        ended(self.process)
        if forget:
            for path in self._folder.glob(f"{self.store.name}*"):
                path.unlink()
        self.start()

    def address(self) -> str | None:
        """That of the process that runs now; None while it starts."""
        found = ADDRESS.search(self.process.output())
        return found[1] if found else None

    def check(self) -> None:
        """It runs, and has not grown; only the strikes end it."""
        assert self.process.running(), self.process.output()[-2_000:]
        assert peak_bytes(self.process) < MOST_CONSOLE_BYTES


@dataclass(slots=True)
class Person:
    """
    Answers whatever the page shows.

    Attributes:
        saved: The tag by event that the page has called saved.
        unsure: Answers of which the page said that they are not saved, or nothing.
        shown_again: Events that were shown after the page had called their answer saved.
    """

    console: Console
    chance: random.Random
    saved: dict[str, str] = field(default_factory=dict)
    unsure: int = 0
    shown_again: list[str] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def answer_all(self, enough: Callable[[], bool]) -> None:
        """Until nothing waits, no strike is left and it is enough; `done` is set by who strikes."""
        with httpx.Client(headers={"Sec-Fetch-Site": "same-origin"}, timeout=HANG_SECONDS) as browser:
            until(lambda: self._step(browser) and enough(), "all events are answered", state=self._state)

    def _state(self) -> str:
        return f"{len(self.saved)} saved, {self.unsure} unsure, {self.console.process.output()[-2_000:]}"

    def _step(self, browser: httpx.Client) -> bool:
        """Answer as long as something is shown. Is nothing left?"""
        while True:
            address = self.console.address()
            if address is None:
                return False
            try:
                page = browser.get(f"{address}/").text
                shown = SHOWN.search(page)
                if shown is None:
                    return NOTHING_WAITS in page and self.done.is_set()
                self._answer(browser, address, page, *shown.groups())
            except httpx.TransportError:
                # The console was killed; what was under way is unknown to a person, too.
                if self.done.is_set():
                    self.console.check()
                return False

    def _answer(self, browser: httpx.Client, address: str, page: str, event: str, token: str) -> None:
        if event in self.saved:
            self.shown_again.append(event)
        tag = self.chance.choice(TAG.findall(page))
        self.unsure += 1
        answer = browser.post(f"{address}/answer", data={"event": event, "token": token, "tag": tag})
        if answer.status_code == SAVED:
            self.unsure -= 1
            self.saved[event] = tag
        elif NOT_WRITABLE in answer.text:
            # A stranger's item, whose decision no worker has made.
            self.unsure -= 1
            browser.post(f"{address}/answer", data={"event": event, "token": token, "back": "skip"})
