"""`tagstream doctor` asks the Schema Registry, where one is set."""

from pathlib import Path
from typing import Any

from tagstream.stream.broker.ports import free_ports
from tagstream.stream.doctor.findings import Status
from tagstream.stream.doctor.registry import schema_registry
from tagstream.stream.settings.schema_registry import SchemaRegistry
from tagstream.stream.settings.settings import Settings
from tests.registry.server import Registry, serving


def found(severity: Status = Status.FAIL, **given: Any) -> list[tuple[Status, str, str]]:
    """The findings under these settings."""
    settings = Settings(schema_registry=SchemaRegistry(**given))
    return [(one.status, one.detail, one.fix) for one in schema_registry(settings, severity)]


def test_without_a_registry_there_is_nothing_to_say() -> None:
    """Most workers have none."""
    assert found() == []


def test_a_registry_that_answers_is_fine() -> None:
    """It says which schemas it has."""
    with serving(Registry()) as registry:
        [(status, detail, _)] = found(url=registry.url)
    assert (status, detail) == (Status.OK, f"{registry.url} answers, and has schemas of AVRO and JSON")


def test_a_registry_that_is_down_or_refuses_us_is_a_failure(tmp_path: Path) -> None:
    """A worker would end at the first framed event; each finding has a next step."""
    [port] = free_ports(1)
    [(status, detail, fix)] = found(url=f"http://127.0.0.1:{port}", timeout_seconds=1)
    assert (status, "gives no answer in time" in detail, bool(fix)) == (Status.FAIL, True, True)
    with serving(Registry()) as registry:
        registry.user = "w:right"
        [(status, detail, fix)] = found(url=registry.url)
        assert (status, "refuses a client without a user" in detail, bool(fix)) == (Status.FAIL, True, True)
    [(status, detail, fix)] = found(url="https://registry", username="w", password_file=tmp_path / "absent")
    assert (status, "password_file" in detail, bool(fix)) == (Status.FAIL, True, True)


def test_a_registry_that_is_down_keeps_no_topics_from_being_made() -> None:
    """Where topics are made, it is a warning: no worker runs yet."""
    [port] = free_ports(1)
    [(status, _, fix)] = found(Status.WARN, url=f"http://127.0.0.1:{port}", timeout_seconds=1)
    assert (status, bool(fix)) == (Status.WARN, True)


def test_a_password_without_tls_is_a_warning(tmp_path: Path) -> None:
    """Somebody has said that the network is trusted; it is said again."""
    path = tmp_path / "password"
    path.write_text("right")
    path.chmod(0o600)
    with serving(Registry()) as registry:
        registry.user = "w:right"
        given = {"url": registry.url, "username": "w", "password_file": path, "insecure_password_without_tls": True}
        assert [status for status, _, _ in found(**given)] == [Status.OK, Status.WARN]
