"""Labels by digest, joined with the texts of a folder beside the project."""

import csv
import gzip
import io
import json
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from tagstream.model_export.data import real
from tagstream.model_export.data.madewithml import DataError
from tagstream.model_export.data.real import (
    DEV,
    LEARNED,
    ReaderLabel,
    Sources,
    digest,
    read_learned,
    read_real,
    read_sheet,
    read_sources,
    read_unlabelled,
)

KETTLE = {"title": "Kettles that sing in tune", "description": "A study of steam.", "source": "tea/kettles:README.md"}
SPOON = {"title": "Spoon detection from above", "description": "With a camera.", "source": "tea/closed:README.md"}
CUP = {"title": "A cup that sorts letters", "description": "", "source": "tea/kept:talks/june.csv"}
LIDS = [{"title": f"Lid {number} of many", "description": "", "source": "tea/many:lids.csv"} for number in range(40)]
SOURCES = 'held_out = ["tea/kept:talks"]\ndivided = ["tea/many"]\ntitle_only = ["tea/closed"]\n'


def label(record: dict[str, str], tag: str = "other", **changes: object) -> dict[str, object]:
    """A line of a sheet for this text."""
    return {"digest": digest(record["title"]), "tag": tag, "family": "list", "reader": "first", **changes}


# One of the sheets that are learned from.
SHEET = LEARNED[0]


def sheets(folder: Path, name: str, *lines: dict[str, object]) -> Path:
    """A folder of sheets with these lines in this one, and none in the others that it lacks."""
    for other in (DEV, *LEARNED):
        (folder / other).touch()
    (folder / name).write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    (folder / real.SOURCES).write_text(SOURCES, encoding="utf-8")
    return folder


def texts(folder: Path, *records: dict[str, str]) -> Path:
    """A folder with these texts."""
    written = io.StringIO(newline="")
    table = csv.DictWriter(written, ["title", "description", "source", "hint", "hint_from"], restval="")
    table.writeheader()
    table.writerows(records)
    (folder / real.TITLES).write_bytes(gzip.compress(written.getvalue().encode()))
    return folder


def test_a_label_gets_the_text_of_its_digest(tmp_path: Path) -> None:
    """A row has the sheet's label and the folder's text; its source is its topic, and figures can be sliced by its family."""
    lines = sheets(tmp_path, SHEET, label(KETTLE, tags=["other", "mlops"], doubtful=True, drawn="chance"))
    (row,) = read_real(SHEET, texts(tmp_path, CUP, KETTLE), lines)
    assert (row.tag, row.tags, row.text) == ("other", ("other", "mlops"), "Kettles that sing in tune A study of steam.")
    assert (row.source, row.topic, row.described) == ("real", "real:tea/kettles:README.md", True)
    assert row.columns == (("family", "list"), ("doubtful", "yes"), ("drawn", "chance"))


def test_a_line_keeps_what_each_of_two_readers_said(tmp_path: Path) -> None:
    """A settled label stands beside both readings, in the order of readers and with each one's doubt."""
    first = {"reader": "first", "tags": ["other"]}
    second = {"reader": "second", "tags": ["mlops", "other"], "doubtful": True}
    (line,) = read_sheet(sheets(tmp_path, DEV, label(KETTLE, reader="both", readings=[first, second])) / DEV)
    assert line.readings == (
        ReaderLabel(reader="first", tags=("other",)),
        ReaderLabel(reader="second", tags=("mlops", "other"), doubtful=True),
    )
    assert line.tag == "other"


def test_without_a_folder_there_are_no_rows() -> None:
    """The project trains and is tested without real titles."""
    assert read_learned(None) == read_real(DEV, None) == []


