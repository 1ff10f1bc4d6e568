"""Plain titles made from a lexicon: the same each time, the same frames for every class, only ever learned from."""

from collections import Counter
from pathlib import Path

import pytest

from tagstream.model_export.data import lexicon, madewithml, splits
from tagstream.model_export.data.madewithml import DataError
from tagstream.model_export.data.row import Row

SMALL = """
titles = ["{{C}}: a survey"]
descriptions = ["About {{c}} and {{d}}."]

[[group]]
tag = "mlops"
topic = "stores"
subjects = "{subjects}"
"""


def written(path: Path, subjects: str) -> Path:
    """A lexicon of one group."""
    found = path / "lexicon.toml"
    found.write_text(SMALL.format(subjects=subjects), encoding="utf-8")
    return found


def test_every_subject_stands_bare_and_in_frames(tmp_path: Path) -> None:
    """The first row of a subject is its name; the others are framed; a description may name a neighbour."""
    rows = lexicon.rows(written(tmp_path, "feature stores; model registries"))
    assert [row.title for row in rows] == [
        *("Feature stores", "Feature stores: a survey", "Feature stores: a survey"),
        *("Model registries", "Model registries: a survey", "Model registries: a survey"),
    ]
    said = {row.description for row in rows if row.title.startswith("Feature")}
    assert said <= {None, "About feature stores and model registries."}


def test_rows_are_the_same_each_time() -> None:
    """The same lexicon gives the same rows, so that a training can be repeated."""
    assert lexicon.rows() == lexicon.rows()


def test_another_subject_leaves_the_titles_of_the_others(tmp_path: Path) -> None:
    """A new subject in the lexicon does not change the titles of the others."""
    before = lexicon.rows(written(tmp_path, "feature stores; model registries"))
    after = lexicon.rows(written(tmp_path, "feature stores; model registries; drift"))
    assert [row.title for row in before] == [row.title for row in after][: len(before)]


@pytest.mark.parametrize("subjects", ["feature stores", "drift; drift", ""])
def test_a_group_needs_two_subjects_each_once(tmp_path: Path, subjects: str) -> None:
    """A group with one subject, or with the same one twice, is refused."""
    written(tmp_path, subjects)
    (tmp_path / "rows.jsonl").write_text('{"title": "a", "tag": "mlops", "topic": "t", "register": "blog"}')
    with pytest.raises(DataError, match="needs two subjects or more"):
        splits.load(None, tmp_path)


def test_the_projects_lexicon_has_every_class_and_names_a_subject_once() -> None:
    """The project's lexicon covers every class, and no subject is in two of them."""
    rows = lexicon.rows()
    assert {row.tag for row in rows} == set(madewithml.LABELS)
    bare = Counter(row.title.casefold() for row in rows[:: lexicon.ROWS_PER_SUBJECT])
    assert [title for title, times in bare.items() if times > 1] == []


def test_made_rows_are_only_learned_from() -> None:
    """Made rows are in the training part alone, without those that repeat gold."""
    gold = Row(text="Feature stores: a survey", tag="mlops", source="madewithml", topic="h:1")
    plain = [
        Row(text="Feature stores: a survey", tag="mlops", source="lexicon", topic="lexicon:a"),
        Row(text="Model registries", tag="mlops", source="lexicon", topic="lexicon:a"),
    ]
    parts = splits.split(authored=[], given=[], holdout=[gold], plain=plain, digests={})
    assert (parts.train, parts.calibration, parts.corpus_test) == ((plain[1],), (), ())


def test_sound_is_learned_as_other() -> None:
    """A training row of sound synthesis is learned by the guidelines; a measured row keeps its label."""
    sound = [
        Row(text=f"voice{n} out of text", tag="natural-language-processing", source="madewithml", topic=topic)
        for n, topic in enumerate(sorted(madewithml.SOUND_ROWS))
    ]
    beside = [
        Row(text=f"text{n} words{n}", tag="natural-language-processing", source="madewithml", topic=f"dataset.csv:x{n}")
        for n in range(40)
    ]
    parts = splits.split(authored=[], given=[*sound, *beside], holdout=[], digests={})
    assert {row.tag for row in parts.train if row.topic in madewithml.SOUND_ROWS} == {"other"}
    assert {row.tag for row in parts.calibration} == {"natural-language-processing"}
