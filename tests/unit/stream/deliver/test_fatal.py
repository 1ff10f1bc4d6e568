"""`die` ends the process with its cause in the log and the documented exit code."""

import json
import subprocess
import sys

import pytest

from tagstream.stream.deliver.fatal import EXIT_ALARM, EXIT_BROKEN
from tests.pipes import full_pipe
from tests.waiting import HANG_SECONDS

LOCKED_LOG = """
import logging, threading
from tagstream.stream.deliver import fatal

fatal.LAST_WORDS_SECONDS = 0.5
locked = threading.Event()

def hold():
    logging.getLogger().handlers[0].acquire()
    locked.set()
    threading.Event().wait()

threading.Thread(target=hold, daemon=True).start()
locked.wait()
"""


def dying(preamble: str) -> list[str]:
    """Return the command of a process that calls `die`."""
    program = (
        "import sys\nfrom tagstream.stream.deliver.fatal import die\nfrom tagstream.stream.logs import configure\n"
        f"configure(level='info', form='json')\n{preamble}\n"
        "try:\n    raise OSError('broker gone')\nexcept OSError as error:\n    die(error)\n"
    )
    return [sys.executable, "-c", program]


def died(preamble: str) -> subprocess.CompletedProcess[str]:
    """Run `die` in a process of its own."""
    return subprocess.run(dying(preamble), capture_output=True, text=True, timeout=HANG_SECONDS, check=False)


def test_dying_logs_the_cause_and_gives_the_exit_code() -> None:
    """`die` logs the cause with its traceback, closes with one line that has the next step, and runs no exit handler."""
    ended = died("import atexit\natexit.register(lambda: print('commit'))")
    assert ended.returncode == EXIT_BROKEN
    line, last = map(json.loads, ended.stderr.splitlines())
    assert (line["event"], line["error"], line["exit_code"]) == ("worker_died", "OSError: broker gone", EXIT_BROKEN)
    assert "Traceback" in line["exception"]
    assert (last["event"], last["why"], last["exit_code"]) == ("worker_ended", "OSError: broker gone", EXIT_BROKEN)
    assert last["what"].startswith("the worker has ended")
    assert "tagstream doctor" in last["next"]
    assert "exception" not in last
    assert ended.stdout == ""


def test_dying_of_what_a_worker_was_told_gives_the_code_of_a_wrong_setting() -> None:
    """A restart alone does not help, and the last log line says so."""
    program = (
        "from tagstream.stream.deliver.fatal import NotStartedError, die\nfrom tagstream.stream.logs import configure\n"
        "configure(level='info', form='json')\ndie(NotStartedError('no bundle'))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=HANG_SECONDS, check=False)
    assert ended.returncode == 2
    *_, last = map(json.loads, ended.stderr.splitlines())
    assert (last["event"], last["exit_code"], last["next"]) == ("worker_ended", 2, "correct that, then start it again")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_dying_succeeds_with_a_closed_pipe(stream: str) -> None:
    """A closed standard output or error does not keep a broken worker alive."""
    assert died(f"sys.{stream}.close()").returncode == EXIT_BROKEN


def test_dying_needs_no_reader_of_the_log() -> None:
    """A worker whose log is a full pipe without an active reader still ends, with the right exit code."""
    with full_pipe() as pipe:
        # The wait for the reader is short, so that the process ends long before the alarm that bounds the last log line.
        ended = subprocess.run(
            dying("from stream import logs\nlogs.WRITE_SECONDS = 0.1"), stderr=pipe, timeout=HANG_SECONDS, check=False
        )
    assert ended.returncode == EXIT_BROKEN


def test_dying_needs_no_lock() -> None:
    """If another thread holds the log's lock for ever, the kernel ends the process."""
    assert died(LOCKED_LOG).returncode == EXIT_ALARM
