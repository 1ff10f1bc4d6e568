"""`die` ends the process with its cause in the log and the documented exit code."""

import json
import subprocess
import sys

import pytest

from stream.deliver.fatal import EXIT_BROKEN


def died(preamble: str) -> subprocess.CompletedProcess[str]:
    """Run `die` in a process of its own."""
    program = (
        "import sys\nfrom stream.deliver.fatal import die\nfrom stream.logs import configure\n"
        f"configure(level='info', form='json')\n{preamble}\n"
        "try:\n    raise OSError('broker gone')\nexcept OSError as error:\n    die(error)\n"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)


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


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_dying_succeeds_with_a_closed_pipe(stream: str) -> None:
    """A closed standard output or error does not keep a broken worker alive."""
    assert died(f"sys.{stream}.close()").returncode == EXIT_BROKEN
