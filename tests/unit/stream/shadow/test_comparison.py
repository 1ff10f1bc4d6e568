"""Two decisions on each of many events: what is counted, and that JSON keeps it."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.model_export.compare.comparison import MOST_SHOWN, OTHER_SOURCES, SOURCE, Comparison, RowDecision
from tagstream.model_export.measure.slices import MOST_VALUES
from tagstream.model_export.report import comparison as words
from tagstream.stream.contract.event import ContentEvent, Record, decode
from tagstream.stream.contract.outcome import NeedsReview, Outcome, Tagged
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.shadow.comparison import add, decided_of

TAGS = ("mlops", "other", "computer-vision")
SIDES = st.builds(
    RowDecision,
    tag=st.sampled_from(TAGS),
    confidence=st.floats(0, 1),
    destination=st.sampled_from(("tagged", "review")),
    digest=st.sampled_from(("a" * 64, "b" * 64)),
    figures=st.binary(min_size=1, max_size=1),
)
ANSWERS = st.sampled_from((None, *TAGS, "off_subject"))


def event(number: int, **fields: str) -> ContentEvent:
    """An event at an offset."""
    value = msgspec.json.encode({"id": f"e-{number}", "title": f"A title {number}", **fields})
    found = decode(Record(key=None, value=value, topic="content", partition=2, offset=number))
    assert isinstance(found, ContentEvent)
    return found


def outcomes(pipeline: Pipeline, *titles: str) -> list[Outcome]:
    """What the pipeline decides on events with these titles."""
    return pipeline.decide([Record(key=None, value=msgspec.json.encode({"id": title, "title": title})) for title in titles])


@given(st.lists(st.tuples(SIDES, SIDES, ANSWERS), max_size=60))
def test_every_figure_adds_up(pairs: list[tuple[RowDecision, RowDecision, str | None]]) -> None:
    """Matrix, doors, labels and slices have each event once; what differs is a row; answers count where tags differ."""
    found = Comparison()
    rows = [add(found, event(number), old, new, answer=_always(said)) for number, (old, new, said) in enumerate(pairs)]
    differ = [old.tag != new.tag for old, new, _ in pairs]
    moved = [old.destination != new.destination for old, new, _ in pairs]
    assert found.compared == len(pairs)
    assert (found.discordant, found.moved) == (sum(differ), sum(moved))
    assert sum(count for row in found.tags.values() for count in row.values()) == len(pairs)
    assert sum(count for old, row in found.tags.items() for new, count in row.items() if old != new) == found.discordant
    assert sum(count for old, row in found.doors.items() for new, count in row.items() if old != new) == found.moved
    assert sum(one.old for one in found.labels.values()) == sum(one.new for one in found.labels.values()) == len(pairs)
    assert [row is not None for row in rows] == [either or other for either, other in zip(differ, moved, strict=True)]
    assert found.shown == [row for row in rows if row is not None][:MOST_SHOWN]
    answered = [(old, new, said) for old, new, said in pairs if old.tag != new.tag and said is not None]
    assert found.answered == len(answered)
    assert found.new_right == sum(said == new.tag for _, new, said in answered)
    assert found.old_right == sum(said == old.tag for old, _, said in answered)
    assert found.neither_right == sum(said not in {old.tag, new.tag} for old, new, said in answered)
    if pairs:
        asked = sum(new.destination == "review" for _, new, _ in pairs)
        assert found.new_review == sum(one.new_review for one in found.labels.values()) == asked
        assert found.share(found.new_review) == pytest.approx(asked / len(pairs))


@given(st.lists(st.tuples(SIDES, SIDES, ANSWERS), max_size=30), st.integers(0, 30))
def test_a_comparison_that_json_kept_goes_on(pairs: list[tuple[RowDecision, RowDecision, str | None]], cut: int) -> None:
    """Written down in the middle and read again, it comes to the same."""
    whole, parted = Comparison(), Comparison()
    for number, (old, new, said) in enumerate(pairs):
        if number == cut:
            parted = msgspec.json.decode(msgspec.json.encode(parted), type=Comparison)
        for one in (whole, parted):
            add(one, event(number), old, new, answer=_always(said))
    assert parted == whole


def test_the_same_decision_has_the_same_figures(pipeline: Pipeline) -> None:
    """Two runs of one model agree in every figure; another threshold is another figure, as is a dead letter none."""
    first, again = (list(map(decided_of, outcomes(pipeline, "maybe translation", "image", ""))) for _ in range(2))
    assert first == again
    assert [one and one.destination for one in first] == ["review", "tagged", None]
    tagged, asked = outcomes(pipeline, "image", "maybe translation")
    assert isinstance(tagged, Tagged)
    assert isinstance(asked, NeedsReview)
    moved = Tagged(event=tagged.event, decision=msgspec.structs.replace(tagged.decision, threshold=0.1))
    before, after = decided_of(tagged), decided_of(moved)
    assert before is not None
    assert after is not None
    assert (before.tag, before.confidence) == (after.tag, after.confidence)
    assert before.figures != after.figures
    refused = outcomes(pipeline, "")[0]
    assert isinstance(refused, Refusal)
    assert decided_of(refused) is None


def test_each_field_of_a_decision_is_compared_or_belongs_to_no_text(pipeline: Pipeline) -> None:
    """A field that a comparison leaves out would let two bundles agree that do not."""
    (asked,) = outcomes(pipeline, "maybe translation")
    assert isinstance(asked, NeedsReview)
    compared = {
        "tag": "another",
        "tags": ("another",),
        "confidence": 0.123,
        "probabilities": {"another": 1.0},
        "threshold": 0.123,
        "truncated": not asked.decision.truncated,
        "reasons": ("another",),
        "text_flags": ("another",),
    }
    # Whose decision it is, and how it was drawn.
    apart = {"prediction_id", "decider", "model", "inclusion_probability"}
    assert {*compared, *apart} == set(asked.decision.__struct_fields__)
    before = decided_of(asked)
    assert before is not None
    for name, value in compared.items():
        after = decided_of(NeedsReview(event=asked.event, decision=msgspec.structs.replace(asked.decision, **{name: value})))
        assert after is not None
        assert after.figures != before.figures, name


def test_no_row_has_a_text_unless_it_is_asked_for() -> None:
    """Titles and descriptions of events are in no row, in no count and in no sentence."""
    old, new = (
        RowDecision(tag=tag, confidence=0.5, destination="tagged", digest="a" * 64, figures=tag.encode()) for tag in TAGS[:2]
    )
    found = Comparison()
    row = add(found, event(1, description="Their words"), old, new)
    assert row is not None
    said = msgspec.json.encode([row, found.as_json()]).decode() + repr(words.tables(found))
    assert "A title" not in said
    assert "Their words" not in said
    with_text = add(found, event(1, description="Their words"), old, new, with_text=True)
    assert with_text is not None
    assert (with_text.title, with_text.description) == ("A title 1", "Their words")


def test_sources_are_told_apart_up_to_a_bound() -> None:
    """A producer that gives each event a source of its own makes no slice of each."""
    side = RowDecision(tag="other", confidence=0.5, destination="tagged", digest="a" * 64, figures=b"a")
    found = Comparison()
    for number in range(3 * MOST_VALUES):
        add(found, event(number, source=f"s-{number}"), side, side)
    assert len(found.slices[SOURCE]) == MOST_VALUES + 1
    assert found.slices[SOURCE][OTHER_SOURCES].compared == 2 * MOST_VALUES


@given(st.lists(st.tuples(SIDES, SIDES, ANSWERS), max_size=40))
def test_the_words_hold_for_any_comparison(pairs: list[tuple[RowDecision, RowDecision, str | None]]) -> None:
    """Tables are rectangular, and the page shows every sentence without a script."""
    found = Comparison()
    for number, (old, new, said) in enumerate(pairs):
        add(found, event(number, source="<script>"), old, new, answer=_always(said))
    said, made = words.sentences(found, new="new", old="old"), words.tables(found)
    assert bool(made) == bool(pairs)
    assert all(len(row) == len(table.head) for table in made for row in table.rows)
    page = words.page("a title", "d" * 64, said, made)
    assert "<script" not in page
    assert page.count("<table>") == len(made)
    if found.discordant:
        assert f"Of {found.discordant:,} discordant {found.answered:,} have an answer" in " ".join(said)


def _always(said: str | None) -> Callable[[str], str | None]:
    return lambda _: said
