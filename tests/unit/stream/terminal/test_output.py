"""Standard output that is full, closed or of another encoding, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import TINY_BUNDLE
from tests.waiting import HANG_SECONDS

ROOT = Path(__file__).parents[4]


def shell(words: str, **environ: str) -> tuple[int, str, str]:
    """Run `tagstream` in a shell: its exit code, standard output and standard error."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TAGSTREAM_", "PYTHONUNBUFFERED"))}
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m tagstream.stream.cli.main {words}"],
        cwd=ROOT,
        env={**clean, "TAGSTREAM_BUNDLE": str(TINY_BUNDLE), **environ},
        capture_output=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("classify --json x > /dev/full", "No space left on device"),
        ("config show --json > /dev/full", "No space left on device"),
        ("config show > /dev/full", "No space left on device"),
        ("classify --json x >&-", "Bad file descriptor"),
    ],
)
def test_output_that_cannot_be_written_is_a_sentence(words: str, why: str, unbuffered: str) -> None:
    """A full or closed standard output is one sentence and exit code 1, with a buffer and without."""
    code, _, said = shell(words, PYTHONUNBUFFERED=unbuffered)
    assert code == 1
    assert said.startswith(f"tagstream: standard output cannot be written: {why}; not all of it is there. Next: ")
    assert said.count("\n") == 1


def test_output_that_cannot_hold_a_character_is_a_sentence() -> None:
    """A character that the encoding lacks is an error; with --json the output is always UTF-8."""
    code, _, said = shell("classify 'caf\u00e9 YOLO'", PYTHONIOENCODING="ascii")
    assert code == 1
    assert said.startswith("tagstream: standard output cannot hold '\\u2588', since its encoding is ascii. Next: ")
    assert said.count("\n") == 1
    code, shown, said = shell("classify --json 'caf\u00e9 YOLO'", PYTHONIOENCODING="ascii")
    assert (code, said) == (0, "")
    assert '"title":"caf\u00e9 YOLO"' in shown


def test_a_reader_that_has_seen_enough_is_no_trouble() -> None:
    """`head` ends, and so does the program, without a word."""
    _, shown, said = shell("config show | head -1", PYTHONUNBUFFERED="1")
    assert shown == "# Brokers and group\n"
    assert said == ""


def test_nothing_to_print_needs_no_output() -> None:
    """A command that prints no data works with all three streams closed."""
    assert shell("classify --json - <&- 2>&1 >&-") == (
        2,
        "tagstream: standard input is closed. Next: give it something to read (`<`, `|`), or name a file in the place of -.\n",
        "",
    )


def test_an_argument_that_is_no_text_is_a_sentence() -> None:
    """An argument that is not UTF-8 is refused with one sentence."""
    code, shown, said = shell(r"classify $'caf\xff\xe9 BERT'")
    assert (code, shown) == (2, "")
    assert said == "tagstream: the text is not UTF-8 (character 4). Next: convert it, or set the terminal to UTF-8.\n"
