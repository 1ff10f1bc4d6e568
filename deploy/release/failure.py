"""The end of a release that cannot be made: a sentence that says what is wrong, why, and the next step."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

# Against hanging only: an image is built from packages that a slow line brings.
HANG_SECONDS = 3600.0


class ReleaseError(Exception):
    """No release can be made: the message says why, and what to do."""


def output(
    words: Sequence[str | Path], *, at: Path, environ: Mapping[str, str] | None = None, given: bytes | None = None
) -> bytes:
    """
    The standard output of a program that must end well.

    Args:
        words: The program and its arguments.
        at: The folder that it runs in.
        environ: Its whole environment; ours unless given.
        given: Its standard input, bytes; empty unless given.

    Raises:
        ReleaseError: It is not there, failed, or did not end within an hour.
    """
    command = [str(word) for word in words]
    shown = " ".join(command)
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            command, cwd=at, env=environ, input=given or b"", capture_output=True, timeout=HANG_SECONDS, check=False
        )
    except OSError as error:
        msg = f"`{shown}` cannot be started: {error}. Next: install {command[0]}, and begin again."
        raise ReleaseError(msg) from error
    except subprocess.TimeoutExpired as error:
        msg = f"`{shown}` did not end within {HANG_SECONDS:.0f} s. Next: run it by hand in {at}."
        raise ReleaseError(msg) from error
    if done.returncode != 0:
        talk = (done.stdout + done.stderr).decode(errors="replace")[-2000:].strip()
        msg = f"`{shown}` ended with code {done.returncode}. Next: run it by hand in {at}. Its last words:\n{talk}"
        raise ReleaseError(msg)
    return done.stdout
