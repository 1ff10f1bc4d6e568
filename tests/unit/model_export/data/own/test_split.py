"""A user's rows fall into parts that know nothing of each other, and a row in none of them is accounted for."""

import random
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.model_export.data.own.read import read_own
from tagstream.model_export.data.own.rows import OwnRow, OwnRows
from tagstream.model_export.data.own.split import Why, divide
from tagstream.model_export.data.reader import RowsError
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits
from tests.replacing import replace

NOUNS = [f"noun{number}" for number in range(400)]


def own(folder: Path, lines: list[str], header: str = "title,tag", name: str = "rows.csv") -> OwnRows:
    """Rows of a file with these lines below the header."""
    path = folder / name
    path.write_text("\n".join([header, *lines]), encoding="utf-8")
    return read_own(path)


def texts(count: int, seed: int = 5) -> list[str]:
    """Texts of eight words that have few words in common."""
    generator = random.Random(seed)  # noqa: S311 - not for secrets
    return [" ".join(generator.sample(NOUNS, 8)) for _ in range(count)]


def test_every_row_is_in_one_part_or_accounted_for(tmp_path: Path) -> None:
    """Rows without text or label and repeats are left out with their lines; the rest is in the parts."""
    lines = [f"{text},{tag}" for text, tag in zip(texts(60), "abc" * 20, strict=True)]
    rows = own(tmp_path, [*lines, ",a", "no label,", lines[0], lines[1].upper().replace(",B", ",b")])
    found = divide(rows)
    assert {why: [row.line for row in rows] for why, rows in found.left_out.items()} == {
        Why.EMPTY_TEXT: [62],
        Why.EMPTY_LABEL: [63],
        Why.REPEATED: [64, 65],
    }
    parts = (found.splits.train, found.splits.calibration, found.splits.holdout)
    assert sorted(row.text for part in parts for row in part) == sorted(text for text in texts(60))
    assert (found.splits.corpus_test, found.splits.pairs) == ((), {})
    assert found.splits.digests == rows.digests


@pytest.mark.parametrize(("rare", "wanted"), [(3, (1, 1, 1)), (4, (2, 1, 1)), (20, (14, 3, 3))])
def test_small_labels_keep_their_shares(rare: int, wanted: tuple[int, int, int], tmp_path: Path) -> None:
    """A label of three rows has one in each part, and one of twenty has its 70, 15 and 15 %."""
    lines = [f"{text},{'rare' if place < rare else 'common'}" for place, text in enumerate(texts(rare + 100))]
    splits = divide(own(tmp_path, lines)).splits
    counts = [Counter(row.tag for row in part) for part in (splits.train, splits.calibration, splits.holdout)]
    assert tuple(count["rare"] for count in counts) == wanted
    assert tuple(count["common"] for count in counts) == (70, 15, 15)


def test_groups_and_near_repeats_stay_together(tmp_path: Path) -> None:
    """Rows of one group, and rows that differ in a word of ten, have one topic and one part; chains hang together."""
    lines = [f"{text} extra words {number},{'ab'[number % 2]},g{number // 3}" for number, text in enumerate(texts(90))]
    # Rows of the groups 0 and 7 that nearly repeat each other bring both groups into one topic.
    lines += ["one two three four five six seven eight nine ten,a,g0", "one two three four five six seven eight nine zehn,b,g7"]
    rows = own(tmp_path, lines, "title,tag,group")
    splits = divide(rows).splits
    part_of = {
        row.text: part for part in ("train", "calibration", "holdout") for row in getattr(splits, part)
    }  # fmt: skip
    groups: dict[str, set[str]] = {}
    for line in lines:
        text, _, group = line.split(",")
        groups.setdefault("g0" if group == "g7" else group, set()).add(part_of[text])
    assert {len(parts) for parts in groups.values()} == {1}
    assert {part for parts in groups.values() for part in parts} == {"train", "calibration", "holdout"}


