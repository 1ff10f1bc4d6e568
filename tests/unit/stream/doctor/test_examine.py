"""`tagstream doctor` without a broker: why nobody answers, and what else would keep a worker from starting."""

import contextlib
import errno
import re
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from kafka.errors import KafkaTimeoutError
from prometheus_client import CollectorRegistry

from model_export.bundle.bundle import Bundle
from monitoring.drift import baseline
from monitoring.drift.baseline import Baseline, BaselineError
from monitoring.health import Progress
from stream.decide.pipeline import release_of
from stream.deliver import crash_guard
from stream.deliver.breaker_file import BreakerFile
from stream.deliver.crash_guard import open_guard
from stream.deliver.state_folder import StateFolderError
from stream.doctor import examine
from stream.doctor.examine import Finding, Status
from stream.kafka import admin as topics
from stream.kafka import errors
from stream.settings.settings import Settings
from stream.worker import process
from stream.worker.drift import watch_of
from tests.fakes import Clock

NOWHERE = "127.0.0.1:1"


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No broker answers, at once: kafka-python would look for one, and leave sockets open."""

    @contextlib.contextmanager
    def admin(settings: Settings) -> Iterator[None]:
        error = KafkaTimeoutError("no metadata")
        raise errors.unreachable(settings, error) from error
        yield

    monkeypatch.setattr(topics, "admin", admin)


def reference(folder: Path, model: str = "") -> Path:
    """A drift reference's file."""
    path = folder / "reference.json"
    made = Baseline(events=9, words={"a": 2}, sources={}, without_source=9, lone_sources=0, labels={"other": 9}, model=model)
    path.write_bytes(baseline.render(made))
    return path


def sentence(found: Finding) -> str:
    """A finding as the worker would say it."""
    return f"{found.detail} Next: {found.fix}"


def test_the_doctor_looks_closer_and_does_not_send_to_itself(closed: str) -> None:
    """Where nothing listens it says so, and what fits; the class of the client's error is no answer."""
    report = examine.examine(Settings(brokers=closed), create_topics=False)
    found = report.findings[-1]
    assert not report.broker_reachable
    assert (found.check, found.status) == ("brokers", Status.FAIL)
    assert found.detail == f"no Kafka broker answered within 30 s: {closed} refuses connections"
    assert found.fix == "start the broker, or correct host and port in TAGSTREAM_BROKERS: nothing listens there"


def test_who_takes_connections_and_is_no_broker_has_another_next_step(listening: str) -> None:
    """And there what the client says is worth hearing, once; a step that fits two addresses is said once too."""
    found = examine.examine(Settings(brokers=f"{listening},{listening}"), create_topics=False).findings[-1]
    assert found.detail.endswith(f"{listening} takes connections. The client says KafkaTimeoutError: no metadata")
    assert found.fix.count("a Kafka listener for PLAINTEXT (TAGSTREAM_SECURITY__PROTOCOL)") == 1
    assert "doctor" not in found.fix


@pytest.mark.parametrize("content", [None, b"not json", b"{}"])
def test_a_drift_reference_that_a_worker_refuses_fails_the_check(
    tmp_path: Path, content: bytes | None, tiny_bundle: Bundle
) -> None:
    """In the worker's own words."""
    path = tmp_path / "reference.json"
    if content is not None:
        path.write_bytes(content)
    settings = Settings(drift_reference=path, brokers=NOWHERE)
    with pytest.raises(BaselineError) as caught:
        watch_of(settings, tiny_bundle)
    found = examine._drift(settings)
    assert (found.status, sentence(found)) == (Status.FAIL, str(caught.value))
    assert (
        found
        in examine.examine(
            settings.model_copy(update={"brokers": "127.0.0.1:1", "startup_timeout_seconds": 0.1}), create_topics=False
        ).findings
    )


