"""Every text that reaches a terminal is shown as it is: no markup, no control characters, whoever wrote it."""

import ast
import io
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tagstream.monitoring.vocabulary import Reason, Stage
from tagstream.stream.cli import exits
from tagstream.stream.cli.show.records import print_record
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import publish_all
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.dead_letters import show as dead_letters
from tagstream.stream.dead_letters.selection import _found
from tagstream.stream.doctor import show as doctor
from tagstream.stream.doctor.findings import CheckFinding, Status
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal import console
from tagstream.stream.terminal.console import Terminal
from tagstream.stream.terminal.text import escaped, escaped_json
from tests.sources import parsed
from tests.unit.stream.cli.show.test_findings import one_of_each_kind

ROOT = Path(__file__).parents[4]
# Markup that closes nothing, an emoji's name, and characters that clear a screen, move the cursor or turn a line.
HOSTILE = "[/x][red] :fire: \x1b[2J\x9b2J\x07\r\x08\u202e\u2066"
HOSTILE_JSON = json.dumps({"title": HOSTILE, "kind": HOSTILE}, ensure_ascii=False).encode()


def dead_letter() -> Record:
    """A dead letter whose every part is hostile."""
    event = Record(topic="content", key=HOSTILE.encode(), value=HOSTILE_JSON, headers=((HOSTILE, HOSTILE.encode()),))
    refusal = Refusal(stage=Stage.DECODE, reason=Reason.INVALID_JSON, message=HOSTILE)
    (one,) = publish_all([event], [refusal], 0)
    return Record(topic="content.dlq", key=one.key, value=one.value, headers=one.headers)


def finding() -> Record:
    """A drift finding with a hostile time, worker and examples."""
    (found, *_) = one_of_each_kind().values()
    hostile = msgspec.structs.replace(found, at=HOSTILE, worker=HOSTILE, example_ids=(HOSTILE,))
    return Record(topic="drift", key=None, value=msgspec.json.encode(hostile))


PRINTERS: dict[str, Callable[[bool], None]] = {
    "tail": lambda as_json: print_record(Record(key=HOSTILE.encode(), value=HOSTILE_JSON, topic="t"), as_json=as_json),
    "tail bytes": lambda as_json: print_record(Record(key=None, value=HOSTILE.encode(), topic="t"), as_json=as_json),
    "tail drift": lambda as_json: print_record(finding(), as_json=as_json),
    "tail drift, no finding": lambda as_json: print_record(
        Record(key=None, value=b'{"kind":"[/x]\xc2\x9b"}', topic="drift"), as_json=as_json
    ),
    "dlq list": lambda as_json: dead_letters.print_list([_found(dead_letter())], as_json=as_json),
    "dlq list --count": lambda as_json: dead_letters.print_counts([_found(dead_letter())], as_json=as_json),
    "dlq show": lambda as_json: dead_letters.print_letter(_found(dead_letter()), raw=False, as_json=as_json),
    "doctor": lambda as_json: doctor.printer(Settings(), as_json=as_json)(
        CheckFinding(check=HOSTILE, status=Status.WARN, detail=HOSTILE, fix=HOSTILE)
    ),
    "errors": lambda _: exits.note(HOSTILE),
    "talk": lambda _: console.talk(HOSTILE),
}


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("command", PRINTERS)
def test_no_command_lets_foreign_text_reach_the_terminal(
    command: str, as_json: bool, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hostile text in any part leaves printable characters and line ends alone, and crashes no command."""
    monkeypatch.setattr(console, "out", Terminal(soft_wrap=True))
    PRINTERS[command](as_json)
    said = capfd.readouterr()
    assert said.out + said.err
    for line in (said.out + said.err).split("\n"):
        assert line.isprintable(), repr(line)
    if as_json and said.out:
        json.loads(said.out)


def test_markup_is_text() -> None:
    """Square brackets and the names of emoji are printed as they are, in a table and on the alternate screen too."""
    file = io.StringIO()
    made = Terminal(file=file, width=60, force_terminal=True, color_system=None)
    table = Table("[/x]")
    table.add_row(HOSTILE)
    made.print(HOSTILE, table, Text(HOSTILE))
    with Live(console=made, auto_refresh=False) as live:
        live.update(Text(HOSTILE), refresh=True)
    shown = file.getvalue()
    assert shown.count("[/x][red] :fire: \\x1b[2J\\x9b2J") >= 4
    assert not set("\x9b\x07\x08\u202e") & set(shown)
    assert "\x1b[2J" not in shown


@given(st.text())
def test_an_escape_keeps_printable_text_and_leaves_nothing_else(text: str) -> None:
    """The escaped text is printable, and equal to the text if that is printable already."""
    assert escaped(text).isprintable()
    assert (escaped(text) == text) == text.isprintable()


@given(st.recursive(st.text(), lambda inner: st.dictionaries(st.text(), inner, max_size=3), max_leaves=5))
def test_an_escaped_json_value_is_the_same_value(value: object) -> None:
    """A program reads the same value, characters beyond 16 bits included, and the line is printable."""
    line = escaped_json(msgspec.json.encode(value).decode())
    assert line.isprintable()
    assert json.loads(line) == value


def test_the_commands_print_through_the_terminal_alone() -> None:
    """A console of rich's own, or bytes to standard output, would print foreign text without escapes."""
    allowed = {
        "stream/terminal/console.py",
        # `--version`, and the sentences that `note` has escaped.
        "stream/cli/main.py",
        "stream/cli/exits.py",
        # `dlq show --raw`: the exact bytes are what it is for.
        "stream/dead_letters/show.py",
        # The answer of a process of its own to the one that started it.
        "model_export/verify.py",
    }
    found = set()
    for path in [*ROOT.glob("stream/**/*.py"), *ROOT.glob("monitoring/**/*.py"), *ROOT.glob("model_export/**/*.py")]:
        for node in ast.walk(parsed(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {
                "Console",
                "rich.print",
                "typer.echo",
                "typer.secho",
                "sys.stdout.buffer.write",
            }:
                found.add(path.relative_to(ROOT).as_posix())
    assert found <= allowed
