"""The guidelines of a user's labels, beside the answers."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.stream.review.console import guidelines
from tagstream.stream.review.console.access import Remembered
from tagstream.stream.review.console.guidelines import Guidelines, GuidelinesError
from tagstream.stream.review.store.records import Door
from tests.cold import begun_with
from tests.console.real_console import ReviewDesk, item
from tests.foreign.labels import MANY, TICKETS
from tests.unit.stream.review.console.conftest import client_of

FILE = Path(__file__).parents[5] / "examples" / "tickets" / "guidelines.md"


def test_they_stand_beside_the_answers_of_a_bundle_with_other_labels(queue: ReviewDesk) -> None:
    """Each label is a button and a row of the table; without a file nothing speaks of guidelines."""
    queue.add(item("T-1", "App crashes", tag="bug", labels=TICKETS))
    page = client_of(queue, guidelines=Guidelines(text=guidelines.read(FILE))).get("/").text
    for label in TICKETS:
        assert f'<button name="tag" value="{label}"' in page
        assert f"<td><code>{label}</code></td>" in page
    assert "Guidelines" not in client_of(queue).get("/").text


def test_the_shipped_guidelines_are_shown_for_the_shipped_labels_alone(queue: ReviewDesk) -> None:
    """A console that was given no file says what the default bundle's labels mean, and nothing of a bundle with other labels."""
    shipped = guidelines.shipped()
    assert shipped.labels is not None
    queue.add(item("T-1", "A card game with attention", tag="other", labels=sorted(shipped.labels)))
    page = client_of(queue, guidelines=shipped).get("/").text
    assert "<td><code>mlops</code></td>" in page
    assert "which channel would a reader subscribe to" in page
    queue.add(item("T-2", "App crashes", tag="bug", labels=TICKETS))
    assert "Guidelines" not in client_of(queue, Remembered(name="grace"), guidelines=shipped).get("/").text


def test_the_sentences_of_a_bundle_that_was_begun_in_words_are_shown_at_once(
    queue: ReviewDesk, tiny_bundle_folder: Path, tmp_path: Path
) -> None:
    """A person who chooses sees what each label means, as text; an item of other labels has nothing."""
    said = {"bug": {"about": "Something is <b>broken</b>."}, "access": {"about": "Nobody gets in."}}
    words = guidelines.of_bundle(begun_with(said, tiny_bundle_folder, tmp_path / "begun"))
    assert words is not None
    queue.add(item("T-1", "App crashes", tag="bug", labels=tuple(said)))
    page = client_of(queue, guidelines=words).get("/").text
    assert '<details class="guidelines" open>' in page
    assert '<p dir="auto"><b><bdi>bug</bdi></b> Something is &lt;b&gt;broken&lt;/b&gt;.</p>' in page
    queue.add(item("T-2", "Charged twice", tag="billing", labels=("billing", "bug")))
    assert "Guidelines" not in client_of(queue, Remembered(name="grace"), guidelines=words).get("/").text


def test_other_bundles_and_none_say_nothing_of_labels(tiny_bundle_folder: Path, tmp_path: Path) -> None:
    """The console needs no bundle."""
    assert guidelines.of_bundle(tiny_bundle_folder) is None
    assert guidelines.of_bundle(tmp_path / "none") is None


def test_a_link_to_a_file_beside_the_guidelines_is_only_its_words() -> None:
    """The console does not serve that file; a link to a page elsewhere stays."""
    shown = guidelines.rendered("See [the trials](../trials.md) and [the lesson](https://lesson.example/a).")
    assert shown == '<p>See the trials and <a href="https://lesson.example/a">the lesson</a>.</p>\n'


def test_77_labels_are_all_there_the_first_nine_with_keys(queue: ReviewDesk) -> None:
    """The likeliest first; on a blind item in the bundle's order, which tells nothing."""
    queue.add(item("T-2", "Was I charged twice?", tag="fee-wrong", labels=MANY), Door.AUDIT)
    blind = client_of(queue).get("/").text
    assert re.findall(r'name="tag" value="([^"]+)"', blind)[:-1] == list(MANY)
    queue.add(item("T-1", "Where is my card?", tag="card-arrival", labels=MANY))
    page = client_of(queue, Remembered(name="grace")).get("/").text
    assert re.findall(r'name="tag" value="([^"]+)"', page)[0] == "card-arrival"
    assert page.count('<button name="tag"') == 78
    assert 'class="choices many"' in page
    assert all(f'data-key="{key}"' in page for key in range(10))


@given(st.text(max_size=80).filter(str.strip))
def test_no_text_of_the_file_becomes_a_tag_that_it_has_written(text: str) -> None:
    """Script, style and pictures of a file are shown as text or not at all."""
    shown = guidelines.rendered(
        f"<script>{text}</script> ![x](http://elsewhere.example/{text})\n\n[a](javascript:alert(1)) {text}"
    )
    lowered = shown.lower()
    assert "<script" not in lowered
    assert "<img" not in lowered
    assert 'href="javascript' not in lowered


def test_a_table_with_aligned_columns_has_no_style_of_its_own() -> None:
    """The policy of the pages forbids one, and the browser would complain."""
    shown = guidelines.rendered("| a | b |\n|:--|--:|\n| 1 | 2 |")
    assert "<td>1</td>" in shown
    assert "style" not in shown


@pytest.mark.parametrize(
    ("content", "why"), [(None, "cannot be read"), (b"", "is empty"), (b"\xff", "is not UTF-8"), (b"a" * 300_000, "is larger")]
)
def test_a_file_that_cannot_be_shown_is_refused(tmp_path: Path, content: bytes | None, why: str) -> None:
    """Before the console starts, with the next step."""
    file = tmp_path / "guidelines.md"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(GuidelinesError, match=rf"{why}.*Next: give a Markdown file"):
        guidelines.read(file)