@pytest.mark.parametrize(
    ("knobs", "status", "says"),
    [
        ({"decider": "rules"}, Status.WARN, "is no drift reference"),
        ({"drift_window_events": 0}, Status.OK, "not looked for"),
        ({"drift_reference": None}, Status.OK, "the first 5 windows of 1000 decisions"),
        ({"drift_reference": None, "decider": "rules"}, Status.OK, "not looked for while the rules decide"),
    ],
)
def test_a_drift_reference_that_no_worker_reads_fails_nothing(
    tmp_path: Path, knobs: dict[str, Any], status: Status, says: str
) -> None:
    """Where drift is switched off, or no model decides, a worker starts without it."""
    found = examine._drift(Settings(**{"drift_reference": tmp_path / "none", **knobs}))
    assert found.status is status
    assert says in found.detail


def test_a_drift_reference_of_another_bundle_is_warned_of(
    tmp_path: Path, tiny_bundle: Bundle, tiny_bundle_folder: Path
) -> None:
    """A worker takes it, and what differs between the two would look like drift."""
    ours, silent, other = (
        examine._drift(Settings(bundle=tiny_bundle_folder, drift_reference=reference(tmp_path, model)))
        for model in (tiny_bundle.digest, "", "e" * 64)
    )
    assert (ours.status, silent.status, other.status) == (Status.OK, Status.OK, Status.WARN)
    assert f"bundle eeeeeeeeeeee and not with {tiny_bundle.digest[:12]}" in other.detail


@pytest.mark.parametrize("below", [(), ("state",), ("state", "deep")])
def test_a_state_folder_that_a_worker_refuses_fails_the_check(tmp_path: Path, below: tuple[str, ...]) -> None:
    """In the worker's own words: there is a file, where a folder or what is above it is to be."""
    (tmp_path / "file").write_bytes(b"")
    settings = Settings(state_folder=tmp_path.joinpath("file", *below), brokers=NOWHERE)
    with pytest.raises(StateFolderError) as caught:
        open_guard(settings)
    found = examine._state_folder(settings)
    assert (found.status, sentence(found)) == (Status.FAIL, str(caught.value))
    assert (
        found
        in examine.examine(
            settings.model_copy(update={"brokers": "127.0.0.1:1", "startup_timeout_seconds": 0.1}), create_topics=False
        ).findings
    )


