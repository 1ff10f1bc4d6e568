"""`tagstream doctor`: checks everything that a worker needs, in a fixed order."""

from collections.abc import Callable, Iterator

from tagstream.stream.doctor import decider, local, remote
from tagstream.stream.doctor.findings import CheckFinding, CheckReport, Status
from tagstream.stream.doctor.registry import schema_registry
from tagstream.stream.doctor.tracing import tracing
from tagstream.stream.kafka.errors import BrokerUnreachableError
from tagstream.stream.settings.secret_files import SecurityError
from tagstream.stream.settings.settings import Settings


def examine(settings: Settings, *, create_topics: bool, say: Callable[[CheckFinding], None] = lambda _: None) -> CheckReport:
    """
    Make every check. If no broker answers, the checks that need one are left out.

    Args:
        settings: The settings that a worker would run with.
        create_topics: Create the missing topics; if false, nothing is changed.
        say: Called with each finding as soon as it is made.
    """
    findings: list[CheckFinding] = []
    reachable = True

    def note(finding: CheckFinding) -> None:
        findings.append(finding)
        say(finding)

    # With `create_topics` the doctor runs before workers start, perhaps as another user than theirs. An open breaker or a Schema Registry
    # that is down must not keep workers from starting: a worker that waits for a person says so on /readyz.
    severity = Status.WARN if create_topics else Status.FAIL
    for finding in _checks_without_broker(settings, severity):
        note(finding)
    try:
        for finding in remote.brokers_and_topics(settings, create_topics=create_topics, severity=severity):
            note(finding)
    except SecurityError:
        # The local check `security` has already reported this error; no broker was asked.
        return CheckReport(findings=tuple(findings), broker_reachable=reachable)
    except BrokerUnreachableError as error:
        reachable = False
        note(remote.no_broker(settings, error))
    return CheckReport(findings=tuple(findings), broker_reachable=reachable)


def _checks_without_broker(settings: Settings, severity: Status) -> Iterator[CheckFinding]:
    yield local.python()
    yield local.stream_engine()
    yield local.codecs()
    yield from decider.decider(settings)
    yield decider.drift_reference(settings)
    yield local.metrics_port(settings)
    yield local.state_folder(settings)
    yield from schema_registry(settings, severity)
    yield from tracing(settings)
    yield from decider.circuit_breaker(settings, opened=severity)
    yield from local.security(settings)
