"""The fixtures that tests of several rooms share."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tagstream.model_export.bundle.bundle import Bundle, read
from tagstream.model_export.bundle.model import Classifier, OnnxClassifier
from tagstream.monitoring.observer import NullObserver
from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.decide.pipeline import Pipeline
from tests.fakes import deciding
from tests.lacking import program, skipped_line
from tests.postgres import Postgres, postgres

REPORT = "report"
OWN_BROKERS = "own brokers"
STARTS_BROKERS = {
    "test_broker",
    "test_conservation",
    "test_demo",
    "test_demo_apart",
    "test_oauth",
    "test_outage",
    "test_secure",
}
TINY_BUNDLE = Path(__file__).parent / "data" / "tiny_bundle"

# Hosts are shared, and the first example pays for imports: pytest's own limit is the bound on time.
# Where a change is judged (.ci/run) the examples are the same each time: who looks for new ones is who can look into them.
settings.register_profile("tagstream", deadline=None, derandomize=bool(os.environ.get("SAME_EXAMPLES")))
settings.load_profile("tagstream")


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """One PostgreSQL for the tests of this process."""
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/tests.db"
    server: Postgres = request.getfixturevalue("server")
    return server.fresh()


@pytest.fixture
def model() -> ModelRef:
    """A bundle's name."""
    return ModelRef(name="tiny", version="1", digest="d" * 64)


@pytest.fixture
def pipeline(model: ModelRef) -> Pipeline:
    """The pipeline over the keyword classifier, unobserved."""
    return Pipeline(decider=deciding(model=model), observer=NullObserver())


@pytest.fixture(scope="session")
def tiny_bundle_folder() -> Path:
    """A real bundle of a few kilobytes; the script beside it made it."""
    return TINY_BUNDLE


@pytest.fixture(scope="session")
def tiny_bundle(tiny_bundle_folder: Path) -> Bundle:
    """The same, read and verified."""
    return read(tiny_bundle_folder)


@pytest.fixture(scope="session")
def tiny_classifier(tiny_bundle: Bundle) -> Classifier:
    """The real classifier on the tiny bundle."""
    return OnnxClassifier(tiny_bundle)


@pytest.fixture
def publish_report(request: pytest.FixtureRequest) -> Callable[[object], None]:
    """Adds a fault run's report to the summary at the end of the session: figures are for reading, also when all is well."""

    def publish(report: object) -> None:
        # A property of the test: it comes to where the summary is written, also from another process.
        request.node.user_properties.append((REPORT, str(report)))

    return publish


class _FileByFile(LoadScopeScheduling):
    """Each file stays in one process, and all files that start brokers of their own in the same one: one cluster at a time."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return OWN_BROKERS if Path(file).stem in STARTS_BROKERS else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    """Replace pytest-xdist's own scheduler of `--dist loadfile`."""
    return _FileByFile(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Look for the programs that the test needs, before its fixtures are made."""
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            program(name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the reports, and add the skips to SKIPPED_FILE. In this file, since the process that writes the summary collects nothing, and so knows no folder's own."""
    for done in (done for outcome in ("passed", "failed") for done in terminalreporter.stats.get(outcome, [])):
        for name, report in getattr(done, "user_properties", []):
            if name == REPORT and done.when == "call":
                terminalreporter.section(done.nodeid.rpartition("::")[2])
                terminalreporter.write_line(report)
    skipped = [done.longrepr[2].removeprefix("Skipped: ") for done in terminalreporter.stats.get("skipped", [])]
    if skipped and (file := os.environ.get("SKIPPED_FILE")):
        with Path(file).open("a", encoding="utf-8") as lines:
            lines.write(f"{skipped_line(skipped)}\n")