@pytest.mark.parametrize("named", [True, False])
def test_a_state_folder_without_which_a_worker_works_is_warned_of(
    named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full now, and a folder that nobody named, only switch the guard off."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC if named else errno.EROFS, "no place")

    settings = Settings(state_folder=tmp_path) if named else Settings.model_construct(state_folder=tmp_path, _fields_set=set())
    monkeypatch.setattr(examine, "CrashFile", full)
    found = examine._state_folder(settings)
    assert found.status is Status.WARN
    assert f"{tmp_path}: no place; {crash_guard.CONSEQUENCE}" in found.detail
    assert "TAGSTREAM_STATE_FOLDER" in found.fix


def test_the_check_of_the_state_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    """Not in a folder that is there, nor of one that is not: to make it is the worker's part."""
    dead = tmp_path / "of-a-dead-worker.mark"
    dead.write_bytes(b"")
    there = examine._state_folder(Settings(state_folder=tmp_path))
    to_be_made = examine._state_folder(Settings(state_folder=tmp_path / "a" / "b"))
    off = examine._state_folder(Settings(state_folder=dead, crash_deaths=0))
    assert [found.status for found in (there, to_be_made, off)] == [Status.OK] * 3
    assert there.detail == f"{tmp_path} can be written"
    assert to_be_made.detail == f"{tmp_path / 'a' / 'b'} can be made"
    assert list(tmp_path.iterdir()) == [dead]


def test_an_open_breaker_fails_the_check_until_a_person_has_answered(tmp_path: Path, tiny_bundle: Bundle) -> None:
    """With the file, since when, why and what to do; looking at it is no answer, and another limit or no file is."""
    settings = Settings(state_folder=tmp_path, bundle=tiny_bundle.path, brokers=NOWHERE, startup_timeout_seconds=0.1)
    opened = BreakerFile(settings, release=release_of(tiny_bundle.digest))

    def found(*, create_topics: bool = False, **knobs: object) -> Finding:
        report = examine.examine(settings.model_copy(update=knobs), create_topics=create_topics)
        (one,) = [one for one in report.findings if one.check == "circuit breaker"]
        return one

    assert (found().status, found().detail) == (Status.OK, "closed")
    opened.write("30 of the last 100 events are dead letters")
    waiting = found()
    assert waiting.status is Status.FAIL
    assert re.fullmatch(
        rf"{re.escape(str(opened.path))}: open since \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ, a worker waits and decides nothing: "
        r"30 of the last 100 events are dead letters",
        waiting.detail,
    )
    assert waiting.fix == f"docs/runbooks/CircuitBreakerOpen.md, then remove {opened.path}"
    assert found(create_topics=True).status is Status.WARN
    answered = found(breaker_dead_letter_ratio=0.9)
    assert (answered.status, "was open since" in answered.detail) == (Status.WARN, True)
    assert found(decider="rules").status is Status.OK
    opened.path.write_bytes(b"{")
    assert (found().status, "cannot be read" in found().detail) == (Status.FAIL, True)
    opened.path.unlink()
    assert found().status is Status.OK


def test_of_a_breaker_under_a_bundle_that_is_refused_nothing_is_said(tmp_path: Path) -> None:
    """Whichever bundle comes instead may be the answer."""
    settings = Settings(state_folder=tmp_path, bundle=tmp_path / "none")
    BreakerFile(settings, release="1").write("too many")
    assert list(examine._breaker(settings, opened=Status.FAIL)) == []


def test_a_metrics_host_that_is_none_of_this_machine_fails() -> None:
    """A worker would not start; that another one may hold the port is another matter."""
    found = examine._metrics_port(Settings(metrics_host="192.0.2.1"))
    assert found.status is Status.FAIL
    assert "192.0.2.1:9108 cannot be bound: Cannot assign requested address" in found.detail
    assert found.fix.startswith("set TAGSTREAM_METRICS_HOST to an address of this machine")


def serving(settings: Settings) -> AbstractContextManager[int]:
    """A worker's metrics at the address of these settings."""
    return process.metrics_server(settings, CollectorRegistry(), Progress(stall_seconds=20, monotonic=Clock()))


def test_a_free_port_is_one_that_no_scrape_configuration_knows(listening: str) -> None:
    """Port 0 is not free, one will be taken; who is advised to take it hears what that costs, from doctor and worker alike."""
    port = int(listening.rpartition(":")[2])
    free, taken = (examine._metrics_port(Settings(metrics_port=number)) for number in (0, port))
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
    """Nobody holds a port of a host that is not there."""

    def serve(*_: object, **__: object) -> None:
        raise why

    monkeypatch.setattr(process, "serve", serve)
    with pytest.raises(process.MetricsPortError) as caught, serving(Settings(metrics_host="nohost")):
        pass
    assert f"the metrics address nohost:9108 cannot be bound: {why}. {says}" in str(caught.value)


@pytest.mark.parametrize(
    ("knobs", "has_ids", "status"),
    [
        ({"delivery": "exactly_once"}, True, Status.OK),
        ({"delivery": "exactly_once"}, False, Status.FAIL),
        ({"delivery": "exactly_once", "idempotent_producer": "off"}, True, Status.FAIL),
        ({"delivery": "exactly_once", "idempotent_producer": "on"}, False, Status.FAIL),
        ({"idempotent_producer": "off"}, True, Status.OK),
        ({}, False, Status.WARN),
    ],
)
def test_exactly_once_without_producer_ids_fails_the_check_as_it_ends_a_worker(
    knobs: dict[str, Any], has_ids: bool, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that was asked for exactly once does not do less."""

    async def asked(_: Settings) -> bool:
        return has_ids

    monkeypatch.setattr("stream.kafka.probes.has_producer_ids", asked)
    assert examine._producer(Settings(**knobs)).status is status


def test_topics_that_are_not_made_are_a_finding_among_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker has answered: it is there, and what else is asked of it goes on."""

    def refuse(_: Settings) -> None:
        msg = "the cluster did not create the topics: no. Next: ask for fewer."
        raise errors.TopicsRefusedError(msg)

    monkeypatch.setattr(topics, "create", refuse)
    found = examine._created(Settings())
    assert (found.check, found.status) == ("create topics", Status.FAIL)
    assert sentence(found) == "the cluster did not create the topics: no. Next: ask for fewer."
