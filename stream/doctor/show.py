"""One finding of `tagstream doctor` on the terminal, or as JSON."""

import sys
from collections.abc import Callable

import msgspec
from rich.text import Text

from stream.doctor.examine import Finding, Status
from stream.settings.settings import Settings
from stream.terminal.console import out

STATUS_STYLES = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "bold red"}
# Of the column of the doctor's checks; a name may have 249 characters, and moves the text of its own line alone.
SHORTEST_NAMES, LONGEST_NAMES = 16, 40


def finding(settings: Settings, *, as_json: bool) -> Callable[[Finding], None]:
    """What prints one finding of the doctor, in columns that have room for the names of these topics."""
    # Findings come one by one, and the longest names that they bear are known before.
    longest = max(len(f"topic {name}") for name in settings.topics.model_dump().values())
    names = min(max(SHORTEST_NAMES, longest), LONGEST_NAMES)

    def print_json(found: Finding) -> None:
        sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
        sys.stdout.flush()

    def print_line(found: Finding) -> None:
        out.print(
            Text.assemble(
                (f"{found.status.value:<5}", STATUS_STYLES[found.status]), (f"{found.check:<{names}}  ", "bold"), found.detail
            )
        )
        if found.fix:
            out.print(Text(f"{'':<{names + 7}}next: {found.fix}", style="dim"))

    return print_json if as_json else print_line
