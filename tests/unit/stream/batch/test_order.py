"""The places of a batch: nothing that a batch has not made is replaced, and no output becomes an input."""

import os
from pathlib import Path

import pytest

from tagstream.model_export.data.reader import Columns, InputRow
from tagstream.stream.batch.order import Order, OrderError, check_places, form_of, shown
from tagstream.stream.batch.run import ChangedError, Rejected
from tagstream.stream.batch.side_file import rejected_line
from tagstream.stream.batch.sources import files_of
from tagstream.stream.contract.event import Limits, Record, decode
from tagstream.stream.contract.refusal import Refusal

REFUSED = (OrderError, ChangedError)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a folder of inputs, another one, and a link to the first."""
    for name in ("in/a.jsonl", "in/b.csv", "other/c.csv", "in/d.parquet", "other/deep/e.csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(b'{"title":"image"}\n')
    (tmp_path / "alias").symlink_to("in")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def looked_at(source: str, out: str, rejected: str | None = None, *, fresh: bool = False) -> None:
    """The check of a command."""
    side = None if rejected is None else Path(rejected)
    files = [] if "://" in source else files_of(source)
    order = Order(source=source, out=out, columns=Columns(), rejected=side, fresh=fresh)
    form, is_folder = ("", False) if "://" in out else form_of(order)
    check_places(order, files, f".{form}" if is_folder else None)


def lines_of(source: str) -> bytes:
    """A side file of this source."""
    refusal = decode(Record(key=None, value=b"bad"), Limits())
    assert isinstance(refusal, Refusal)
    return rejected_line(source, Rejected(row=InputRow(1, b"bad"), number=0, publication=None, refusal=refusal))


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize(
    ("source", "out", "rejected"),
    [
        ("in/a.jsonl", "out.csv", "in/a.jsonl"),
        ("in/a.jsonl", "out.csv", "alias/a.jsonl"),
        ("in/a.jsonl", "sqlite:///tags.db", "in/a.jsonl"),
        ("in/a.jsonl", "sqlite:///tags.db", "tags.db"),
        ("sqlite:///papers.db#papers", "out.csv", "papers.db"),
        ("in/a.jsonl", "out.csv", "out.csv"),
        ("in/a.jsonl", "out/", "out/bad.jsonl"),
        ("in/a.jsonl", "out.csv", "out.csv.batch.json"),
        ("in/a.jsonl", "out.csv", "out.csv.parts/bad.jsonl"),
        ("in/a.jsonl", "out.csv", "other"),
        ("in/a.jsonl", "out.csv", "/dev/null"),
        ("in/a.jsonl", "out.csv", "other/c.csv"),
        ("in/a.jsonl", "out.csv", "none/bad.jsonl"),
        ("in/a.jsonl", "/dev/null", None),
        ("in/a.jsonl", "/dev/null/", None),
    ],
)
def test_a_side_file_or_output_over_another_file_is_refused(source: str, out: str, rejected: str | None, fresh: bool) -> None:
    """An input, the output, a database, a file of others, a folder, a device: all stay, under --fresh too."""
    with pytest.raises(REFUSED, match="Next: "):
        looked_at(source, out, rejected, fresh=fresh)


@pytest.mark.parametrize("fresh", [True, False])
def test_a_side_file_of_the_same_input_is_replaced(folder: Path, fresh: bool) -> None:
    """Such a one that an earlier run has left, whole or not, or an empty file; that of another input stays."""
    bad = folder / "bad.jsonl"
    for content in (b"", lines_of("in/a.jsonl"), lines_of("alias/a.jsonl")):
        bad.write_bytes(content)
        looked_at("in/a.jsonl", "out.csv", "bad.jsonl", fresh=fresh)
        looked_at("in/", "sqlite:///tags.db", "bad.jsonl", fresh=fresh)
        looked_at("in/*.jsonl", "sqlite:///tags.db", "bad.jsonl", fresh=fresh)
    bad.write_bytes(lines_of("other/c.csv"))
    with pytest.raises(OrderError, match=r"rejected rows of another input \(other/c.csv\)"):
        looked_at("in/a.jsonl", "out.csv", "bad.jsonl", fresh=fresh)
    bad.write_bytes(lines_of("postgresql+psycopg://me:***@host/db#papers"))
    looked_at("postgresql://me:secret@host/db?sslmode=require#papers", "out.csv", "bad.jsonl", fresh=fresh)
    with pytest.raises(OrderError, match="rejected rows of another input"):
        looked_at("postgresql://me:secret@host/db#others", "out.csv", "bad.jsonl", fresh=fresh)
    (folder / "bad.jsonl.new").write_bytes(b"mine")
    with pytest.raises(ChangedError, match=r"bad.jsonl.new is there already, and no batch made it"):
        looked_at("postgresql://me:secret@host/db#papers", "out.csv", "bad.jsonl", fresh=fresh)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("source", "out", "rejected"),
    [
        ("in", "in/out.csv", None),
        ("in", "alias/out.csv", None),
        ("alias", "in/deep/out/", None),
        ("in", "other/../in/", None),
        ("in/../in/a.jsonl", "alias/", None),
        ("in", "out.csv", "in/bad.jsonl"),
        ("in", "sqlite:///tags.db", "in/bad.jsonl"),
        ("in/*", "in/out.csv", None),
        ("in/*.jsonl", "in/out.csv", None),
        ("alias/*.jsonl", "in/out.jsonl", None),
        ("i*/**/*.jsonl", "in/out/", None),
        ("*/*.parquet", "out/", None),
        ("*/*/*.csv", "out.csv", None),
        ("in/*.jsonl", "sqlite:///tags.db", "in/bad.jsonl"),
    ],
)
def test_an_output_that_would_be_an_input_is_refused(source: str, out: str, rejected: str | None) -> None:
    """Before the first run, so that the run behind a kill finds the input that the killed one had."""
    with pytest.raises(OrderError, match=r"Next: write to another place"):
        looked_at(source, out, rejected, fresh=True)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("source", "out", "rejected"),
    [
        ("in", "out.csv", None),
        ("in", "new/out.csv", "new/bad.jsonl"),
        ("in/*.jsonl", "in/out/", "other/bad.jsonl"),
        ("*/*.csv", "out.csv", "bad.csv"),
        ("*/*.csv", "out/", None),
        ("in/a.jsonl", "in/out.csv", None),
        ("in/*", "sqlite:///in.db", None),
    ],
)
def test_other_places_are_taken(source: str, out: str, rejected: str | None) -> None:
    """A place beside the input is one."""
    looked_at(source, out, rejected)


def test_a_file_in_the_place_of_a_folder_is_refused(folder: Path) -> None:
    """A name without a suffix means a folder, and a file with that name is no part of it."""
    (folder / "notes").write_bytes(b"mine")
    for out in ("notes", "notes/"):
        with pytest.raises(OrderError, match="is to be a folder, and there is a file"):
            looked_at("in", out, fresh=True)


def test_tables_have_a_side_file_for_each_input() -> None:
    """Two inputs into one table, and one input into two databases, have names of their own; a password changes none."""
    pairs = [("a.csv", "sqlite:///x.db"), ("b.csv", "sqlite:///x.db"), ("a.csv", "postgresql://me:one@host/db")]
    names = [Order(source=source, out=out, columns=Columns()).side_file.name for source, out in pairs]
    assert len(set(names)) == 3
    assert all(name.startswith("predictions.") and name.endswith(".rejected.jsonl") for name in names)
    other = Order(source="a.csv", out="postgresql://me:two@host/db", columns=Columns())
    assert other.side_file.name == names[2]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://host/db?password=secret#papers",
        "postgresql://host/db?user=me@x&password=secret",
        "postgresql://host:5432/db?user=me@x&password=secret",
        "postgresql://me:se?secret@host/db",
        "postgresql://me:secret@host/db?x=y",
    ],
)
def test_no_password_is_shown(url: str) -> None:
    """Before the host or in the query."""
    assert "secret" not in shown(url)
    assert "se?" not in shown(url)


def test_a_folder_that_may_not_be_written_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start, and not behind hours of deciding."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OrderError, match="you may not write in"):
        looked_at("in", "out.csv", str(folder / "other" / "bad.jsonl"))
