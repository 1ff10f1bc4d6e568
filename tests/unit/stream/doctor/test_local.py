"""Checks of this machine: the state folder and the address of the metrics, in the words of a worker."""

import errno
import socket
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tagstream.monitoring.health import HealthVerdict, Progress
from tagstream.monitoring.server.server import serve
from tagstream.stream.deliver.crash import guard as crash_guard
from tagstream.stream.deliver.crash.guard import open_guard
from tagstream.stream.deliver.state_folder import StateFolderError
from tagstream.stream.doctor import local
from tagstream.stream.doctor.examine import examine
from tagstream.stream.doctor.findings import Status
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker import process
from tests.fakes import Clock
from tests.observations import Stream
from tests.unit.stream.deliver.crash.fake_trials import FakeTrials
from tests.worker_page import application

NO_BROKER = "127.0.0.1:1"


@pytest.mark.parametrize("below", [(), ("state",), ("state", "deep")])
def test_a_state_folder_that_a_worker_refuses_fails_the_check(tmp_path: Path, below: tuple[str, ...]) -> None:
    """A file where the folder or a folder above it should be fails the check, with the worker's own message."""
    (tmp_path / "file").write_bytes(b"")
    settings = Settings(state_folder=tmp_path.joinpath("file", *below), brokers=NO_BROKER)
    with pytest.raises(StateFolderError) as caught:
        open_guard(settings, FakeTrials())
    found = local.state_folder(settings)
    assert (found.status, f"{found.detail} Next: {found.fix}") == (Status.FAIL, str(caught.value))
    assert (
        found
        in examine(
            settings.model_copy(update={"brokers": NO_BROKER, "startup_timeout_seconds": 0.1}), create_topics=False
        ).findings
    )


@pytest.mark.parametrize("named", [True, False])
def test_a_state_folder_without_which_a_worker_works_is_warned_of(
    named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, or a default folder that cannot be used, only switches the guard off."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC if named else errno.EROFS, "no place")

    settings = Settings(state_folder=tmp_path) if named else Settings.model_construct(state_folder=tmp_path, _fields_set=set())
    monkeypatch.setattr(local, "CrashFile", full)
    found = local.state_folder(settings)
    assert found.status is Status.WARN
    assert f"{tmp_path}: no place; {crash_guard.CONSEQUENCE}" in found.detail
    assert "TAGSTREAM_STATE_FOLDER" in found.fix


def test_the_check_of_the_state_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    """No file stays in an existing folder, and a missing folder is not made."""
    dead = tmp_path / "of-a-dead-worker.mark"
    dead.write_bytes(b"")
    there = local.state_folder(Settings(state_folder=tmp_path))
    to_be_made = local.state_folder(Settings(state_folder=tmp_path / "a" / "b"))
    off = local.state_folder(Settings(state_folder=dead, crash_deaths=0))
    assert [found.status for found in (there, to_be_made, off)] == [Status.OK] * 3
    assert there.detail == f"{tmp_path} can be written"
    assert to_be_made.detail == f"{tmp_path / 'a' / 'b'} can be made"
    assert list(tmp_path.iterdir()) == [dead]


def test_a_metrics_host_that_is_none_of_this_machine_fails() -> None:
    """No worker could bind it, so the check fails; a port that another worker may hold is only a warning."""
    found = local.metrics_port(Settings(metrics_host="192.0.2.1"))
    assert found.status is Status.FAIL
    assert "192.0.2.1:9108 cannot be bound: Cannot assign requested address" in found.detail
    assert found.fix.startswith("set TAGSTREAM_METRICS_HOST to an address of this machine")


def serving(settings: Settings) -> AbstractContextManager[int]:
    """A worker's metrics at the address of these settings."""
    return process.metrics_server(settings, CollectorRegistry(), Progress(stall_seconds=20, monotonic=Clock()))


def test_a_free_port_is_one_that_no_scrape_configuration_knows(listening: str) -> None:
    """With port 0 a free port is taken; doctor and worker both say that a scrape configuration does not know it."""
    port = int(listening.rpartition(":")[2])
    free, taken = (local.metrics_port(Settings(metrics_port=number)) for number in (0, port))
    assert free.detail == "a free port of 127.0.0.1 will be taken and logged; a scrape configuration does not know it"
    assert (free.status, taken.status) == (Status.OK, Status.WARN)

    with pytest.raises(process.MetricsPortError) as caught, serving(Settings(metrics_port=port)):
        pass
    for advice in (taken.fix, str(caught.value)):
        assert "TAGSTREAM_METRICS_PORT=0" in advice
        assert "scrape configuration does not know" in advice


@pytest.mark.parametrize(
    ("why", "says"),
    [
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "Next: set TAGSTREAM_METRICS_HOST to an address of this",
        ),
        (
            OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address"),
            "Next: set TAGSTREAM_METRICS_HOST to an address of this",
        ),
        (PermissionError(errno.EACCES, "Permission denied"), "Next: set TAGSTREAM_METRICS_PORT to one that this user may bind"),
        (
            OSError(errno.EADDRINUSE, "Address already in use"),
            "Next: stop the process that holds the port, or set TAGSTREAM_METRICS_PORT=0",
        ),
    ],
)
def test_a_worker_says_what_is_wrong_with_the_address_of_its_metrics(
    why: OSError, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The advice fits the error: a wrong host, a privileged port, or a port in use."""

    def serve(*_: object, **__: object) -> None:
        raise why

    monkeypatch.setattr(process, "serve", serve)
    with pytest.raises(process.MetricsPortError) as caught, serving(Settings(metrics_host="nohost")):
        pass
    assert f"the metrics address nohost:9108 cannot be bound: {why}. {says}" in str(caught.value)


@pytest.mark.parametrize("why", ["", "7 events wait and none has moved. Next: look at the log"])
def test_while_a_worker_runs_no_other_port_is_advised(why: str) -> None:
    """The port is held by the worker that the settings mean; one that is not ready says why in its own words."""
    stream = Stream()
    served = application(stream.registry, lambda: HealthVerdict(ready=not why, why=why))
    with serve(served, host="127.0.0.1", port=0) as port:
        found = local.metrics_port(Settings(metrics_port=port))
    at = f"a worker answers at http://127.0.0.1:{port}/metrics"
    expected = (Status.WARN, f"{at} and is not ready: 7 events wait and none has moved.", "look at the log")
    assert (found.status, found.detail, found.fix) == (expected if why else (Status.OK, at, ""))
