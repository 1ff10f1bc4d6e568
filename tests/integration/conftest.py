"""One Apache Kafka for the session, and topics, a group and processes for each test."""

import gc
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import pytest

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE
from tagstream.model_export.bundle.manifest import MANIFEST
from tagstream.stream.broker import Broker, BrokerUnavailable
from tagstream.stream.broker.processes import Processes
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings
from tests.faults.cluster.topics import fresh_environment, make_topics, remove_topics
from tests.faults.observer import TopicObserver
from tests.faults.worker.fleet import ROOT, Fleet
from tests.integration.brokers.shared import require_alive, shared_broker
from tests.integration.command_line import Command, command
from tests.integration.running import RunningWorker, Start
from tests.lacking import lacking

# A file stays in one process, and of those on brokers the longest begin first, so that the processes end at about the same time.
LONGEST_FIRST = (
    "test_conservation",
    "test_loading",
    "test_promote",
    "test_watch",
    "test_broker",
    "test_canary",
    "test_shadow",
    "test_topic",
    "test_seen",
    "test_poison",
    "test_faults_apart",
    "test_exactly_once",
    "test_secure",
    "test_known_bad",
    "test_worker",
    "test_hostile",
    "test_demo",
    "test_see_it",
    "test_doors",
    "test_replay",
    "test_too_large",
)
FOLDER = Path(__file__).parent
# A test that hangs is ended after this time; on a quiet machine no test takes a tenth of it.
HANG_SECONDS = 3600
# kafka-python leaves one to the garbage collector for every refused connection.
LEFT_SOCKETS = "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the files, and bound each test against hanging."""
    if "not broker" not in (config.option.markexpr or ""):
        # For every test, since the collector may run during another test or after the last.
        config.addinivalue_line("filterwarnings", LEFT_SOCKETS)
    for item in items:
        if item.path.is_relative_to(FOLDER):
            item.add_marker(pytest.mark.timeout(HANG_SECONDS))
    rank = {name: at for at, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))
    on_brokers = {item.path for item in items if item.get_closest_marker("broker")}
    place = spread(list(dict.fromkeys(item.path for item in items)), on_brokers)
    items.sort(key=lambda item: place[item.path])


def spread(files: Sequence[Path], waiting: Collection[Path]) -> dict[Path, float]:
    """
    A place for each file: those that mostly wait for brokers and those that mostly compute alternate, each kind in its order.

    So a process that waits leaves its core to one that computes, from the beginning to the end.

    >>> a, b, x, y = map(Path, "abxy")
    >>> place = spread([a, b, x, y], {a, b})
    >>> [str(file) for file in sorted(place, key=place.__getitem__)]
    ['a', 'x', 'b', 'y']
    """
    kinds = [file for file in files if file in waiting], [file for file in files if file not in waiting]
    return {file: at / len(kind) for kind in kinds for at, file in enumerate(kind)}


def pytest_unconfigure() -> None:
    """Sockets that are found after the last test, when no test's filters hold, fail no run either."""
    warnings.filterwarnings("ignore", "Exception ignored in. <socket", pytest.PytestUnraisableExceptionWarning)


@pytest.fixture(scope="session", autouse=True)
def _sockets_are_collected() -> Iterator[None]:
    """Collect sockets while a test's warning filters hold; after the last test each would be an error."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def broker_of_all(tmp_path_factory: pytest.TempPathFactory, testrun_uid: str) -> Iterator[Broker]:
    """
    The one broker of all test processes: TAGSTREAM_BROKERS, Apache Kafka, or Docker's.

    It must support idempotent producers and keep records on disk.
    """
    try:
        # The parent of this process's folder is shared by all processes of the run.
        with shared_broker(tmp_path_factory.getbasetemp().parent / f"broker-{testrun_uid}") as found:
            yield found
    except BrokerUnavailable as error:
        lacking(f"no Apache Kafka could be had, so nothing can be said of the worker on it: {error}")


@pytest.fixture(scope="module")
def kafka(broker_of_all: Broker) -> Iterator[Broker]:
    """The one broker. Tests have topics and groups of their own; the topics end with the file of their tests."""
    require_alive(broker_of_all)
    yield broker_of_all
    remove_topics(broker_of_all.bootstrap)


@pytest.fixture
def environ(kafka: Broker, request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """TAGSTREAM_* of this test: existing topics and a group, named after the test."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    found = {**fresh_environment(kafka.bootstrap, name), "TAGSTREAM_STATE_FOLDER": str(tmp_path / "state")}
    make_topics(load(found, folder=ROOT).settings)
    return found


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    """The same as settings."""
    return load(environ, folder=ROOT).settings


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Starts processes that end with the test."""
    with Processes(grace_seconds=0) as started:
        yield started


@pytest.fixture
def start(environ: dict[str, str], processes: Processes, tmp_path: Path) -> Start:
    """Starts workers of this test's group; further TAGSTREAM_* as arguments."""
    fleet_number = iter(range(1, 100))

    def run(*, seconds_per_batch: float = 0.0, **settings: str) -> RunningWorker:
        number = next(fleet_number)
        fleet = Fleet(
            processes=processes,
            module="tests.faults.worker",
            environ={**environ, **settings},
            seconds_per_batch=seconds_per_batch,
            folder=tmp_path,
        )
        return RunningWorker(fleet.add(number).process)

    return run


@pytest.fixture
def observer(settings: Settings) -> Iterator[TopicObserver]:
    """The observer of this test's topics."""
    with TopicObserver(settings) as looking:
        yield looking


@pytest.fixture(scope="session")
def bundle_folder(tiny_bundle_folder: Path) -> Path:
    """The default bundle where it has been built, else the tiny one."""
    return DEFAULT_BUNDLE if (DEFAULT_BUNDLE / MANIFEST).is_file() else tiny_bundle_folder


@pytest.fixture
def tagstream(tmp_path: Path) -> Command:
    """Runs the `tagstream` command to its end, in a folder of its own, without the developer's settings."""
    return command(tmp_path)


@pytest.fixture(scope="session")
def tagstream_in() -> Callable[[Path], Command]:
    """The same for fixtures that outlive a test, in a folder of theirs."""
    return command
