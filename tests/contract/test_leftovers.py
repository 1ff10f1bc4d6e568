"""This version finds what a running system of an older version left: store, table, files of the state folder, notes in Kafka."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tagstream.stream.review.store.store import StoreVersionError
from tests.data.leftovers import make

FROZEN = sorted(folder for folder in make.HERE.iterdir() if (folder / "read.json").exists())


@dataclass(frozen=True)
class Leftovers:
    """A copy of what a version left, and what that version itself found in it."""

    folder: Path
    read: dict[str, Any]

    def lost(self, part: str) -> list[str]:
        """The findings of the older version that this version does not have, or has otherwise."""
        found = json.loads(json.dumps(make.READERS[part](self.folder)))
        return [name for name, before in self.read[part].items() if found.get(name) != before]


@pytest.fixture(params=FROZEN, ids=lambda folder: folder.name)
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Leftovers:
    """The leftovers of each version that was released."""
    make.thaw(request.param, tmp_path / "left")
    return Leftovers(folder=tmp_path / "left", read=json.loads((request.param / "read.json").read_text(encoding="utf-8")))


def test_a_version_is_frozen() -> None:
    """There is a folder, with a reading of every leftover."""
    assert FROZEN
    for folder in FROZEN:
        assert set(make.READERS) <= set(json.loads((folder / "read.json").read_text(encoding="utf-8")))


def test_the_console_finds_its_items_reports_and_answers(left: Leftovers) -> None:
    """Nobody is asked again what was answered, and the store goes on where its topics were read to."""
    assert left.lost("store") == []


def test_the_view_of_the_table_has_the_same_newest_tags(left: Leftovers) -> None:
    """People stand above the model, a newer epoch above an older one, and `tagstream tags` goes on where it was."""
    assert left.lost("table") == []


def test_lookup_reads_all_decisions_of_the_table(left: Leftovers) -> None:
    """The decisions on each event, and the one that holds."""
    assert left.lost("lookup") == []


def test_an_open_breaker_is_still_open_and_says_why(left: Leftovers) -> None:
    """For the same release and limits; another release is an answer to it."""
    assert left.lost("breaker") == []


def test_an_event_that_was_in_the_model_at_a_death_is_still_a_suspect(left: Leftovers) -> None:
    """With the deaths that were counted and the fingerprint of its bytes."""
    assert left.lost("crash") == []


def test_the_learned_reference_is_in_force_and_a_learning_goes_on(left: Leftovers) -> None:
    """The group need not learn its ordinary stream again."""
    assert left.lost("references") == []


def test_the_group_still_knows_its_begin_and_its_epoch(left: Leftovers) -> None:
    """The next worker reads both in the metadata of the last commits."""
    assert left.lost("commit") == []


def change(file: str, *statements: str) -> Callable[[Path], None]:
    """Change a database."""

    def run(folder: Path) -> None:
        with closing(sqlite3.connect(folder / file)) as database:
            for statement in statements:
                assert database.execute(statement).rowcount != 0, statement
            database.commit()

    return run


def edit(pattern: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    """Replace bytes in the one file of this pattern."""

    def run(folder: Path) -> None:
        [path] = folder.glob(pattern)
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new))

    return run


SPOILS: dict[str, tuple[str, list[str], Callable[[Path], None]]] = {
    "an item is not asked": ("store", ["items"], change("store.sqlite", "DELETE FROM review_items WHERE event_id = 'e-4'")),
    "a report is not shown": ("store", ["items"], change("store.sqlite", "DELETE FROM review_reports")),
    "an answer is gone": ("store", ["answers"], change("store.sqlite", "DELETE FROM review_answers WHERE version = 2")),
    "the store reads its topics anew": ("store", ["positions"], change("store.sqlite", "DELETE FROM review_positions")),
    "the versions of people do not count": ("table", ["newest"], change("table.sqlite", "UPDATE predictions SET version = 0")),
    "the epochs do not count": ("table", ["newest"], change("table.sqlite", "UPDATE predictions SET epoch = 0")),
    "lookup lacks a decision": ("lookup", ["e-2"], change("table.sqlite", "DELETE FROM predictions WHERE epoch = 7")),
    "the breaker's file lacks a field": (
        "breaker",
        ["why", "since", "answered_by_another"],
        edit("state/*.breaker", b"opened_at", b"at"),
    ),
    "the breaker has another limit": ("breaker", ["answered"], edit("state/*.breaker", b'"window":100', b'"window":200')),
    "the crash file has another mark": ("crash", ["suspects"], edit("state/*.mark", b"tagmark1", b"tagmark2")),
    "a note lacks its time": ("references", ["learning"], edit("notes.json", b"since_ms", b"since")),
    "the metadata has other words": ("commit", ["began", "epoch"], edit("notes.json", b"group began at", b"began at")),
}


@pytest.mark.parametrize("spoilt", SPOILS)
def test_a_leftover_that_is_not_found_fails_the_check(spoilt: str, left: Leftovers) -> None:
    """Each of these is what a version would find that has forgotten how the older one wrote."""
    part, lost, spoil = SPOILS[spoilt]
    spoil(left.folder)
    assert left.lost(part) == lost


def test_a_store_of_another_version_is_refused_with_the_next_step(left: Leftovers) -> None:
    """The check of the store would fail so, and upgraders read the same sentence."""
    change("store.sqlite", "UPDATE review_about SET value = '999'")(left.folder)
    sentence = "has the version 999, and this tagstream reads the version .*; nothing was changed. Next: .*--store a new place"
    with pytest.raises(StoreVersionError, match=sentence):
        left.lost("store")