def test_a_label_of_large_groups_alone_is_in_every_part(tmp_path: Path) -> None:
    """Where each group is larger than a part should be, the smallest is held back."""
    lines = [f"{text},a,g{number % 3}" for number, text in enumerate(texts(90))]
    splits = divide(own(tmp_path, lines, "title,tag,group")).splits
    assert [len(part) for part in (splits.train, splits.calibration, splits.holdout)] == [30, 30, 30]


def test_the_split_does_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    """The hash decides, so a file sorted anew has the same parts."""
    lines = [f"{text},{tag}" for text, tag in zip(texts(60), "ab" * 30, strict=True)]
    one, other = divide(own(tmp_path, lines)).splits, divide(own(tmp_path, lines[::-1])).splits
    assert {row.text for row in one.train} == {row.text for row in other.train}
    assert {row.text for row in one.holdout} == {row.text for row in other.holdout}


def test_the_column_decides_where_there_is_one(tmp_path: Path) -> None:
    """Parts are as given; a training row that nearly repeats a test row is left out, and the test row stays."""
    lines = [
        f"{text},{tag},{part}" for text, tag, part in zip(texts(30), "ab" * 15, ["train", "val", "test"] * 10, strict=True)
    ]
    words = texts(30)[2]
    rows = own(tmp_path, [*lines, f"again {words},a,train"], "title,tag,split")
    found = divide(rows)
    assert [len(part) for part in (found.splits.train, found.splits.calibration, found.splits.holdout)] == [10, 10, 10]
    assert [row.line for row in found.left_out[Why.NEAR_PART]] == [32]
    assert found.splits.near_duplicates_removed == 1


def test_a_column_without_calibration_rows_gives_some_of_the_training_rows(tmp_path: Path) -> None:
    """Many data sets have train and test alone."""
    lines = [
        f"{text},{tag},{part}" for text, tag, part in zip(texts(80), "ab" * 40, ["train"] * 60 + ["test"] * 20, strict=True)
    ]
    splits = divide(own(tmp_path, lines, "title,tag,split")).splits
    assert [len(part) for part in (splits.train, splits.calibration, splits.holdout)] == [50, 10, 20]


def test_the_gold_set_is_the_holdout_and_keeps_its_rows(tmp_path: Path) -> None:
    """Rows that the gold set has or nearly has are left out of the rows to learn from; none is held back to test on."""
    found = texts(42)
    gold = own(tmp_path, [f"{text},a" for text in found[:2]], name="gold.csv")
    lines = [f"{text},{tag}" for text, tag in zip(found[2:], "ab" * 20, strict=True)]
    rows = own(tmp_path, [*lines, f"{found[0].upper()},b", f"{found[1]} again,a"])
    made = divide(rows, gold)
    assert [row.text for row in made.splits.holdout] == found[:2]
    assert (len(made.splits.train), len(made.splits.calibration)) == (32, 8)
    assert {why: [row.line for row in rows] for why, rows in made.left_out.items()} == {Why.IN_GOLD: [42], Why.NEAR_GOLD: [43]}
    assert (made.splits.digests, made.splits.gold_digests) == (rows.digests, gold.digests)


def test_two_test_sets_are_refused(tmp_path: Path) -> None:
    """A test part beside a gold set would silently be wasted."""
    rows = own(
        tmp_path, [f"{text},a,{part}" for text, part in zip(texts(4), ["train", "test"] * 2, strict=True)], "title,tag,split"
    )
    with pytest.raises(RowsError, match=r"rows\.csv, lines 3 and 5: these rows are the test part.* Next: "):
        divide(rows, own(tmp_path, ["a gold row,a"], name="gold.csv"))


