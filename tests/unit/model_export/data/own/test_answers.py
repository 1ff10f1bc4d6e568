"""People's answers beside a user's rows: each is learned from, stands above a row's label, or is accounted for."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.model_export.data.madewithml import DataError
from tagstream.model_export.data.own import answers
from tagstream.model_export.data.own.answers import stand
from tagstream.model_export.data.own.look import RowsReport, Severity, look
from tagstream.model_export.data.own.rows import OwnRow, OwnRows
from tagstream.model_export.data.own.split import Why, divide, folded
from tagstream.model_export.data.reader import RowsError
from tagstream.model_export.data.row import Row
from tests.replacing import replace
from tests.unit.model_export.data.own.test_look import CLEAN, coloured, found, lines_of
from tests.unit.model_export.data.own.test_split import own, texts


def answered(folder: Path, said: list[tuple[str, str]]) -> OwnRows:
    """A file of answers about these texts, one event each."""
    path = folder / "answers.jsonl"
    lines = [json.dumps({"id": f"e-{place}", "title": text, "tag": tag}) for place, (text, tag) in enumerate(said)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return answers.read(path)


def looked(folder: Path, said: list[tuple[str, str]], lines: list[str] = CLEAN) -> RowsReport:
    """The look at clean rows beside these answers."""
    return look(own(folder, lines), answers=answered(folder, said))


def test_answers_are_learned_from_and_move_no_row(tmp_path: Path) -> None:
    """They join the rows to learn from and no other part; the parts of the rows stay as they are without answers."""
    alone = look(own(tmp_path, CLEAN)).division.splits
    fresh = coloured(12, seed=9)
    splits = looked(tmp_path, fresh).division.splits
    assert (splits.calibration, splits.holdout) == (alone.calibration, alone.holdout)
    learned = [row for row in splits.train if row.answered]
    assert [row.text for row in splits.train if not row.answered] == [row.text for row in alone.train]
    assert [(row.text, row.tag) for row in learned] == fresh
    assert set(splits.digests) == {"rows.csv", "answers/answers.jsonl"}


def test_an_answer_stands_above_the_label_of_a_row_in_its_part(tmp_path: Path) -> None:
    """Wherever the row lies, it stays there with the answer's label, and its text is in no other part."""
    given_rows = coloured(120)
    other = {"red": "green", "green": "blue", "blue": "red"}
    splits = looked(tmp_path, [(text.upper(), other[tag]) for text, tag in given_rows]).division.splits
    assert not any(row.answered for row in splits.train)
    labels = {text: other[tag] for text, tag in given_rows}
    for part in (splits.train, splits.calibration, splits.holdout):
        assert part
        assert {row.text: row.tag for row in part}.items() <= labels.items()
    assert sum(map(len, (splits.train, splits.calibration, splits.holdout))) == 120


def test_corrections_are_said_with_their_lines(tmp_path: Path) -> None:
    """The row, its label and the answer's; a row without a label gets one, and one of none of the labels is left out."""
    rows = coloured(120)
    seen = looked(
        tmp_path, [(rows[0][0], "blue"), (rows[1][0], "off_subject"), ("a bare text", "red")], [*CLEAN, "a bare text,"]
    )
    assert found(seen, "corrected").details == (
        "line 2: red, answered blue",
        "line 3: green, answered off_subject",
        "line 122: no label, answered red",
    )
    assert [row.line for row in seen.division.left_out[Why.OFF_SUBJECT]] == [3]
    assert Why.EMPTY_LABEL not in seen.division.left_out
    assert seen.division.splits.labels == ("blue", "green", "red")


@pytest.mark.parametrize(
    ("tags", "said", "wanted"),
    [
        (("red", "blue"), "green", ("green", "blue")),
        (("red", "blue"), "blue", ("blue", "red")),
        (("red", "blue"), "red", ("red", "blue")),
        ((), "green", ()),
    ],
)
def test_a_corrected_row_keeps_its_further_labels(tags: tuple[str, ...], said: str, wanted: tuple[str, ...]) -> None:
    """An answer that the row carries anyhow only comes first; another one takes the place of the row's own label."""
    rows = rows_of([("a text", "red"), ("another", "green"), ("a third", "blue")])
    row = replace(rows.rows[0].row, tags=tags)
    rows = replace(rows, rows=(replace(rows.rows[0], row=row), *rows.rows[1:]))
    made = stand(rows, rows_of([("A text", said)], are_answers=True))
    assert (made.rows.rows[0].row.tag, made.rows.rows[0].row.tags) == (said, wanted)


def test_an_answer_that_the_model_is_measured_on_is_left_out(tmp_path: Path) -> None:
    """Near repeats of rows that are calibrated, tested or gold, and gold texts themselves, are not learned from."""
    splits = look(own(tmp_path, CLEAN)).division.splits
    near = [(f"{part[0].text} again", part[0].tag) for part in (splits.train, splits.calibration, splits.holdout)]
    seen = looked(tmp_path, near)
    assert [row.line for row in seen.division.answers_left_out[Why.NEAR_PART]] == [2, 3]
    assert [row.text for row in seen.division.splits.train if row.answered] == [near[0][0]]
    gold = own(tmp_path, lines_of(coloured(6, seed=9)), name="gold.csv")
    in_gold = [(text + more, tag) for more in ("", " again") for text, tag in coloured(1, seed=9)]
    left_out = look(own(tmp_path, CLEAN), gold, answers=answered(tmp_path, in_gold)).division.answers_left_out
    assert {why: [row.line for row in rows] for why, rows in left_out.items()} == {Why.IN_GOLD: [1], Why.NEAR_GOLD: [2]}


