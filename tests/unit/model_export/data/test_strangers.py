"""Real texts that are not about machine learning: what is held out is never learned from, and a folder that cannot be used is said."""

import csv
import gzip
import io
from pathlib import Path

import pytest

from tagstream.model_export.data import strangers
from tagstream.model_export.data.corpus import NOT_ML
from tagstream.model_export.data.madewithml import DataError
from tagstream.model_export.data.strangers import read_neighbours, read_strangers

SOURCES = 'held_out = ["tea/news", "tea/book:parts/sea", "tea/posts:one.csv"]\ntitle_only = ["tea/closed", "tea/news"]\n'
LEARNED = ("tea/open:README.md", "tea/closed:README.md", "tea/book:parts/land_2.txt", "tea/posts:two.csv")
HELD_OUT = ("tea/news:2026.csv", "tea/book:parts/sea_1.txt", "tea/posts:one.csv")
COLUMNS = ("title", "description", "source", "kind")


def folder(path: Path, *sources: str, columns: tuple[str, ...] = COLUMNS) -> Path:
    """A folder with a text of each source, and the list of what may be learned from."""
    written = io.StringIO(newline="")
    table = csv.DictWriter(written, columns, extrasaction="ignore")
    table.writeheader()
    for source in sources:
        table.writerow({"title": f"From {source}", "description": "Tea grows.", "source": source, "kind": "hobby"})
    (path / strangers.TEXTS).write_bytes(gzip.compress(written.getvalue().encode()))
    (path / strangers.SOURCES).write_text(SOURCES, encoding="utf-8")
    return path


@pytest.mark.parametrize(("held_out", "sources"), [(True, HELD_OUT), (False, LEARNED)])
def test_a_source_is_learned_from_or_held_out(tmp_path: Path, *, held_out: bool, sources: tuple[str, ...]) -> None:
    """A repository, a file in it, or all files whose names begin alike are held out together; nothing is in both parts."""
    found = read_strangers(folder(tmp_path, *LEARNED, *HELD_OUT), tmp_path, held_out=held_out)
    assert [dict(row.columns)["source"] for row in found] == list(sources)
    assert {(row.tag, dict(row.columns)["kind"]) for row in found} == {(NOT_ML, "hobby")}


def test_descriptions_are_learned_from_where_they_may_be(tmp_path: Path) -> None:
    """Of a source that allows titles alone the learned text is the title; a measured text is whole."""
    texts = folder(tmp_path, *LEARNED, *HELD_OUT)
    learned = {dict(row.columns)["source"]: row.text for row in read_strangers(texts, tmp_path, held_out=False)}
    assert learned["tea/open:README.md"].endswith("Tea grows.")
    assert learned["tea/closed:README.md"] == "From tea/closed:README.md"
    assert all(row.text.endswith("Tea grows.") for row in read_strangers(texts, tmp_path, held_out=True))


def test_texts_of_one_repository_share_a_topic(tmp_path: Path) -> None:
    """They resemble each other, so no fold has some of them to learn from and others to judge."""
    found = read_strangers(folder(tmp_path, "tea/open:a.md", "tea/open:b.md", "tea/far:a.md"), tmp_path, held_out=False)
    assert len({row.topic for row in found}) == 2


def test_without_a_folder_there_are_none() -> None:
    """The project is built and tested without the texts."""
    assert read_strangers(None, held_out=True) == []


def test_a_folder_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    """A missing file, a missing column and a broken list name the file and the next step."""
    (tmp_path / strangers.SOURCES).write_text(SOURCES, encoding="utf-8")
    with pytest.raises(DataError, match=r"not_ml\.csv\.gz cannot be read.*Next: point TAGSTREAM_REAL"):
        read_strangers(tmp_path, tmp_path, held_out=True)
    with pytest.raises(DataError, match=r"no column 'kind'.*Next: point TAGSTREAM_REAL"):
        read_strangers(folder(tmp_path, *LEARNED, columns=COLUMNS[:-1]), tmp_path, held_out=True)
    (tmp_path / strangers.SOURCES).write_text('held_out = ["tea"]\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"does not name the sources.*Next: restore the file"):
        read_strangers(tmp_path, tmp_path, held_out=True)


def test_the_projects_own_texts_are_of_several_kinds(tmp_path: Path) -> None:
    """They are read without any folder, and a broken line is named."""
    found = read_neighbours()
    assert len({row.topic for row in found}) > 5
    assert {row.tag for row in found} == {NOT_ML}
    (tmp_path / "a.jsonl").write_text('{"title": "Tea", "kind": "hobby"}\n{"title": "Cups"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.jsonl:2 is no neighbour.*Next: give it a title and a kind"):
        read_neighbours(tmp_path)
    with pytest.raises(DataError, match=r"holds no texts.*Next: restore"):
        read_neighbours(tmp_path / "nowhere")


def test_the_projects_own_list_holds_out_what_it_names() -> None:
    """The list beside the real titles can be read, and names no source twice."""
    sources = strangers._sources(strangers.SHEETS / strangers.SOURCES)
    assert sorted(set(sources.held_out)) == list(sources.held_out)
    assert sorted(set(sources.title_only)) == list(sources.title_only)
    assert sources.is_held_out("pallets/flask:src/flask/app.py")