def test_titles_of_described_rows_are_unlabelled_texts(tmp_path: Path) -> None:
    """As of the project's own rows: a student imitates on them."""
    lines = [f"{text},{text} and more,a" for text in texts(10)]
    splits = divide(own(tmp_path, lines, "title,description,tag")).splits
    assert sorted(row.text for row in splits.unlabelled) == sorted(row.title for row in splits.train)


def test_rows_of_the_base_join_where_labels_are_the_same(tmp_path: Path) -> None:
    """Other labels stay out, and a base that has none of the labels is refused."""
    rows = own(tmp_path, [f"{text},{tag}" for text, tag in zip(texts(40), "ab" * 20, strict=True)])
    extra = divide(own(tmp_path, [f"{text},{tag}" for text, tag in zip(texts(40, seed=6), "bc" * 20, strict=True)])).splits
    alone, both = divide(rows).splits, divide(rows, base=extra).splits
    assert len(both.train) == len(alone.train) + sum(row.tag == "b" for row in extra.train)
    assert both.labels == ("a", "b")
    assert both.holdout == alone.holdout
    foreign = Splits(train=(), calibration=(), holdout=(), corpus_test=(), unlabelled=(), near_duplicates_removed=0)
    with pytest.raises(RowsError, match=r"none of tagstream's own labels.* Next: leave --base-corpus out"):
        divide(rows, base=foreign)


@pytest.mark.parametrize("part", ["train", "calibration", "corpus_test"])
@pytest.mark.parametrize("repeated", ["train", "calibration", "holdout"])
def test_a_row_of_the_base_that_nearly_repeats_one_of_the_users_is_left_out(part: str, repeated: str, tmp_path: Path) -> None:
    """The user's row stays in whichever parts the two lie, and the base's is counted as removed."""
    rows = own(tmp_path, [f"{text},{tag}" for text, tag in zip(texts(40), "ab" * 20, strict=True)])
    alone = divide(rows).splits
    near = replace(getattr(alone, repeated)[0], text=f"{getattr(alone, repeated)[0].text} more", source="corpus")
    other = Row(text="a text like no other", tag="a", source="corpus", topic="other")
    parts: dict[str, tuple[Row, ...]] = dict.fromkeys(("train", "calibration", "corpus_test"), (other,))
    base = Splits(**parts | {part: (other, near)}, holdout=(), unlabelled=(), near_duplicates_removed=0)
    both = divide(rows, base=base).splits
    assert (both.train, both.calibration) == ((*alone.train, other), (*alone.calibration, other))
    assert both.corpus_test == (other,)
    assert both.near_duplicates_removed == 1


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "one two three", "ONE two  three", "four five six", "one two three four five", "x y"]), st.sampled_from(["", "a", "b", "off_subject"])),
        min_size=1,
        max_size=12,
    ),
    st.booleans(),
)  # fmt: skip
def test_no_row_is_lost_whatever_the_rows_are(drawn: list[tuple[str, str]], with_gold: bool) -> None:
    """Every row is in one part or left out for one reason, and no part shares a text with another one."""
    rows = OwnRows(
        name="rows.csv",
        unit="line",
        rows=tuple(
            OwnRow(line=line, row=Row(text=text, tag=tag, source="own", topic=text))
            for line, (text, tag) in enumerate(drawn, start=2)
        ),
        digests={},
    )
    gold = OwnRows(name="gold.csv", unit="line", rows=rows.rows[:1], digests={}) if with_gold else None
    found = divide(rows, gold)
    left_out = [own.line for owns in found.left_out.values() for own in owns]
    assert sorted([*left_out, *found.topics]) == list(range(2, len(drawn) + 2))
    parts = [found.splits.train, found.splits.calibration, *([] if with_gold else [found.splits.holdout])]
    assert sum(map(len, parts)) == len(found.topics)
    texts_of = [
        {row.text.casefold() for row in part} for part in (found.splits.train, found.splits.calibration, found.splits.holdout)
    ]
    assert all(left.isdisjoint(right) for left, right in combinations(texts_of, 2))
