"""Each defect of a user's rows gives its sentence with line numbers, and what becomes of the file depends on its severity."""

import random
from pathlib import Path

import numpy as np
import pytest

from tagstream.model_export.bundle.promise.promise import Promise
from tagstream.model_export.data.own.look import DoubtfulDataError, RowsFinding, RowsReport, Severity, look
from tagstream.model_export.data.own.read import OwnColumns, read_own
from tagstream.model_export.data.own.suspects import suspects
from tagstream.model_export.data.reader import RowsError
from tagstream.model_export.data.row import Row
from tagstream.model_export.measure.own import look_at
from tests.unit.model_export.data.own.test_split import own, texts

WORDS = {tag: [f"{tag}{number}" for number in range(30)] for tag in ("red", "green", "blue")}


def coloured(count: int, seed: int = 3) -> list[tuple[str, str]]:
    """English texts with six words of a label and four of all labels, and the label of each."""
    drawn = random.Random(seed)  # noqa: S311 - not for secrets
    rows = []
    for place in range(count):
        tag = list(WORDS)[place % 3]
        rows.append(
            (" ".join(["the", *drawn.sample(WORDS[tag], 6), *texts(1, seed=drawn.randrange(10**6))[0].split()[:4]]), tag)
        )
    return rows


def lines_of(rows: list[tuple[str, str]]) -> list[str]:
    """Lines of a file."""
    return [f"{text},{tag}" for text, tag in rows]


def found(seen: RowsReport, kind: str) -> RowsFinding:
    """The one finding of a kind."""
    (finding,) = [finding for finding in seen.findings if finding.kind == kind]
    return finding


CLEAN = lines_of(coloured(120))


def test_clean_rows_have_no_findings(tmp_path: Path) -> None:
    """Rows without a fault have no finding and are not refused."""
    seen = look(own(tmp_path, CLEAN))
    assert seen.findings == ()
    seen.refuse(strict=True)
    assert seen.as_text().splitlines() == [
        f"{tmp_path / 'rows.csv'}: 120 rows, 3 labels: blue 40, green 40, red 40",
        "  train 84, calibration 18, test 18 rows; 0 left out",
        "  0 errors, 0 warnings, 0 notes",
    ]