def test_an_answer_has_the_topic_of_the_row_that_it_nearly_repeats(tmp_path: Path) -> None:
    """The quick way judges a row by others than its like: both fall out of a fold together."""
    row = look(own(tmp_path, CLEAN)).division.splits.train[0]
    splits = looked(tmp_path, [(f"{row.text} again", row.tag)]).division.splits
    assert len({one.topic for one in splits.train if one.text.startswith(row.text)}) == 1


def test_answers_that_count_for_nothing_are_said(tmp_path: Path) -> None:
    """Of none of the labels, of another label, two words on one text, and repeats; --strict refuses what a person should look at."""
    said = [*coloured(3, seed=9), ("a recipe", "off_subject"), ("a plum", "violet"), ("a text", "red"), ("A  text", "blue")]
    said += [("one more", "red"), ("one more", "red")]
    seen = looked(tmp_path, said)
    finding = found(seen, "answers")
    assert "4 answers learned from, 0 about texts of" in finding.sentence
    assert "5 left out" in finding.sentence
    assert finding.details == (
        "left out, of none of the labels: line 4",
        f"left out, with a label that {tmp_path / 'rows.csv'} does not have: line 5",
        "left out, about a text on which answers differ: lines 6 and 7",
        "left out, a repeat: line 9",
    )
    assert "does not have: violet. Left out. Next: correct the label" in found(seen, "answers-label").sentence
    assert found(seen, "answers-contradictory").lines == (6, 7)
    assert {each.kind for each in seen.of(Severity.WARNING)} == {"answers-label", "answers-contradictory"}
    seen.refuse()


def test_answers_about_other_labels_alone_are_an_error(tmp_path: Path) -> None:
    """It is the file of another stream."""
    with pytest.raises(RowsError, match=r"does not have: billing\. No answer is left\. Next: correct the label"):
        looked(tmp_path, [("Refund, please", "billing")]).refuse()


def test_a_label_that_answers_alone_are_left_with_is_refused(tmp_path: Path) -> None:
    """People corrected every row of it, so no row could calibrate it."""
    blue = [text for text, tag in coloured(120) if tag == "blue"]
    said = [*((text, "red") for text in blue), ("the sea and the sky", "blue")]
    with pytest.raises(RowsError, match=r"1 label without a row to learn from or to calibrate on: blue\."):
        looked(tmp_path, said).refuse()


def test_answers_that_do_not_calibrate_promise_no_certificate(tmp_path: Path) -> None:
    """The rows that a certificate of a label's own needs are counted without them."""
    seen = look(own(tmp_path, CLEAN), answers=answered(tmp_path, coloured(60, seed=9)), certificate_rows=50)
    assert found(seen, "certificate").details[0] == "blue: 34 rows, at least 16 more needed"


def test_the_other_form_of_an_export_is_refused(tmp_path: Path) -> None:
    """It holds earlier answers too; the sentence names the form."""
    path = tmp_path / "answers.jsonl"
    path.write_text('{"id":"e-1","title":"a text","tag":"red","reviewer":"ann","version":1}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"answers\.jsonl:1 is no row: .*Next: .* --form rows"):
        answers.read(path)


TEXTS = st.sampled_from([*texts(5), *(f"{text} again" for text in texts(5)), *(text.upper() for text in texts(5))])
SAID = st.lists(st.tuples(TEXTS, st.sampled_from(["a", "b", "c", "off_subject"])), max_size=12)


def rows_of(drawn: list[tuple[str, str]], *, are_answers: bool = False) -> OwnRows:
    """Rows of these texts and labels."""
    rows = tuple(
        OwnRow(line=line, row=Row(text=text, tag=tag, source="own", topic=f"{are_answers}{line}", answered=are_answers))
        for line, (text, tag) in enumerate(drawn, start=1)
    )
    return OwnRows(name="rows.csv", unit="line", rows=rows, digests={})


@given(SAID.filter(lambda drawn: any(tag in {"a", "b"} for _, tag in drawn)), SAID, SAID)
def test_no_answer_is_lost_and_none_is_measured_on(
    drawn: list[tuple[str, str]], said: list[tuple[str, str]], gold: list[tuple[str, str]]
) -> None:
    """Every answer is learned from, about a row's text, or left out for one reason; no text is both learned from and measured on."""
    rows, given_answers = rows_of(drawn), rows_of(said, are_answers=True)
    made = stand(rows, given_answers)
    division = divide(made.rows, rows_of(gold), answers=made.fresh)
    learned = [row for row in division.splits.train if row.answered]
    gone = [*made.of_rows, *made.off_subject, *made.unknown, *made.differing, *made.repeated]
    gone += [own for found in division.answers_left_out.values() for own in found]
    assert Counter([*(row.text for row in learned), *(own.row.text for own in gone)]) == Counter(text for text, _ in said)
    assert not any(row.answered for row in (*division.splits.calibration, *division.splits.holdout))
    measured = {folded(row.text) for row in (*division.splits.calibration, *division.splits.holdout)}
    assert measured.isdisjoint({folded(row.text) for row in division.splits.train})
    assert set(division.splits.labels) <= {*rows.labels, *(tag for _, tag in gold)}
