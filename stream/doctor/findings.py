"""The result of a check: how it ended, why, and the next step."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a check ended. FAIL: a worker would not start or would stop; WARN: it works, and something could be better."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFinding:
    """One line of the report; `fix`, the next step, is empty where there is none."""

    check: str
    status: Status
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """All findings, in the order of the checks."""

    findings: tuple[CheckFinding, ...]
    broker_reachable: bool

    @property
    def failed(self) -> bool:
        """Did a check fail?"""
        return any(finding.status is Status.FAIL for finding in self.findings)


def finding_of(check: str, status: Status, message: object) -> CheckFinding:
    """
    The finding with the message of an error, split before its `Next: `.

    Args:
        check: The name of the check.
        status: The status of the finding.
        message: The error, or its text.

    >>> finding_of("bundle", Status.FAIL, "it is gone. Next: make one.").fix
    'make one.'
    """
    detail, _, fix = str(message).partition(" Next: ")
    return CheckFinding(check=check, status=status, detail=detail, fix=fix)
