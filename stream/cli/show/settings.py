"""`tagstream config show`: prints every setting by subject, with its value, origin, meaning and range."""

import itertools
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from tagstream.stream.settings.loading import Loaded
from tagstream.stream.settings.reference import Entry, entries
from tagstream.stream.settings.security import COMMAND, shown_command, shown_path
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal.console import Terminal, show_json, visible

Row = tuple[Entry, Any, str]
"""A setting, its value, and where the value comes from."""


def print_settings(loaded: Loaded, *, sources: bool, as_json: bool) -> None:
    """
    Print every setting with its value, meaning and range, grouped by subject.

    On a terminal, each subject is a table. Otherwise each setting is a line, below a line that begins with `#` and names the subject. In
    JSON, each setting is an object on one line, always with its origin.

    Args:
        loaded: The settings and their origins.
        sources: Also print the origin of each value.
        as_json: Print JSON.
    """
    rows = [(entry, _value(loaded.settings, entry), loaded.origins.get(entry.key, "default")) for entry in entries()]
    if as_json:
        _print_json(rows)
    elif sys.stdout.isatty():
        _print_tables(rows, sources=sources)
    else:
        _print_lines(rows, sources=sources)


def _print_json(rows: Iterable[Row]) -> None:
    defaults = Settings()
    for entry, value, origin in rows:
        line = {
            "key": entry.key,
            "value": value,
            "source": origin,
            "subject": entry.subject,
            "variable": entry.variable,
            "meaning": entry.meaning,
            "range": entry.range,
            "allowed": entry.allowed,
            "default": _value(defaults, entry),
        }
        show_json(line)


def _print_lines(rows: Iterable[Row], *, sources: bool) -> None:
    """Print lines for a program or a file. A long value is not wrapped."""
    for subject, found in itertools.groupby(rows, key=lambda row: row[0].subject):
        sys.stdout.write(f"# {subject}\n")
        for entry, value, origin in found:
            text = _in_words(value)
            shown = visible(text, limit=len(text))
            limits = f" [{entry.range}]" if entry.range else ""
            sys.stdout.write(f"{entry.key} = {shown}{f'  ({origin})' if sources else ''}  # {entry.meaning}{limits}\n")
    sys.stdout.flush()


def _print_tables(rows: Iterable[Row], *, sources: bool) -> None:
    console = Terminal()
    for subject, found in itertools.groupby(rows, key=lambda row: row[0].subject):
        table = Table(box=None, pad_edge=False, title=subject, title_justify="left", title_style="bold")
        for column in ("setting", "value", *(["source"] if sources else []), "meaning and range"):
            table.add_column(column, overflow="fold", no_wrap=column == "setting")
        for entry, value, origin in found:
            meaning = Text(entry.meaning)
            if entry.range:
                meaning.append(f" [{entry.range}]", style="dim")
            table.add_row(entry.key, Text(_in_words(value)), *([origin] if sources else []), meaning)
        console.print(table)
        console.print()


def _value(settings: Settings, entry: Entry) -> Any:
    """Return the value for JSON. The arguments of a token command are left out, and so is the path of a secret file that does not exist."""
    value = entry.value_in(settings)
    if entry.key == COMMAND and value is not None:
        return shown_command(value)
    if isinstance(value, Path):
        return shown_path(entry.key, value)
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        # The form that the setting's environment variable has.
        return json.dumps({name: fields.model_dump(exclude_unset=True) for name, fields in value.items()})
    return value if isinstance(value, str | int | float | None) else str(value)


def _in_words(value: Any) -> str:
    """
    Return a value in the form of `tagstream.toml`, without quotes.

    >>> _in_words(None), _in_words(False), _in_words(0.5), _in_words(["/a", "/b"])
    ('-', 'false', '0.5', '["/a", "/b"]')
    """
    if isinstance(value, list):
        return json.dumps(value)
    return "-" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
