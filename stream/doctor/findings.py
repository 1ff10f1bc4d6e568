"""The result of a check: its status, the reason, and the next step."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """The result of a check. FAIL: a worker would not start or would stop. WARN: a worker runs, and something could be better."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFinding:
    """One line of the report. `fix` is the next step; empty if there is none."""

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
        """True if at least one check failed."""
        return any(finding.status is Status.FAIL for finding in self.findings)


def finding_of(check: str, status: Status, message: object) -> CheckFinding:
    """
    Return a finding made from an error's message: the text before `Next: ` is the detail, and the text after it is the fix.

    Args:
        check: The name of the check.
        status: The status of the finding.
        message: The error, or its text.

    >>> finding_of("bundle", Status.FAIL, "it is gone. Next: make one.").fix
    'make one.'
    """
    detail, _, fix = str(message).partition(" Next: ")
    return CheckFinding(check=check, status=status, detail=detail, fix=fix)
