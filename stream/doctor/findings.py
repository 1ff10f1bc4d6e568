"""The result of a check: how it ended, why, and the next step."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a check ended. FAIL: a worker would not start or would stop; WARN: it works, and something could be better."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report; `fix`, the next step, is empty where there is none."""

    check: str
    status: Status
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All findings, in the order of the checks."""

    findings: tuple[Finding, ...]
    broker_reachable: bool

    @property
    def failed(self) -> bool:
        """Did a check fail?"""
        return any(finding.status is Status.FAIL for finding in self.findings)


def finding_of(check: str, status: Status, message: object) -> Finding:
    """
    The finding with the message of an error, split before its `Next: `.

    >>> finding_of("bundle", Status.FAIL, "it is gone. Next: make one.").fix
    'make one.'
    """
    detail, _, fix = str(message).partition(" Next: ")
    return Finding(check=check, status=status, detail=detail, fix=fix)
