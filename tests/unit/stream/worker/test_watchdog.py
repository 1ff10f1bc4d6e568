"""A watchdog ends a process whose event loop stands still or whose stop takes too long, in processes of their own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tagstream.stream.deliver.fatal import EXIT_ALARM, EXIT_BROKEN
from tagstream.stream.worker.ending import EXIT_SHUTDOWN_TIMED_OUT
from tests.pipes import full_pipe
from tests.waiting import HANG_SECONDS

# `go` is called on the loop once the watchdog works; then the program says so on standard output.
PROGRAM = """
import asyncio, ctypes, os, signal, sys, threading, time
from tagstream.stream import logs
from tagstream.stream.deliver import fatal
from tagstream.stream.worker import ending

logs.configure(level="info", form="json")
logs.WRITE_SECONDS = 0.1
ending.LOOK_SECONDS, ending.BLOCKED_LOOKS, ending.LEAVE_SECONDS = 0.05, 10, 0.1

def no_thread(*_):
    raise RuntimeError("can't start new thread")

{before}
loop = asyncio.new_event_loop()
dog = ending.Watchdog(
    loop, stop_seconds={stop_seconds}, on_signal=lambda number: on_signal(number), on_end=lambda: print("ends", flush=True)
)

def on_signal(number):
    print(number.name, flush=True)

def go():
    print("goes", flush=True)
    {go}

async def main():
    dog.start()
    await asyncio.sleep(0.2)
    go()
    while True:
        await asyncio.sleep(0.01)

loop.run_until_complete(main())
"""
# Its process is number 1, as in a container.
NEW_PROCESS_TREE = ("unshare", "--pid", "--fork", "--kill-child")
BLOCKED = "time.sleep(3600)"
WITHOUT_THREADS = "threading._start_new_thread = no_thread; " + BLOCKED


@contextmanager
def running(
    go: str, *, before: str = "", stop_seconds: float = 0.3, stderr: int = subprocess.PIPE, command: Sequence[str] = ()
) -> "Iterator[subprocess.Popen[str]]":
    """A process that has come to `go`."""
    program = PROGRAM.format(go=go, before=before, stop_seconds=stop_seconds)
    with subprocess.Popen(
        [*command, sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=stderr, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "goes\n", process.communicate()
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    "go",
    [BLOCKED, WITHOUT_THREADS, "while True: pass", "lock = threading.Lock(); lock.acquire(); lock.acquire()"],
    ids=["system call", "no threads", "own code", "lock"],
)
def test_a_blocked_loop_ends_the_process_and_says_where_it_stands(go: str) -> None:
    """The process ends with code 70 for each way to block its event loop, and its log has the place."""
    with running(go) as process:
        out, err = process.communicate(timeout=HANG_SECONDS)
    assert (process.returncode, out) == (EXIT_BROKEN, "ends\n")
    blocked, last = map(json.loads, err.splitlines())
    assert blocked["event"] == "event_loop_blocked"
    assert blocked["stands_at"][-1].endswith(" go")
    assert (last["event"], last["exit_code"]) == ("worker_ended", EXIT_BROKEN)


@pytest.mark.parametrize("go", [BLOCKED, "os.write(2, b'x')"], ids=["system call", "write"])
def test_a_blocked_loop_ends_though_the_log_is_not_read(go: str) -> None:
    """A full pipe as standard error changes nothing."""
    with full_pipe() as pipe, running(go, stderr=pipe) as process:
        assert process.wait(HANG_SECONDS) == EXIT_BROKEN


@pytest.mark.parametrize("as_process_1", [False, True], ids=["on a machine", "in a container"])
def test_code_that_holds_pythons_lock_ends_the_process(as_process_1: bool) -> None:
    """The watchdog cannot run then, and the kernel ends the process, also where it ignores signals without a handler."""
    command = NEW_PROCESS_TREE if as_process_1 else ()
    if as_process_1 and subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not make a process namespace")
    with running("ctypes.PyDLL(None).sleep(3600)", before="ending.SILENT_SECONDS = 1.0", command=command) as process:
        assert process.wait(HANG_SECONDS) == EXIT_ALARM


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("go", [BLOCKED, WITHOUT_THREADS, "os.write(2, b'x')"], ids=["system call", "no threads", "write"])
def test_a_signal_ends_a_blocked_process_within_its_bound(go: str, number: signal.Signals) -> None:
    """A stop that was asked for ends with code 1 at its bound, though the loop never hears of it and the log is not read."""
    with full_pipe() as pipe, running(go, before="ending.BLOCKED_LOOKS = 10**9", stderr=pipe) as process:
        process.send_signal(number)
        assert process.wait(HANG_SECONDS) == EXIT_SHUTDOWN_TIMED_OUT


def test_a_signal_reaches_a_loop_that_runs() -> None:
    """The loop is told of the signal, and its stop keeps its own code."""
    with running("global on_signal; on_signal = lambda number: os._exit(number)", stop_seconds=60) as process:
        process.terminate()
        assert process.wait(HANG_SECONDS) == signal.SIGTERM


@pytest.mark.parametrize(
    ("go", "code", "said"),
    [
        ("dog.stops(asked=True)", EXIT_SHUTDOWN_TIMED_OUT, "shutdown_timed_out"),
        ("dog.stops(asked=False)", EXIT_BROKEN, "shutdown_timed_out"),
        ("dog.stops(asked=False); dog.stops(asked=True)", EXIT_BROKEN, "shutdown_timed_out"),
        ("dog.stops(asked=True); dog.drained()", 0, "shutdown_cut_short"),
        ("dog.stops(asked=False); dog.drained()", EXIT_BROKEN, "shutdown_cut_short"),
    ],
)
def test_a_stop_that_hangs_ends_and_its_code_says_whether_events_were_in_hand(go: str, code: int, said: str) -> None:
    """Code 0 once no event is in hand, else 1, and 70 for a stop that no signal asked for."""
    with running(go) as process:
        out, err = process.communicate(timeout=HANG_SECONDS)
    assert (process.returncode, out) == (code, "ends\n")
    assert json.loads(err)["event"] == said


def test_a_failing_cleanup_does_not_keep_a_worker_alive() -> None:
    """A stop ends although what is done before the end meets a read-only folder, or a disk that does not answer."""
    # Only the cleanup that hangs may meet the alarm, however slow the machine is.
    for fault, code, alarm in (("raise OSError(30, 'Read-only')", 0, HANG_SECONDS), ("time.sleep(3600)", EXIT_ALARM, 0.5)):
        go = f"dog.stops(asked=True); dog.drained(); exec('def cleanup(): {fault}', globals()); dog._on_end = cleanup".replace(
            "'Read-only'", '"Read-only"'
        )
        with running(go, before=f"fatal.LAST_WORDS_SECONDS = {alarm}") as process:
            assert process.wait(HANG_SECONDS) == code


def test_a_process_that_was_stopped_is_not_blocked() -> None:
    """After SIGSTOP for longer than a loop may be blocked the process goes on."""
    with running("global on_signal; on_signal = lambda number: os._exit(number)", stop_seconds=60) as process:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)
        process.send_signal(signal.SIGCONT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.0)
        process.terminate()
        assert process.wait(HANG_SECONDS) == signal.SIGTERM
