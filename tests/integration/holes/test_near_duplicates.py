"""Large events that are nearly alike: a page of the console stays small, cheap and within its memory, and one answer settles several."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaProducer

from tagstream.stream.broker.processes import Processes
from tests.integration.holes.console_process import Console, ask, event_of
from tests.integration.running import peak_bytes

pytestmark = [pytest.mark.broker, pytest.mark.slow]

EVENTS, REVIEWERS = 60, 8
SMALL, LARGE = 400, 600_000
# A page that reads all texts, as it once did, has 607,316 bytes; eight of them at once took 631 MiB, and 73 times the processor time of
# eight pages with small near-duplicates. Now 22,798 bytes, 25 MiB and 2.3 times are seen.
MOST_PAGE_BYTES, MOST_GROWTH_BYTES = 150_000, 250 * 1024 * 1024
TWIN = re.compile(r'name="twin" value="([^"]+)"')


@pytest.fixture
def console(environ: dict[str, str], processes: Processes, tmp_path: Path) -> Console:
    """A console with an empty store."""
    return Console(processes, environ, tmp_path)


@pytest.fixture
def producer(environ: dict[str, str]) -> Iterator[KafkaProducer]:
    """A stranger who may write."""
    made = KafkaProducer(bootstrap_servers=environ["TAGSTREAM_BROKERS"], acks="all", max_request_size=1_048_588)
    yield made
    made.close()


def texts(size: int) -> dict[str, str]:
    """Events of this size whose texts are nearly alike."""
    text = "deploying the same model behind another gateway, and how its tail latency stays flat. "
    return {f"{size}-{number}": f"Part {number}. {text * (size // len(text))}" for number in range(EVENTS)}


def test_large_near_duplicates_cost_a_page_little(
    environ: dict[str, str], console: Console, producer: KafkaProducer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pages of eight reviewers at once are small, and the console does not grow by them; what they cost is printed beside short texts."""
    ask(producer, environ["TAGSTREAM_TOPICS__REVIEW"], texts(SMALL))
    console.until_waiting(EVENTS)
    for round_ in ("warm", "small"):
        small, small_seconds = console.pages([f"{round_}-{number}" for number in range(REVIEWERS)])
    assert all(TWIN.search(page) for page in small)
    ask(producer, environ["TAGSTREAM_TOPICS__REVIEW"], texts(LARGE), first=0.5)
    console.until_waiting(2 * EVENTS)
    before = peak_bytes(console.process)
    large, large_seconds = console.pages([f"large-{number}" for number in range(REVIEWERS)])
    growth = peak_bytes(console.process) - before
    asked = {str(event_of(page)) for page in large}
    assert len(asked) == REVIEWERS
    assert all(event_id.startswith(f"{LARGE}-") for event_id in asked)
    with capsys.disabled():
        print(  # noqa: T201 - the figures behind the bounds
            f"\na page of {max(map(len, large)):,} bytes beside {max(map(len, small)):,}, {large_seconds:.2f} s of processor beside "
            f"{small_seconds:.2f} s for {REVIEWERS}, {growth / 2**20:.0f} MiB more"
        )
    assert max(map(len, large)) < MOST_PAGE_BYTES
    assert growth < MOST_GROWTH_BYTES


def test_one_answer_settles_near_duplicates_of_any_size(
    environ: dict[str, str], console: Console, producer: KafkaProducer
) -> None:
    """The page offers them, and those that are ticked are answered too."""
    ask(producer, environ["TAGSTREAM_TOPICS__REVIEW"], texts(LARGE), first=0.5)
    console.until_waiting(EVENTS)
    page = console.page("ada")
    twins = TWIN.findall(page)
    assert twins
    console.post("ada", page, tag="other", twin=twins)
    console.until_waiting(EVENTS - 1 - len(twins))