def test_rows_with_an_author_each_are_topics_of_their_own(tmp_path: Path) -> None:
    """No such row has a sibling, so that their source can be both learned from and calibrated on."""
    sources = Sources(held_out=(), divided=("tea/many",), title_only=())
    learned = [lid for lid in LIDS if not sources.is_held_out(lid["source"], lid["title"])]
    lines = sheets(tmp_path, SHEET, *(label(lid) for lid in learned))
    assert len({row.topic for row in read_real(SHEET, texts(tmp_path, *LIDS), lines)}) == len(learned) > 1


def test_titles_without_a_label_are_those_that_may_be_learned_from(tmp_path: Path) -> None:
    """A title that a sheet labels, or of a source that is held out, is none of them; where titles alone are allowed, the title is the text."""
    sheets(tmp_path, SHEET, label(KETTLE))
    found = read_unlabelled(texts(tmp_path, KETTLE, SPOON, CUP, *LIDS), tmp_path)
    told = [row.text for row in found]
    assert {KETTLE["title"], CUP["title"]}.isdisjoint(row.title for row in found)
    assert SPOON["title"] in told
    assert 0 < sum(lid["title"] in told for lid in LIDS) < len(LIDS)
    assert [digest(row.title) for row in found] == sorted(digest(row.title) for row in found)
    assert read_unlabelled(None) == []


def test_all_sheets_but_the_measured_one_are_learned_from(tmp_path: Path) -> None:
    """Rows stand in the order of the sheets, and none of the measured rows is among them."""
    for sheet, text in zip((DEV, *LEARNED), (CUP, KETTLE, SPOON, *LIDS), strict=False):
        sheets(tmp_path, sheet, label(text))
    folder = texts(tmp_path, KETTLE, SPOON, CUP, *LIDS)
    assert [row.title for row in read_learned(folder, tmp_path)] == [
        text["title"] for text in (KETTLE, SPOON, *LIDS)[: len(LEARNED)]
    ]


def test_a_manifest_can_name_what_was_learned(tmp_path: Path) -> None:
    """The sums of labels, permissions and texts change with their files; without a folder there are none."""
    folder = texts(sheets(tmp_path, SHEET, label(KETTLE)), KETTLE)
    before = real.digests(folder, folder)
    texts(folder, SPOON)
    assert {name for name, sum_ in real.digests(folder, folder).items() if before[name] != sum_} == {f"real/{real.TITLES}"}
    assert set(before) == {f"real/{name}" for name in (*LEARNED, real.SOURCES, real.TITLES)}
    assert real.digests(None) == {}


def test_a_source_without_a_licence_teaches_titles_alone(tmp_path: Path) -> None:
    """A description that may not be learned from is left out where rows are learned, and read where they are measured."""
    for name, text in ((SHEET, SPOON["title"]), (DEV, f"{SPOON['title']} {SPOON['description']}")):
        sheets(tmp_path, name, label(SPOON, "computer-vision"))
        (row,) = read_real(name, texts(tmp_path, SPOON), tmp_path)
        assert row.text == text
        assert row.described is (name == DEV)


def test_a_held_out_source_is_measured_and_not_learned_from(tmp_path: Path) -> None:
    """A learned sheet that holds a row of a measured source is refused."""
    texts(tmp_path, CUP)
    for name in (DEV, SHEET):
        sheets(tmp_path, name, label(CUP))
    assert len(read_real(DEV, tmp_path, tmp_path)) == 1
    with pytest.raises(DataError, match=r"learns from tea/kept:talks/june\.csv, which is held out"):
        read_real(SHEET, tmp_path, tmp_path)


@hypothesis.given(st.lists(st.text(min_size=1), unique=True, min_size=1))
def test_a_divided_source_holds_the_same_titles_out_each_time(titles: list[str]) -> None:
    """Of a source whose rows have an author each, the title alone decides, however it is spaced."""
    sources = Sources(held_out=(), divided=("tea/many",), title_only=())
    held = [sources.is_held_out("tea/many:a.csv", title) for title in titles]
    assert held == [sources.is_held_out("tea/many:b.csv", f" {title} ") for title in titles]
    assert not any(sources.is_held_out("tea/many-more:a.csv", title) for title in titles)


