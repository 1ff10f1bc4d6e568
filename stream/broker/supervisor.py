"""Keeps a broker's processes, and ends them when the process that asked for them is gone.

Run by its path, on the standard library alone so that it is up in milliseconds:

    python -I -S supervisor.py PARENT_PID GRACE_SECONDS [FOLDER_TO_REMOVE]

Commands come as JSON lines on standard input, facts leave as JSON lines on standard output:

    {"do": "start", "id": 1, "argv": [...], "env": {...}, "log": "FILE"}   {"fact": "started", "id": 1, "pid": 4711}
    {"do": "signal", "id": 1, "signal": 15}                                {"fact": "exited", "id": 1, "code": 143}
    {"do": "end"}

It ends when it is told to, when standard input ends or when its parent is another process than at the start: the
parent's SIGKILL does both. Then every child gets SIGTERM, after the grace SIGKILL, and the folder goes. Only children
that were not reaped are signalled, so a pid that the system gave to somebody else never is. It runs in a session of
its own: Ctrl-C reaches the parent, which then ends things in order.
"""

import ctypes
import json
import os
import selectors
import shutil
import signal
import sys
import time
from typing import Any, NoReturn

PR_SET_PDEATHSIG = 1
# A forked sibling of the parent may hold the other end of our standard input open: so the parent is also looked for.
PARENT_CHECK_SECONDS = 0.5
REAP_POLL_SECONDS = 0.02
# After SIGKILL only the kernel can keep a process, in a disk that does not answer: that is not waited for without end.
KILL_SECONDS = 10.0


class Supervisor:
    """One thread, no waiting without a bound except for the next command."""

    def __init__(self, *, parent: int, grace_seconds: float, folder: str | None) -> None:
        """Nothing runs yet. `folder` is removed when everything has ended."""
        self.parent = parent
        self.grace_seconds = grace_seconds
        self.folder = folder
        self.children: dict[int, int] = {}
        self.unread = b""
        self.ending = False
        self.libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def run(self) -> None:
        """Obey until the parent is gone or has closed the line, then end everything."""
        woken, wake = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._end)
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ, self._read_commands)
            selector.register(woken, selectors.EVENT_READ, lambda: os.read(woken, 4096))
            while not self.ending and os.getppid() == self.parent:
                for key, _ in selector.select(PARENT_CHECK_SECONDS):
                    key.data()
                self._reap()
        self._end_children()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, *_: object) -> None:
        self.ending = True

    def _read_commands(self) -> None:
        chunk = os.read(0, 65536)
        if not chunk:
            self.ending = True
            return
        *lines, self.unread = (self.unread + chunk).split(b"\n")
        for line in lines:
            command = json.loads(line)
            if command["do"] == "start":
                self._start(command)
            elif command["do"] == "signal":
                self._signal(command["id"], command["signal"])
            else:
                self.ending = True

    def _start(self, command: dict[str, Any]) -> None:
        supervisor = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become(command, supervisor)
        self.children[command["id"]] = pid
        self._tell({"fact": "started", "id": command["id"], "pid": pid})

    def _become(self, command: dict[str, Any], supervisor: int) -> NoReturn:
        """In the fork: turn into the command, or leave the reason in its log."""
        try:
            output = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            signal.set_wakeup_fd(-1)
            # Python ignores SIGPIPE, and what is ignored stays ignored across exec.
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            if self.libc is not None:
                # The second line of defence, for a supervisor that is itself killed. Linux only.
                self.libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() == supervisor:
                os.execve(command["argv"][0], command["argv"], command["env"])  # noqa: S606 - no shell is wanted
        except OSError as error:
            os.write(2, f"cannot run {command['argv'][0]}: {error}\n".encode())
        finally:
            os._exit(127)

    def _signal(self, number: int, which: int) -> None:
        pid = self.children.get(number)
        if pid is not None:
            os.kill(pid, which)

    def _reap(self) -> None:
        for number, pid in list(self.children.items()):
            reaped, status = os.waitpid(pid, os.WNOHANG)
            if reaped:
                del self.children[number]
                self._tell({"fact": "exited", "id": number, "code": os.waitstatus_to_exitcode(status)})

    def _end_children(self) -> None:
        if self.grace_seconds > 0:
            self._end_all_with(signal.SIGTERM, self.grace_seconds)
        self._end_all_with(signal.SIGKILL, KILL_SECONDS)

    def _end_all_with(self, which: int, seconds: float) -> None:
        for pid in self.children.values():
            os.kill(pid, which)
        deadline = time.monotonic() + seconds
        while self.children and time.monotonic() < deadline:
            time.sleep(REAP_POLL_SECONDS)
            self._reap()

    def _tell(self, fact: dict[str, Any]) -> None:
        try:
            os.write(1, json.dumps(fact).encode() + b"\n")
        except BrokenPipeError:
            self.ending = True


if __name__ == "__main__":
    Supervisor(
        parent=int(sys.argv[1]),
        grace_seconds=float(sys.argv[2]),
        folder=sys.argv[3] if len(sys.argv) > 3 else None,  # noqa: PLR2004 - the optional third argument
    ).run()
