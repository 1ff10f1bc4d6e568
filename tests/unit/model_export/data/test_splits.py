"""The frozen splits, the guard around gold rows, and the corpus' rules."""

import io
import json
import urllib.error
from collections import Counter
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from tagstream.model_export.data import duplicates, madewithml, splits
from tagstream.model_export.data.corpus import CORPUS, NOT_ML, PAIRS, read_corpus
from tagstream.model_export.data.madewithml import DataError
from tagstream.model_export.data.real import READ_BY_CHANCE
from tagstream.model_export.data.row import Row
from tests.replacing import replace


def line(**changes: object) -> dict[str, object]:
    """A corpus row."""
    return {"title": "A title", "tag": "mlops", "topic": "a-topic", "register": "blog", **changes}


def corpus(folder: Path, *rows: dict[str, object]) -> Path:
    """A corpus folder with these rows."""
    folder.mkdir(exist_ok=True)
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return folder


def authored(topics: int, rows_each: int = 3) -> list[Row]:
    """Synthetic corpus rows with no words in common."""
    return [
        Row(text=f"alpha{t}x{n} beta{t}x{n} gamma{t}x{n}", tag="other", source="corpus", topic=f"topic-{t}")
        for t in range(topics)
        for n in range(rows_each)
    ]


def given(rows: int, tag: str = "mlops") -> list[Row]:
    """Synthetic rows of the given data set."""
    return [
        Row(text=f"{tag}{n} one{n} two{n}", tag=tag, source="madewithml", topic=f"dataset.csv:{tag}{n}") for n in range(rows)
    ]


def test_no_topic_straddles_two_parts() -> None:
    """Rows of one topic share words, so they stay in one part."""
    parts = splits.split(authored=authored(200), given=[], holdout=[], digests={})
    topics = [{row.topic for row in part} for part in (parts.train, parts.calibration, parts.corpus_test)]
    assert all(topics)
    assert sum(map(len, topics)) == len(set.union(*topics)) == 200


def test_parts_have_about_their_shares() -> None:
    """Of many topics, about seven in ten are learned from."""
    parts = splits.split(authored=authored(2000, 1), given=[], holdout=[], digests={})
    assert len(parts.train) / 2000 == pytest.approx(0.70, abs=0.04)
    assert len(parts.calibration) / 2000 == pytest.approx(0.15, abs=0.04)


@pytest.mark.parametrize(
    ("topic", "part"), [("data-versioning", "train"), ("sequential-recommendation", "train"), ("llm-serving", "corpus_test")]
)
def test_part_of_a_topic_is_frozen(topic: str, part: str) -> None:
    """The rule is part of the figures: changing it would make them incomparable."""
    assert splits.part_of_topic(topic) == part


def test_held_back_rows_keep_the_shares_of_the_classes() -> None:
    """A class of twenty rows gives three to calibration, one of a hundred fifteen."""
    parts = splits.split(authored=authored(1), given=[*given(100, "other"), *given(20)], holdout=[], digests={})
    held = [row.tag for row in parts.calibration if row.source == "madewithml"]
    assert (held.count("other"), held.count("mlops")) == (15, 3)


def test_near_duplicate_of_a_holdout_row_is_never_learned_from() -> None:
    """A row that repeats gold with other punctuation and one word more is left out, and counted."""
    gold = Row(text="Detecting cracks in concrete bridges from drone images", tag="other", source="madewithml", topic="h:1")
    spy = Row(text="detecting cracks, in concrete bridges: from drone images today", tag="other", source="corpus", topic="t")
    parts = splits.split(authored=[*authored(5), spy], given=given(10), holdout=[gold], digests={})
    everything = (*parts.train, *parts.calibration, *parts.corpus_test, *parts.unlabelled)
    assert spy not in everything
    assert parts.near_duplicates_removed == 1
    assert parts.holdout == (gold,)


def test_row_that_is_merely_alike_is_kept() -> None:
    """Half the words in common is a topic, not a copy."""
    kept, repeated = duplicates.split_near_duplicates(["a b c d e f"], ["a b c x y z"], key=str)
    assert (kept, repeated) == (["a b c d e f"], [])


def test_rows_of_no_class_are_unlabelled() -> None:
    """`not-ml` is not a class: its rows are in no labelled part."""
    spam = Row(text="win a cruise today", tag=NOT_ML, source="corpus", topic="spam")
    parts = splits.split(authored=[*authored(5), spam], given=[], holdout=[], digests={})
    assert parts.unlabelled == (spam,)
    assert parts.counts()["unlabelled"] == 1


