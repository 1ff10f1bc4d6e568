"""The first lines of the demo."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from tagstream.stream.demo.view import StartupLines
from tagstream.stream.settings.settings import Settings
from tagstream.stream.settings.topics import Topics
from tests.unit.stream.demo.demo_records import output


def test_the_opening_says_every_reason_once() -> None:
    """Off a terminal each reason for a wait is one line, however often it is given."""
    console = Console(file=io.StringIO(), width=200)
    opening = StartupLines(console)
    with opening.step("starting the worker") as say:
        for why in ("it loads", "it loads", "it joins", "it joins"):
            say(why)
    opening.tell("worker", "is ready")
    opening.addresses("http://h:1", Settings(brokers="b:2"), store="sqlite:////tmp/review.sqlite")
    lines = output(console).splitlines()
    assert lines[:3] == ["starting the worker ...", "  it loads", "  it joins"]
    assert "TAGSTREAM_BROKERS=b:2" in lines[-1]
    assert lines[-1].endswith("quality --store sqlite:////tmp/review.sqlite")
    assert re.fullmatch(r"worker +is ready  \(0\.\d s\)", lines[3])
    assert [line.split()[-1].removeprefix("http://h:1") for line in lines[4:8]] == ["/", "/metrics", "/healthz", "/readyz"]


@pytest.mark.parametrize(
    ("called", "on_path", "says"),
    [
        (".venv/bin/tagstream", None, ".venv/bin/tagstream"),
        ("a folder/tagstream", None, "'a folder/tagstream'"),
        (".venv/bin/tagstream", "other/bin/tagstream", ".venv/bin/tagstream"),
        (".venv/bin/tagstream", ".venv/bin/tagstream", "tagstream"),
        ("tagstream", None, "tagstream"),
        ("stream/cli/main.py", None, "tagstream"),
    ],
)
def test_the_commands_of_the_opening_can_be_typed(
    called: str, on_path: str | None, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that is not on PATH, as under `make demo`, is printed with its path."""
    for folder in (".venv/bin", "other/bin", "a folder"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "tagstream").touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / Path(on_path).parent) if on_path else str(tmp_path))
    monkeypatch.setattr("sys.argv", [called, "demo"])
    console = Console(file=io.StringIO(), width=40)
    StartupLines(console).addresses("http://h:1", Settings(brokers="b:2"))
    assert [line.removeprefix("follow").strip() for line in output(console).splitlines()[-3:]] == [
        f"TAGSTREAM_BROKERS=b:2 {says} tail review",
        f"TAGSTREAM_BROKERS=b:2 {says} tail drift --from-beginning",
        f"{says} top h:1",
    ]


def test_the_commands_of_the_opening_name_the_topics_of_the_demo() -> None:
    """On a named broker the demo's topics have names of their own, and the printed commands follow these."""
    topics = Topics.model_validate({"review": "mine.review", "drift": "mine.drift"})
    console = Console(file=io.StringIO(), width=40)
    StartupLines(console).addresses("http://h:1", Settings(brokers="b:2", topics=topics))
    lines = output(console).splitlines()
    assert lines[-3].endswith(" tail mine.review")
    assert "TAGSTREAM_TOPICS__DRIFT=mine.drift " in lines[-2]
