"""One broker for all test processes of a run: the first that needs it has it started, and it ends with the last.

A keeper, `python -m tests.integration.brokers.shared FOLDER`, is the parent of the broker. Each user holds a shared lock on
FOLDER/users; the keeper waits for the exclusive lock, which it gets when the last user has let go or was killed, and ends the broker.

FOLDER/users        locked by each user (shared), by the keeper when it ends the broker (exclusive)
FOLDER/keeper       locked by the keeper while it lives
FOLDER/start        locked by the user that looks whether there is a keeper
FOLDER/broker.json  the broker's description, or the reasons why there is none
"""

import dataclasses
import fcntl
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tagstream.stream.broker import Broker, BrokerUnavailable, broker
from tests.faults.worker.fleet import ROOT
from tests.waiting import HANG_SECONDS, LOG_CHARACTERS, until


@contextmanager
def shared_broker(folder: Path) -> Iterator[Broker]:
    """
    The broker of all processes that give the same folder.

    Raises:
        BrokerUnavailable: No broker could be started; the message has the reasons.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "users", fcntl.LOCK_SH):
        with _locked(folder / "start", fcntl.LOCK_EX):
            if not _is_kept(folder):
                _start_keeper(folder)
        found = json.loads((folder / "broker.json").read_text(encoding="utf-8"))
        if "reasons" in found:
            raise BrokerUnavailable(found["reasons"])
        yield Broker(**found)


def require_alive(found: Broker) -> None:
    """
    Ask the broker for a connection, again and again for a minute.

    Without it each test on a broker that has ended would wait for its own bound, and a run would last for hours.

    Raises:
        AssertionError: None was had; the message has the end of the broker's log, where it lies on this machine.
    """
    host, _, port = found.bootstrap.split(",")[0].rpartition(":")

    def answers() -> bool:
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError:
            return False
        return True

    def log() -> str:
        folders = [
            file.parent
            for file in Path(tempfile.gettempdir()).glob("tagstream-kafka-*/server.properties")
            if f":{port}" in file.read_text(encoding="ascii")
        ]
        logs = [folder / "broker.log" for folder in folders]
        return "\n".join(log.read_text(encoding="utf-8", errors="replace")[-LOG_CHARACTERS:] for log in logs if log.is_file())

    until(answers, f"{found.description} at {found.bootstrap} takes a connection", state=log, seconds=60)


def keep(folder: Path) -> None:
    """Start a broker, say where it is, and end it when it has no user any more."""
    # The users' lock is let go last: a process that waits for it must find no keeper that is about to end.
    with (folder / "users").open("a") as users, _locked(folder / "keeper", fcntl.LOCK_EX):
        reasons = []
        for kind in ["external"] if os.environ.get("TAGSTREAM_BROKERS") else ["kafka", "docker"]:
            try:
                with broker(prefer=kind, start_timeout_seconds=HANG_SECONDS) as found:
                    _say(folder, dataclasses.asdict(found))
                    fcntl.flock(users, fcntl.LOCK_EX)
                    return
            except BrokerUnavailable as error:
                reasons.append(str(error))
        _say(folder, {"reasons": " ".join(reasons)})
        fcntl.flock(users, fcntl.LOCK_EX)


def _start_keeper(folder: Path) -> None:
    (folder / "broker.json").unlink(missing_ok=True)
    with (folder / "keeper.log").open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.brokers.shared", str(folder)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # The broker must outlive a Ctrl-C for the tests, and end with the last of them.
            start_new_session=True,
        )
    said = folder / "broker.json"
    until(
        lambda: said.exists() or keeper.poll() is not None,
        "the shared broker is ready",
        state=(folder / "keeper.log").read_text,
        seconds=2 * HANG_SECONDS,
    )
    assert said.exists(), (folder / "keeper.log").read_text()
    # The keeper outlives this process when another one still uses the broker.
    keeper.returncode = 0


def _is_kept(folder: Path) -> bool:
    with (folder / "keeper").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _say(folder: Path, found: dict[str, object]) -> None:
    made = folder / "broker.new"
    made.write_text(json.dumps(found), encoding="utf-8")
    made.replace(folder / "broker.json")


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, how)
        yield


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