def test_titles_of_what_is_learned_are_unlabelled_and_those_of_gold_are_not() -> None:
    """The title of a described training row becomes an unlabelled text; measured rows give none."""
    rows = [
        Row(text=f"t{n} d{n} e{n} f{n}", tag="other", source="corpus", topic=f"topic-{n}", title=f"t{n}", described=True)
        for n in range(40)
    ]
    parts = splits.split(authored=rows, given=[], holdout=[], digests={})
    assert {row.text for row in parts.unlabelled} == {row.title for row in parts.train}
    assert all(row.source == splits.TITLES and not row.described for row in parts.unlabelled)


def titled(topics: int, rows_each: int, drawn: str, tag: str = "other") -> list[Row]:
    """Labelled real titles with no words in common, read for that reason."""
    return [
        Row(text=text, title=text, tag=tag, source="real", topic=f"real:{t}", columns=(("drawn", drawn),))
        for t in range(topics)
        for n in range(rows_each)
        for text in [f"{drawn}{t}y{n} kettle{t}y{n} spoon{t}y{n}"]
    ]


def test_a_source_of_real_titles_is_learned_from_or_calibrated_on() -> None:
    """No source is both, none is gold, and titles without a label come from sources that are not calibrated on."""
    rows = titled(100, 4, "chance")
    bare = [replace(row, text=f"{row.text} bare", tag="") for row in rows]
    parts = splits.split(authored=authored(1), given=[], holdout=[], digests={}, found=[*rows, *bare])
    learned, calibrated = ({row.topic for row in part if row.source == "real"} for part in (parts.train, parts.calibration))
    assert learned.isdisjoint(calibrated)
    assert len(learned | calibrated) == 100
    assert len(calibrated) == pytest.approx(15, abs=8)
    assert not any(row.source == "real" for row in parts.corpus_test)
    assert {row.topic for row in parts.unlabelled if row.source == "real"} == learned


def test_calibration_rows_are_as_hard_as_the_titles_that_they_speak_for() -> None:
    """Titles that were read because hint and model differed are all learned from, and calibrated on as often as others were read."""
    parts = splits.split(authored=authored(1), given=[], holdout=[], digests={}, found=titled(200, 20, "disagreement"))
    held_back = sum(splits.part_of_topic(f"real:{t}") == "calibration" for t in range(200))
    assert sum(row.source == "real" for row in parts.train) == 20 * (200 - held_back)
    kept = len([row for row in parts.calibration if row.source == "real"]) / (20 * held_back)
    assert kept == pytest.approx(READ_BY_CHANCE, abs=0.05)


