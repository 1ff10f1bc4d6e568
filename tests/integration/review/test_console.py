"""The console as a process on a real broker: an answer that is given in its page is a decision on `tagged`."""

import itertools
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tagstream.stream.broker.processes import Process, Processes
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.published import milliseconds
from tagstream.stream.kafka.producer import verbatim_sender
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.settings.settings import Settings
from tests.faults.worker.stub import THRESHOLD, decide
from tests.integration.running import Start, ended
from tests.waiting import HANG_SECONDS, until

pytestmark = pytest.mark.broker

ADDRESS = re.compile(r"the console: (http://\S+?)/?\s")
TOKEN = re.compile(r'name="event" value="([^"]+)">\s*<input type="hidden" name="token" value="([^"]+)"')


class Console:
    """A console process and a browser that looks at it."""

    def __init__(self, process: Process) -> None:
        """Wait until it says its address."""
        self.process = process
        found = until(lambda: ADDRESS.search(process.output()), "the console says its address", process=process)
        assert found is not None
        self.browser = httpx.Client(
            base_url=found[1], headers={"Sec-Fetch-Site": "same-origin"}, timeout=HANG_SECONDS, follow_redirects=True
        )

    def item(self) -> tuple[str, str]:
        """Event and token of the next item, as soon as there is one."""
        found = until(lambda: TOKEN.search(self.browser.get("/").text), "an item is shown", process=self.process)
        assert found is not None
        return found[1], found[2]

    def answer(self, event: str, token: str, tag: str) -> httpx.Response:
        """Press the button of a tag."""
        return self.browser.post("/answer", data={"event": event, "token": token, "tag": tag, "note": "seen"})


@pytest.fixture
def console(environ: dict[str, str], processes: Processes, tmp_path: Path) -> Iterator[Callable[[], Console]]:
    """Starts consoles with the store of the test."""
    started: list[Console] = []

    def start() -> Console:
        argv = [
            sys.executable,
            "-m",
            "tagstream.stream.cli.main",
            "review",
            "--port",
            "0",
            "--store",
            f"sqlite:///{tmp_path}/store.db",
        ]
        log_file = tmp_path / f"console-{len(started)}.log"
        started.append(Console(processes.start([*argv, "--reviewer", "ann"], env=environ, log_file=log_file)))
        return started[-1]

    yield start
    for one in started:
        one.browser.close()


def unsure(count: int) -> list[str]:
    """Ids of events of which the stub model is not sure."""
    names = (f"e-{number}" for number in itertools.count())
    found = (name for name in names if decide(f"maybe deployment {name}", "").confidence < THRESHOLD)
    return list(itertools.islice(found, count))


def send(settings: Settings, *ids: str) -> None:
    """Events of which the stub model is not sure."""
    events = [
        Record(topic=settings.topics.content, key=None, value=b'{"id":"%b","title":"maybe deployment %b"}' % (name, name))
        for name in map(str.encode, ids)
    ]
    with verbatim_sender(settings, idempotent=True) as sender:
        assert sender.deliver(events) == [None] * len(events)


def by_people(settings: Settings) -> dict[str, dict[str, Any]]:
    """The decisions of reviewers on `tagged`, by event; the last one of each."""
    with log_of(settings, settings.topics.tagged) as log:
        values = [msgspec.json.decode(record.value or b"{}") for record in log.read()]
    return {value["id"]: value for value in values if value["decider"] == "reviewer"}


def test_an_answer_in_the_page_is_a_decision_on_tagged(
    settings: Settings, start: Start, console: Callable[[], Console], capsys: pytest.CaptureFixture[str]
) -> None:
    """The person's tag replaces the model's, and a correction replaces the first answer; SIGTERM ends the console with 0."""
    ids = unsure(5)
    worker = start()
    worker.until_ready()
    send(settings, *ids)
    page = console()
    for _ in ids:
        assert page.answer(*page.item(), "other").status_code == 200
    assert "Nothing waits for you" in page.browser.get("/").text
    found = until(lambda: seen if len(seen := by_people(settings)) == len(ids) else None, "all answers are on tagged")
    assert found is not None
    assert {value["tag"] for value in found.values()} == {"other"}
    assert all("reviewer" not in value and "note" not in value for value in found.values())
    again = TOKEN.search(page.browser.post("/again", data={"event": ids[0]}).text)
    assert again is not None
    assert page.answer(*again.groups(), "mlops").status_code == 200
    until(lambda: by_people(settings)[ids[0]]["version"] == 2, "the correction is on tagged")
    corrected = by_people(settings)[ids[0]]
    assert (corrected["tag"], corrected["supersedes"]) == ("mlops", found[ids[0]]["prediction_id"])
    page.process.ask_to_end()
    assert ended(page.process) == 0, page.process.output()
    with capsys.disabled():
        print(f"\nfrom the answer to tagged_at: {took(found)} ms")  # noqa: T201 - the figure of docs/review.md


def took(found: dict[str, dict[str, Any]]) -> list[int]:
    """Milliseconds from the answer of a person to the decision that is published, of each event."""
    return sorted(milliseconds(value["tagged_at"]) - milliseconds(value["decided_at"]) for value in found.values())


@pytest.mark.slow
def test_a_console_that_is_killed_goes_on_where_it_was(
    settings: Settings, start: Start, console: Callable[[], Console]
) -> None:
    """Kill -9: the next one shows no answered item, and its reviewer has the same item as before."""
    start().until_ready()
    send(settings, *unsure(3))
    first = console()
    answered, token = first.item()
    first.answer(answered, token, "other")
    held, _ = first.item()
    first.process.kill()
    ended(first.process)
    second = console()
    assert second.item()[0] == held
    assert second.answer(*second.item(), "other").status_code == 200
    assert second.item()[0] not in {answered, held}
