"""The doctor asks the receiver of traces, and warns where it does not answer: the stream goes on without it."""

import subprocess
import sys

import pytest

from tagstream.model_export.extras import install
from tagstream.stream.doctor.findings import CheckFinding, Status
from tagstream.stream.doctor.tracing import tracing
from tagstream.stream.settings.settings import Settings
from tests.otlp.receiver import receiving
from tests.waiting import HANG_SECONDS


def found(endpoint: str | None) -> list[CheckFinding]:
    """The findings with this receiver."""
    return list(tracing(Settings.model_validate({"tracing": {"endpoint": endpoint}})))


def test_no_receiver_is_no_finding() -> None:
    """Traces are off by default, and nothing is said of them."""
    assert found(None) == []


def test_a_receiver_that_takes_spans_is_well() -> None:
    """It is sent a request without a span."""
    with receiving() as receiver:
        (finding,) = found(receiver.endpoint)
        assert receiver.requests == [("/v1/traces", "application/x-protobuf")]
        assert receiver.spans == []
    assert finding.status is Status.OK
    assert receiver.endpoint in finding.detail


@pytest.mark.parametrize(("status", "said"), [(401, "Unauthorized"), (404, "Not Found")])
def test_a_receiver_that_refuses_is_a_warning_with_its_reason(
    status: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The reason is in the finding and not beside it."""
    with receiving() as receiver:
        receiver.status = status
        (finding,) = found(receiver.endpoint)
    assert finding.status is Status.WARN
    assert said in finding.detail
    assert "TAGSTREAM_TRACING__ENDPOINT" in (finding.fix or "")
    assert capfd.readouterr().err == ""


def test_no_receiver_there_is_a_warning(closed: str) -> None:
    """The wait for one that is away has a bound."""
    (finding,) = found(f"http://{closed}")
    assert finding.status is Status.WARN
    assert closed in finding.detail
    assert "no reason was given" not in finding.detail


def test_without_opentelemetry_the_finding_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker would not start either."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    (finding,) = found("http://127.0.0.1:4318")
    assert finding.status is Status.FAIL
    assert install("otel") in f"{finding.detail} {finding.fix}"


def test_off_imports_no_opentelemetry() -> None:
    """A worker's modules, and tracing that is off, load nothing of OpenTelemetry."""
    program = (
        "import sys, tagstream.stream.cli.worker_process, tagstream.stream.doctor.examine\n"
        "from tagstream.stream.settings.settings import Settings\n"
        "from tagstream.stream.tracing.tracing import tracing_of\n"
        "with tracing_of(Settings(), service='x') as tracing: pass\n"
        "print([name for name in sys.modules if name.partition('.')[0] == 'opentelemetry'])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=HANG_SECONDS, check=False)
    assert (ran.stdout, ran.returncode) == ("[]\n", 0), ran.stderr