def test_real_titles_without_a_class_are_not_learned() -> None:
    """A title that is not about machine learning is in no part."""
    parts = splits.split(authored=authored(1), given=[], holdout=[], digests={}, found=titled(40, 2, "chance", NOT_ML))
    assert not any(row.source == "real" for part in (parts.train, parts.calibration, parts.unlabelled) for row in part)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tag": "nlp"}, "tag 'nlp'"),
        ({"register": "tweet"}, "register 'tweet'"),
        ({"title": " "}, "title is empty"),
        ({"topic": ""}, "topic is empty"),
        ({"tags": ["mlops", "nlp"]}, "unknown label"),
        ({"tags": ["other", "computer-vision"]}, "lack the tag 'mlops'"),
        ({"extra": 1}, "extra"),
        ({"title": 3}, "title"),
    ],
)
def test_row_that_breaks_the_rules_is_named_by_file_and_line(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    """A bad row stops training and says where it stands."""
    folder = corpus(tmp_path / "corpus", line(), line(**changes))
    with pytest.raises(DataError, match=f"rows.jsonl:2.*{reason}"):
        read_corpus(folder)


def test_empty_corpus_is_an_error(tmp_path: Path) -> None:
    """A folder without rows is refused as the wrong folder."""
    with pytest.raises(DataError, match="holds no"):
        read_corpus(tmp_path)


def test_the_projects_own_corpus_keeps_its_rules() -> None:
    """Every shipped row is valid, every class is there, and no text stands twice under two tags."""
    rows = [*read_corpus(CORPUS), *read_corpus(CORPUS / PAIRS)]
    assert {row.tag for row in rows} >= set(madewithml.LABELS)
    tags: dict[str, str] = {}
    for row in rows:
        assert tags.setdefault(row.text.casefold(), row.tag) == row.tag, row.text


def test_without_a_data_folder_the_corpus_is_used_alone(tmp_path: Path) -> None:
    """A clone without Made With ML's files can train; its holdout is empty, and the counts say so."""
    rows = [line(title=f"w{n} x{n} y{n}", topic=f"t{n}") for n in range(40)]
    parts = splits.load(None, corpus(tmp_path / "corpus", *rows))
    assert parts.counts()["holdout"] == 0
    assert sum(parts.counts().values()) == 40
    assert list(parts.digests) == ["rows.jsonl"]


def test_other_file_of_the_same_name_is_refused(tmp_path: Path) -> None:
    """A file with another sum is refused, since its figures could not be compared."""
    (tmp_path / madewithml.HOLDOUT).write_text("id,title\n", encoding="utf-8")
    with pytest.raises(DataError, match="SHA-256"):
        madewithml.records(tmp_path, madewithml.HOLDOUT)


def test_missing_folder_names_the_setting(tmp_path: Path) -> None:
    """The error says which setting to change."""
    with pytest.raises(DataError, match="TAGSTREAM_DATA"):
        madewithml.records(tmp_path / "nowhere", madewithml.DATASET)


def test_wrong_download_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that do not match their sum never reach the cache."""

    def answer(_address: str, timeout: float) -> io.BytesIO:
        assert timeout > 0
        return io.BytesIO(b"id,title\n")

    monkeypatch.setattr(madewithml.urllib.request, "urlopen", answer)
    with pytest.raises(DataError, match="SHA-256"):
        madewithml.download(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unreachable_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network the error gives the next step."""

    def unreachable(_address: str, timeout: float) -> None:
        assert timeout > 0
        why = "no route"
        raise urllib.error.URLError(why)

    monkeypatch.setattr(madewithml.urllib.request, "urlopen", unreachable)
    with pytest.raises(DataError, match="TAGSTREAM_DATA"):
        madewithml.download(tmp_path)


def test_a_row_keeps_every_label_that_it_carries(tmp_path: Path) -> None:
    """A row keeps all its labels beside the main one, by which it is split; most rows carry no other."""
    two, one = read_corpus(corpus(tmp_path, line(tags=["mlops", "other"]), line(title="Another")))
    assert (two.tag, two.tags) == ("mlops", ("mlops", "other"))
    assert one.tags == ()


def test_rows_for_several_labels_are_split_apart_and_nothing_else_learns_them() -> None:
    """Rows of `pairs` have topics of their own in all three parts, without near-duplicates of learned rows."""
    pairs = [replace(row, topic=f"two-{row.topic}", tags=("other", "mlops"), text=f"pair {row.text}") for row in authored(60)]
    learned = Row(text="one two three four", tag="other", source="corpus", topic="data-versioning")
    measured = next(row for row in pairs if splits.part_of_topic(row.topic) == "corpus_test")
    repeated = replace(measured, text=learned.text)
    parts = splits.split(authored=[*authored(50), learned], given=[], holdout=[], pairs=[*pairs, repeated], digests={})
    found = {part: {row.topic for row in rows} for part, rows in parts.pairs.items()}
    assert found.keys() == {"train", "calibration", "corpus_test"}
    assert len(set.union(*found.values())) == sum(map(len, found.values())) == 60
    assert sum(map(len, parts.pairs.values())) == len(pairs)
    assert {row.source for rows in parts.pairs.values() for row in rows} == {PAIRS}
    elsewhere = {row.text for part in (parts.train, parts.calibration, parts.corpus_test, parts.unlabelled) for row in part}
    assert not elsewhere & {row.text for row in pairs}


def test_the_projects_own_pairs_are_in_every_part_and_on_topics_of_their_own() -> None:
    """Each part has at least sixty rows with two labels."""
    rows = read_corpus(CORPUS / PAIRS)
    counts = Counter(splits.part_of_topic(row.topic) for row in rows if len(row.tags) > 1)
    assert min(counts[part] for part in ("train", "calibration", "corpus_test")) >= 60
    assert not {row.topic for row in rows} & {row.topic for row in read_corpus(CORPUS)}


@hypothesis.given(
    st.lists(st.text("abcde ", max_size=14), max_size=12),
    st.lists(st.text("abcde ", max_size=14), max_size=12),
    st.sampled_from([0.5, 0.8, 0.9, 1.0]),
)
def test_the_search_for_near_duplicates_finds_what_comparing_all_pairs_finds(
    rows: list[str], guarded: list[str], limit: float
) -> None:
    """Only texts that share a rare word are compared, and no near-duplicate is missed by that."""
    spaced = [" ".join(row.replace(" ", "")) for row in rows], [" ".join(other.replace(" ", "")) for other in guarded]
    repeated = [
        row
        for row in spaced[0]
        if any(duplicates.similarity(duplicates.word_set(row), duplicates.word_set(other)) >= limit for other in spaced[1])
    ]
    assert duplicates.split_near_duplicates(*spaced, key=str, limit=limit)[1] == repeated
