"""The remains of older versions, in `tests/data/upgrade`: of e31436f, by `make.py`, and a store of c16dc241, by `make_canary.py`."""

import base64
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tagstream.stream.contract.event import Record

FOLDER = Path(__file__).parents[2] / "data" / "upgrade"
STORE, MARK, BREAKER = FOLDER / "review.sqlite", FOLDER / "killed.mark", FOLDER / "breaker.json"
CANARY = FOLDER / "canary.sql"
LEFT = json.loads((FOLDER / "left.json").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A record of a topic and where it lay; the topic has the name of the setting, `dlq` for the dead letters."""

    record: Record
    partition: int
    offset: int


def records(topic: str) -> list[Placed]:
    """The records of one topic, by partition and offset."""
    lines = (FOLDER / "records.jsonl").read_text(encoding="utf-8").splitlines()
    return [_placed(one) for one in map(json.loads, lines) if one["topic"] == topic]


def _placed(one: dict[str, Any]) -> Placed:
    headers = tuple((name, _bytes(value)) for name, value in one["headers"])
    record = Record(topic=one["topic"], key=_bytes(one["key"]), value=_bytes(one["value"]), headers=headers)
    return Placed(record=record, partition=one["partition"], offset=one["offset"])


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def rows(statement: str, file: Path = STORE) -> list[tuple[Any, ...]]:
    """Of a store."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as store:
        return store.execute(statement).fetchall()


def tables(file: Path = STORE) -> Iterator[tuple[str, str, Sequence[str], list[tuple[Any, ...]]]]:
    """Each table of a store: its name, how it is made, how its indices are made, and its rows."""
    for name, made in rows("SELECT name, sql FROM sqlite_master WHERE type = 'table'", file):
        indices = rows(f"SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = '{name}' AND sql IS NOT NULL", file)  # noqa: S608
        yield name, made, [sql for (sql,) in indices], rows(f"SELECT * FROM {name}", file)  # noqa: S608 - a name of our own