def test_a_divided_source_holds_a_fifth_out() -> None:
    """About a fifth of the titles of a divided source are held out."""
    sources = Sources(held_out=(), divided=("tea/many",), title_only=())
    assert sum(sources.is_held_out("tea/many:a.csv", f"Title {number}") for number in range(5000)) == pytest.approx(
        1000, abs=150
    )


def test_a_folder_that_lacks_titles_is_refused(tmp_path: Path) -> None:
    """Figures on a part of a sheet would not be comparable, so a folder with other texts is refused."""
    sheets(tmp_path, DEV, label(KETTLE), label(CUP))
    with pytest.raises(DataError, match="lacks 1 of the 2 titles"):
        read_real(DEV, texts(tmp_path, CUP), tmp_path)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (None, "cannot be read"),
        (b"no gzip", "cannot be read"),
        (gzip.compress(b"title,description,source\n")[:20], "cannot be read"),
        (gzip.compress(b"title,source\n\xff,\xff\n"), "cannot be read"),
        (gzip.compress(b'title,description,source\n"a'), "cannot be read"),
        (gzip.compress(b"name,description,source\na,b,c\n"), "has no column 'title'"),
    ],
    ids=["missing", "not packed", "cut off", "not UTF-8", "an open quote", "other columns"],
)
def test_a_file_that_is_not_the_texts_is_refused(tmp_path: Path, raw: bytes | None, said: str) -> None:
    """A missing, cut or foreign file is named, with the setting to correct."""
    sheets(tmp_path, DEV, label(KETTLE))
    if raw is not None:
        (tmp_path / real.TITLES).write_bytes(raw)
    with pytest.raises(DataError, match=rf"{real.TITLES} {said}.*TAGSTREAM_REAL"):
        read_real(DEV, tmp_path, tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"tag": "kettles"},
        {"tags": ["mlops", "computer-vision"]},
        {"tags": ["other", "tea"]},
        {"hint": "other"},
        {"readings": [{"reader": "first", "tags": ["tea"]}]},
        {"readings": [{"reader": "first", "tags": []}]},
        {"readings": [{"reader": "first"}]},
    ],
)
def test_a_line_that_is_no_label_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    """An unknown label or field is named with its line."""
    sheets(tmp_path, DEV, label(CUP), label(KETTLE, **{"tag": "other", **changes}))  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"dev.jsonl:2 is no label"):
        read_sheet(tmp_path / DEV)


@pytest.mark.parametrize("raw", ["held_out = []", "held_out = ["])
def test_a_broken_list_of_sources_is_refused(tmp_path: Path, raw: str) -> None:
    """Without its lists no one knows which rows may be learned from."""
    (tmp_path / real.SOURCES).write_text(raw, encoding="utf-8")
    with pytest.raises(DataError, match="does not name the sources"):
        read_sources(tmp_path)


def test_the_shipped_sheets_keep_their_rules() -> None:
    """No title is there twice, every learned row says how it was drawn, and every measured one has a label that a reader gave."""
    dev, learned = read_sheet(real.SHEETS / DEV), [line for sheet in LEARNED for line in read_sheet(real.SHEETS / sheet)]
    assert {path.name for path in real.SHEETS.glob("*.jsonl")} == {DEV, *LEARNED}
    digests = [line.digest for line in (*dev, *learned)]
    assert len(digests) == len(set(digests))
    assert all(len(name) == 64 and not set(name) - set("0123456789abcdef") for name in digests)
    assert {line.drawn for line in dev} == {None}
    assert {line.drawn for line in learned} == {"disagreement", "chance"}
    assert {tuple(reading.reader for reading in line.readings) for line in dev} == {("first", "second")}
    assert all(line.tag in {reading.tags[0] for reading in line.readings} for line in dev)
    assert read_sources().held_out