LONG = "word " * 400
DEFECTS = {
    "empty-text": ([",red"], "line 122: no text. Left out."),
    "empty-label": (["a text,"], "line 122: no label. Left out."),
    "repeated": ([CLEAN[0], CLEAN[4].upper().replace(",GREEN", ",green")], "lines 122 and 123: text and label of a row above."),
    "contradictory": ([CLEAN[0].replace(",red", ",blue")], "lines 2 and 122: one text with two labels or more."),
    "language": (["Прошу вернуть деньги за заказ,red"], "line 122: probably not English"),
    "few-rows": ([f"{text},black" for text in texts(20)], "1 label with fewer than 20 rows to learn from."),
}
ERRORS = {
    "label-count": (["same,same"] * 3, "rows.csv has 1 label, and a model has 2 to 100."),
    "too-few-rows": ([*CLEAN, "one,black", "another,black"], "1 label without a row to learn from or to calibrate on: black."),
    "label-alike": ([*CLEAN, *(f"{text},Red" for text in texts(3))], "'Red' and 'red' (the rarer at lines 122, 123 and 124)"),
    "label-name": ([*CLEAN, *(f"{text},Off_Subject" for text in texts(3))], "'Off_Subject' reads like off_subject, a reviewer's word for an event of no label (lines 122,"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DEFECTS)
def test_a_warning_is_said_with_its_lines_and_refused_by_strict_alone(kind: str, tmp_path: Path) -> None:
    """Without --strict the rows are used; with it the error has the sentence, and code 1 unless the kind is allowed."""
    more, said = DEFECTS[kind]
    seen = look(own(tmp_path, [*CLEAN, *more]))
    assert said in found(seen, kind).sentence
    assert "Next: " in found(seen, kind).sentence
    seen.refuse()
    seen.refuse(strict=True, allowed={finding.kind for finding in seen.findings})
    with pytest.raises(DoubtfulDataError, match="No file was written") as error:
        seen.refuse(strict=True)
    assert (found(seen, kind).sentence in str(error.value), error.value.exit_code) == (True, 1)


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_is_always_refused(kind: str, tmp_path: Path) -> None:
    """No model can be made of such rows: code 2."""
    lines, said = ERRORS[kind]
    seen = look(own(tmp_path, lines))
    assert said in found(seen, kind).sentence
    with pytest.raises(RowsError, match="cannot be learned from") as error:
        seen.refuse()
    assert (found(seen, kind).sentence in str(error.value), error.value.exit_code) == (True, 2)


def test_names_that_no_message_can_carry_are_errors(tmp_path: Path) -> None:
    """White space at the ends, line breaks and names of a hundred letters."""
    rows = [f'{text},"{tag}"' for text, tag in zip(texts(9), [" end", "two\nlines", "x" * 101] * 3, strict=True)]
    sentence = found(look(own(tmp_path, [*CLEAN, *rows])), "label-name").sentence
    for why in ("' end' begins or ends with white space", "'two\\nlines' holds a line break", "is longer than 100 characters"):
        assert why in sentence


def test_the_gold_set_is_looked_at_too(tmp_path: Path) -> None:
    """Leaks in either form, labels that contradict, labels that nothing was learned of, and gaps, each with its lines."""
    gold_lines = [CLEAN[0], CLEAN[1].replace(",green", ",red"), "a gold text,black", ",red", "twice,red", "twice,blue"]
    gold_lines += lines_of(coloured(3, seed=9))
    gold = own(tmp_path, gold_lines, name="gold.csv")
    seen = look(own(tmp_path, [*CLEAN, CLEAN[0].replace(",red", " and more,red")]), gold)
    leaked = found(seen, "in-gold")
    assert leaked.sentence.startswith(f"{tmp_path / 'rows.csv'}, lines 2 and 3: in {gold.name} too.")
    assert leaked.details[1] == f"line 3: green; {gold.name}, line 3: red; one of the labels is wrong"
    assert found(seen, "near-gold").lines == (122,)
    assert found(seen, "gold-label").sentence.startswith(
        f"{gold.name}, line 4: labels that {tmp_path / 'rows.csv'} does not have: black."
    )
    assert found(seen, "gold-empty").lines == (5,)
    assert found(seen, "gold-contradictory").lines == (6, 7)
    assert seen.findings[0].severity is Severity.ERROR


def test_a_label_that_the_gold_set_lacks_is_said(tmp_path: Path) -> None:
    """No figure will be about it."""
    gold = own(tmp_path, lines_of(coloured(2, seed=9)), name="gold.csv")
    assert "1 label without a row in the gold set: blue." in found(look(own(tmp_path, CLEAN), gold), "not-measured").sentence


def test_rows_of_none_of_the_labels_become_no_label(tmp_path: Path) -> None:
    """A person's word that a text has none of the labels is counted with its lines, in the gold set too, and refuses nothing."""
    gold = own(tmp_path, [*lines_of(coloured(3, seed=9)), "a cake,off_subject"], name="gold.csv")
    rows = own(tmp_path, [*CLEAN, "a recipe,off_subject", "a match,off_subject"])
    seen = look(rows, gold)
    assert found(seen, "off-subject").severity is Severity.NOTE
    assert "lines 122 and 123: 2 rows that a person found to have none of the labels" in found(seen, "off-subject").sentence
    assert found(seen, "gold-empty").lines == (5,)
    assert (rows.labels, set(seen.labels), seen.division.splits.labels) == (
        tuple(sorted(WORDS)),
        set(WORDS),
        tuple(sorted(WORDS)),
    )
    seen.refuse(strict=True, allowed={"gold-empty"})


def several(folder: Path, tags: list[str], *, gold: str = "") -> RowsReport:
    """The look at clean rows for a second head, with these further labels in turn, and beside a gold row with these."""
    lines = [f"{line},{tags[place % len(tags)]}" for place, line in enumerate(CLEAN)]
    for name, of in (("rows.csv", lines), ("gold.csv", [f"{coloured(1, seed=9)[0][0]},red,{gold}"])):
        (folder / name).write_text("\n".join(["title,tag,tags", *of]), encoding="utf-8")
    rows, beside = (read_own(folder / name, OwnColumns(tags="tags")) for name in ("rows.csv", "gold.csv"))
    return look(rows, beside if gold else None, multilabel=True)


def test_rows_for_a_second_head_carry_several_labels(tmp_path: Path) -> None:
    """Without such rows the look says what is needed, with few it warns, with enough there is no finding."""
    with pytest.raises(
        RowsError, match=r"0 rows of several labels to learn from and 0 to calibrate on.* Next: name all labels"
    ):
        several(tmp_path, [""]).refuse()
    few = several(tmp_path, ["red;blue", *[""] * 7])
    assert found(few, "few-several").severity is Severity.WARNING
    few.refuse()
    assert several(tmp_path, ["red;blue", ""]).findings == ()


def test_further_labels_that_cannot_be_learned_are_errors(tmp_path: Path) -> None:
    """A label that no row has as its own, in the gold set too, and one that every row carries."""
    seen = several(tmp_path, ["red;violet", "blue"], gold="red;pink")
    assert "has as its own: violet. Next: correct" in found(seen, "further-label").sentence
    assert found(seen, "further-label").lines == tuple(range(2, 122, 2))
    assert found(seen, "gold-further-label").sentence.startswith(f"{tmp_path / 'gold.csv'}, line 2: further labels")
    seen = several(tmp_path, ["red;green", "red"])
    assert "1 label that every row to learn from carries, or none but answers: red." in found(seen, "no-contrast").sentence
    with pytest.raises(RowsError, match="cannot learn where such a label ends"):
        seen.refuse()


def test_near_repeats_across_a_split_are_said(tmp_path: Path) -> None:
    """By hash they fall into one part, by column they may not."""
    lines = [f"{line},{'test' if place % 5 == 0 else 'train'}" for place, line in enumerate(CLEAN)]
    seen = look(own(tmp_path, [*lines, CLEAN[0].replace(",red", " and more,red,train")], "title,tag,split"))
    assert found(seen, "near-across-parts").lines == (122,)
    assert [finding.kind for finding in seen.findings] == ["near-across-parts"]


def test_notes_refuse_nothing(tmp_path: Path) -> None:
    """Near repeats, long texts and the rows that a certificate needs are said, and even --strict goes on."""
    near = CLEAN[0].replace(",red", " and more,blue")
    seen = look_at(own(tmp_path, [*CLEAN, near, f"the {LONG},blue"]))
    assert found(seen, "near-repeats").lines == (2, 122)
    assert found(seen, "near-repeats").details == ("lines 2 and 122: red and blue",)
    assert found(seen, "cut").sentence.startswith(f"{tmp_path / 'rows.csv'}, line 123: longer than the ")
    # The floor of a label is 0.9, and 0.9 ** 39 is its first power below 0.05 / 3: so many right rows in a row. 0.95 has it at 80.
    assert (
        "3 labels with fewer than 39 rows: a certificate of a label's own needs at least" in found(seen, "certificate").sentence
    )
    each = look_at(own(tmp_path, CLEAN), promise=Promise(kind="per-label"))
    assert "3 labels with fewer than 80 rows: " in found(each, "certificate").sentence
    seen.refuse(strict=True, allowed={"label-errors"})


def test_planted_label_errors_are_found_and_others_are_not() -> None:
    """Of 600 rows with 30 wrong labels, at least 25 are found, and nine of ten that are named are wrong."""
    rows = coloured(600)
    given = [tag for _, tag in rows]
    wrong = set(np.random.default_rng(1).choice(600, 30, replace=False).tolist())
    for place in wrong:
        given[place] = {"red": "green", "green": "blue", "blue": "red"}[given[place]]
    made = [Row(text=text, tag=tag, source="own", topic="") for (text, _), tag in zip(rows, given, strict=True)]
    named = suspects(made, [text for text, _ in rows], sorted(WORDS))
    hits = {place for place, _, _ in named} & wrong
    assert len(hits) >= 25
    assert len(named) <= len(hits) / 0.9
    assert {label for place, label, _ in named if place in wrong and label == rows[place][1]} == set(WORDS)


@pytest.mark.parametrize("common", ["", "the same words of all "])
def test_words_that_say_nothing_of_the_label_make_nobody_suspect(common: str) -> None:
    """No suspicion comes from nothing, and no error either."""
    rows = [Row(text=f"{common}alone{number}", tag="ab"[number % 2], source="own", topic="") for number in range(60)]
    assert suspects(rows, [row.text for row in rows], ["a", "b"]) == []


def test_suspected_errors_are_a_warning_with_lines(tmp_path: Path) -> None:
    """The sentence names the line, the label and the one that it reads like; the row is kept."""
    lines = lines_of(coloured(600))
    for place in range(300, 315, 3):
        lines[place] = lines[place].replace(",red", ",blue")
    seen = look(own(tmp_path, lines))
    finding = found(seen, "label-errors")
    planted = {302, 305, 308, 311, 314} & set(finding.lines)
    assert finding.severity is Severity.WARNING
    assert len(planted) >= 3
    for line in planted:
        assert any(detail.startswith(f"line {line}: blue, reads like red (") for detail in finding.details)
    assert planted <= seen.division.topics.keys()


def test_the_record_has_everything(tmp_path: Path) -> None:
    """A program reads the same: the rows first, then a record for each finding with all of its lines."""
    seen = look(own(tmp_path, [*CLEAN, *[",red"] * 12]))
    first, second = seen.records()
    assert (first["record"], first["rows"], first["left_out"]) == ("rows", 132, {"empty text": [*range(122, 134)]})
    assert (second["record"], second["kind"], second["lines"]) == ("finding", "empty-text", tuple(range(122, 134)))
    assert "131 and 2 more" in str(second["sentence"])
