"""Findings on the terminal, or as JSON."""

from collections.abc import Callable

from rich.text import Text

from tagstream.stream.doctor.findings import CheckFinding, Status
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal.console import out, show_json

STATUS_STYLES = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "bold red"}
# Width of the column of names. A topic's name may have 249 characters: a name wider than the column shifts only its own line.
SHORTEST_NAMES, LONGEST_NAMES = 16, 40


def printer(settings: Settings, *, as_json: bool) -> Callable[[CheckFinding], None]:
    """Return a function that prints one finding, in columns wide enough for the names of the settings' topics."""
    longest = max(len(f"topic {name}") for name in settings.topic_names.values())
    names = min(max(SHORTEST_NAMES, longest), LONGEST_NAMES)

    def print_json(found: CheckFinding) -> None:
        show_json(found)

    def print_line(found: CheckFinding) -> None:
        out.print(
            Text.assemble(
                (f"{found.status.value:<5}", STATUS_STYLES[found.status]), (f"{found.check:<{names}}  ", "bold"), found.detail
            )
        )
        if found.fix:
            out.print(Text(f"{'':<{names + 7}}next: {found.fix}", style="dim"))

    return print_json if as_json else print_line
