"""`tagstream config show`: every setting with its value, its origin and its meaning."""

import sys
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from stream.settings.loading import Loaded, known_keys
from stream.settings.security import Security, shown_path
from stream.settings.settings import Settings
from stream.terminal.console import visible


def print_settings(loaded: Loaded, *, sources: bool, as_json: bool) -> None:
    """Print every setting with value, origin (`sources`) and meaning: a table on a terminal, elsewhere a line each."""
    rows = [(key, _lookup(loaded.settings, key), loaded.origins.get(key, "default")) for key in known_keys()]
    if as_json:
        for key, value, origin in rows:
            sys.stdout.buffer.write(msgspec.json.encode({"key": key, "value": value, "source": origin}) + b"\n")
        return
    if not sys.stdout.isatty():
        # A program reads it, or a file keeps it: a value is in one piece, however long.
        for key, value, origin in rows:
            shown = "-" if value is None else visible(str(value), limit=len(str(value)))
            sys.stdout.write(f"{key} = {shown}{f'  ({origin})' if sources else ''}  # {_meaning(key)}\n")
        sys.stdout.flush()
        return
    table = Table(box=None, pad_edge=False)
    for column in ("setting", "value", *(["source"] if sources else []), "meaning"):
        table.add_column(column, overflow="fold", no_wrap=column == "setting")
    for key, value, origin in rows:
        shown = "-" if value is None else str(value)
        table.add_row(key, shown, *([origin] if sources else []), _meaning(key))
    Console(highlight=False).print(table)


def _lookup(settings: Settings, key: str) -> Any:
    value: Any = settings
    for part in key.split("."):
        value = getattr(value, part)
    if isinstance(value, Path):
        return shown_path(key, value)
    return value if isinstance(value, str | int | float | None) else str(value)


def _meaning(key: str) -> str:
    if key.startswith("topics."):
        return f"name of the topic {key.removeprefix('topics.')}"
    if key.startswith("security."):
        return Security.model_fields[key.removeprefix("security.")].description or ""
    return Settings.model_fields[key].description or ""
