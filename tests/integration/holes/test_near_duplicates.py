"""Large events that are nearly alike: a page of the console stays small, cheap and within its memory, and one answer settles several."""

import contextlib
import json
import os
import re
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from kafka import KafkaProducer

from stream.broker.processes import Process, Processes
from tests.integration.running import peak_bytes
from tests.waiting import HANG_SECONDS, until

pytestmark = pytest.mark.broker

EVENTS, REVIEWERS = 60, 8
SMALL, LARGE = 400, 600_000
# A page that reads all texts, as it once did, has 607,316 bytes; eight of them at once took 631 MiB, and 73 times the processor time of
# eight pages with small near-duplicates. Now 22,798 bytes, 25 MiB and 2.3 times are seen.
MOST_PAGE_BYTES, MOST_GROWTH_BYTES, MOST_RATIO = 150_000, 250 * 1024 * 1024, 12
ADDRESS = re.compile(r"the console: (http://\S+?)/?\s")
FORM = re.compile(r'name="event" value="([^"]+)">\s*<input type="hidden" name="token" value="([^"]+)"')
TWIN = re.compile(r'name="twin" value="([^"]+)"')
WAITING = re.compile(r'id="waiting">([\d,]+)<')
# The id of a decision is made of the contract's version, the bundle's digest and the event's id.
PREDICTIONS, DIGEST = uuid.UUID("6d0f7c3e-5b0a-5d57-9c53-4a7c1c0f5a1e"), "d" * 64
# Older than the window of the quality estimate, which looks at decisions of its own accord.
TAGGED_AT = (datetime.now(UTC) - timedelta(days=40)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


class Console:
    """A console process, and the browsers of its reviewers."""

    def __init__(self, process: Process) -> None:
        """Wait until it says its address."""
        self.process = process
        found = until(lambda: ADDRESS.search(process.output()), "the console says its address", process=process)
        assert found is not None
        self._address = found[1]

    @contextlib.contextmanager
    def browser(self, reviewer: str) -> Iterator[httpx.Client]:
        """The browser of a reviewer, who has told the page a name."""
        same = {"Sec-Fetch-Site": "same-origin"}
        with httpx.Client(base_url=self._address, headers=same, timeout=HANG_SECONDS) as made:
            assert made.post("/name", data={"name": reviewer}).status_code == httpx.codes.SEE_OTHER
            yield made

    def page(self, reviewer: str, path: str = "/") -> str:
        """What a reviewer is shown."""
        with self.browser(reviewer) as browser:
            answer = browser.get(path)
        assert answer.status_code == httpx.codes.OK
        return answer.text

    def answer(self, reviewer: str, page: str, twins: list[str]) -> None:
        """Press a button, with the near-duplicates ticked."""
        found = FORM.search(page)
        assert found is not None
        form = {"event": found[1], "token": found[2], "tag": "other", "twin": twins}
        with self.browser(reviewer) as browser:
            answer = browser.post("/answer", data=form)
        assert answer.status_code == httpx.codes.SEE_OTHER, re.findall('role="alert">([^<]+)', answer.text)

    def until_waiting(self, count: int) -> None:
        """Wait until so many items are open."""
        until(
            lambda: WAITING.search(self.page("ada", "/help")).group(1) == str(count),  # type: ignore[union-attr]
            f"{count} items wait",
            process=self.process,
        )

    def pages(self, name: str) -> tuple[list[str], float]:
        """The pages of as many reviewers at once, and the processor seconds that they cost."""
        before = self._processor_seconds()
        with ThreadPoolExecutor(REVIEWERS) as people:
            found = list(people.map(self.page, [f"{name}-{number}" for number in range(REVIEWERS)]))
        return found, self._processor_seconds() - before

    def _processor_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def console(environ: dict[str, str], processes: Processes, tmp_path: Path) -> Console:
    """A console with an empty store."""
    argv = [sys.executable, "-m", "stream.cli.main", "review", "--port", "0", "--store", f"sqlite:///{tmp_path}/store.db"]
    return Console(processes.start(argv, env=environ, log_file=tmp_path / "console.log"))


@pytest.fixture
def producer(environ: dict[str, str]) -> Iterator[KafkaProducer]:
    """A stranger who may write."""
    made = KafkaProducer(bootstrap_servers=environ["TAGSTREAM_BROKERS"], acks="all", max_request_size=1_048_588)
    yield made
    made.close()


def send(producer: KafkaProducer, topic: str, size: int, *, first: float) -> None:
    """Events of this size whose texts are nearly alike, as a worker writes them to `review`; the surer the model, the later asked."""
    text = "deploying the same model behind another gateway, and how its tail latency stays flat. "
    for number in range(EVENTS):
        event_id = f"{size}-{number}"
        value = {
            "id": event_id,
            "title": "A year of one gateway",
            "description": f"Part {number}. {text * (size // len(text))}",
            "tag": "mlops",
            "confidence": first,
            "probabilities": {"mlops": first, "other": 0.9 - first, "computer-vision": 0.1},
            "prediction_id": str(uuid.uuid5(PREDICTIONS, f"1:{DIGEST}:{event_id}")),
            "decider": "model",
            "model": {"name": "tiny", "version": "1", "digest": DIGEST},
            "threshold": 0.9,
            "truncated": size == LARGE,
            "reasons": ["low_confidence"],
            "inclusion_probability": 1.0,
            "tagged_at": TAGGED_AT,
        }
        producer.send(topic, key=event_id.encode(), value=json.dumps(value).encode())
    producer.flush(HANG_SECONDS)


def test_large_near_duplicates_cost_a_page_little(
    environ: dict[str, str], console: Console, producer: KafkaProducer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pages of eight reviewers at once are small, cost about what those of short texts cost, and the console does not grow by them."""
    send(producer, environ["TAGSTREAM_TOPICS__REVIEW"], SMALL, first=0.6)
    console.until_waiting(EVENTS)
    console.pages("warm")
    small, small_seconds = console.pages("small")
    assert all(TWIN.search(page) for page in small)
    send(producer, environ["TAGSTREAM_TOPICS__REVIEW"], LARGE, first=0.5)
    console.until_waiting(2 * EVENTS)
    before = peak_bytes(console.process)
    large, large_seconds = console.pages("large")
    growth = peak_bytes(console.process) - before
    asked = [found[1] for page in large if (found := FORM.search(page))]
    assert len(set(asked)) == REVIEWERS
    assert all(event_id.startswith(f"{LARGE}-") for event_id in asked)
    with capsys.disabled():
        print(  # noqa: T201 - the figures behind the bounds
            f"\na page of {max(map(len, large)):,} bytes beside {max(map(len, small)):,}, {large_seconds:.2f} s of processor beside "
            f"{small_seconds:.2f} s for {REVIEWERS}, {growth / 2**20:.0f} MiB more"
        )
    assert max(map(len, large)) < MOST_PAGE_BYTES
    assert growth < MOST_GROWTH_BYTES
    assert large_seconds < MOST_RATIO * small_seconds


def test_one_answer_settles_near_duplicates_of_any_size(
    environ: dict[str, str], console: Console, producer: KafkaProducer
) -> None:
    """The page offers them, and those that are ticked are answered too."""
    send(producer, environ["TAGSTREAM_TOPICS__REVIEW"], LARGE, first=0.5)
    console.until_waiting(EVENTS)
    page = console.page("ada")
    twins = TWIN.findall(page)
    assert twins
    console.answer("ada", page, twins)
    console.until_waiting(EVENTS - 1 - len(twins))
