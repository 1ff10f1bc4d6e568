"""The prices in costs.toml: one price or one a label, and a sentence for each wrong line."""

from pathlib import Path

import pytest

from tagstream.monitoring.quality.costs import Costs, CostsError, read, read_file


def test_one_price_holds_for_each_label(tmp_path: Path) -> None:
    """The currency may be left out."""
    (tmp_path / "costs.toml").write_text("person_minute = 0.8\nwrong_publication = 5\n", encoding="utf-8")
    found = read(tmp_path)
    assert found is not None
    assert (found.person_minute, found.currency, found.of_mistakes(("a", "b")).tolist()) == (
        0.8,
        "",
        [[0.0, 5.0, 5.0], [5.0, 0.0, 5.0]],
    )


def test_a_table_has_a_price_for_each_label(tmp_path: Path) -> None:
    """In the order of the bundle's labels; further labels are those of other bundles."""
    text = 'currency = "EUR"\nperson_minute = 1\n[wrong_publication]\nmlops = 20\nother = 0\nold = 3\n'
    (tmp_path / "costs.toml").write_text(text, encoding="utf-8")
    found = read(tmp_path)
    assert found is not None
    assert (found.currency, found.of_mistakes(("other", "mlops")).tolist()) == ("EUR", [[0.0] * 3, [20.0, 0.0, 20.0]])
    with pytest.raises(CostsError, match=r"costs.toml has no price of a wrong publication of vision.* Next: give each label"):
        found.of_mistakes(("mlops", "other", "vision"))


LABELS = ("mlops", "other", "vision")


def costs_in(tmp_path: Path, text: str) -> Costs:
    """Read the prices of a text."""
    (tmp_path / "prices.toml").write_text(text, encoding="utf-8")
    return read_file(tmp_path / "prices.toml")


def test_a_label_has_one_price_or_a_price_by_the_truth(tmp_path: Path) -> None:
    """None of the labels has its own line, or costs as much as the dearest truth; what is right costs nothing."""
    text = "item = 0.5\n[wrong_publication]\nother = 1\nvision = {mlops = 4, other = 2}\n[wrong_publication.mlops]\nother = 3\n"
    found = costs_in(tmp_path, f"{text}vision = 7\noff_subject = 9\n")
    assert found.of_mistakes(LABELS).tolist() == [[0, 3, 7, 9], [1, 0, 1, 1], [4, 2, 0, 4]]
    assert (found.of_item(), found.person_minute) == (0.5, None)


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ("other = 3", "no price of publishing mlops where the truth is vision"),
        ("other = 3\nvisoin = 7", "where the truth is vision; visoin is no label of the stream"),
        ("other = 3\nvision = 7\nmlops = 1", "has a price for the truth mlops, and then mlops is right"),
    ],
)
def test_a_confusion_that_could_be_read_in_two_ways_is_refused(tmp_path: Path, own: str, said: str) -> None:
    """A truth without a price, a name that is no label, and a label that is published for itself."""
    found = costs_in(tmp_path, f"item = 1\n[wrong_publication]\nother = 1\nvision = 1\n[wrong_publication.mlops]\n{own}\n")
    with pytest.raises(CostsError, match=rf"prices\.toml.*{said}.*Next: "):
        found.of_mistakes(LABELS)


def test_minutes_are_no_price_of_an_item_where_nobody_has_measured_them(tmp_path: Path) -> None:
    """The next step names the line to write."""
    with pytest.raises(CostsError, match=r"how many minutes an item takes is not known here.* such as item = 0\.5"):
        costs_in(tmp_path, "person_minute = 1\nwrong_publication = 5").of_item()


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    """Another than `costs.toml` in the working directory, which may be missing."""
    with pytest.raises(CostsError, match=r"none\.toml does not exist\. Next: "):
        read_file(tmp_path / "none.toml")


def test_without_the_file_there_are_no_prices(tmp_path: Path) -> None:
    """That is no error."""
    assert read(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("person_minute = ", "is not TOML"),
        ("wrong_publication = 5", "has no person_minute and no item"),
        ("person_minute = 1\nitem = 1\nwrong_publication = 5", "two prices of the same work"),
        ("item = -0.5\nwrong_publication = 5", "item = -0.5 is not a price"),
        ("item = -1\nwrong_publication = 5", "item = -1 is not a price"),
        (
            "item = 1\n[wrong_publication.mlops]\nother = -3",
            r"wrong_publication\.mlops\.other = -3 is not a price",
        ),
        (
            "item = 1\n[wrong_publication.mlops.other]\nmore = 3",
            r"wrong_publication\.mlops\.other = .* is not a price",
        ),
        ("person_minute = 1", "has no wrong_publication"),
        ("person_minute = -1\nwrong_publication = 5", "person_minute = -1 is not a price"),
        ("person_minute = 1\nwrong_publication = nan", "wrong_publication = nan is not a price"),
        ("person_minute = 1\nwrong_publication = inf", "wrong_publication = inf is not a price"),
        ("person_minute = true\nwrong_publication = 5", "person_minute = True is not a price"),
        ("person_minute = 1\nwrong_publication = 1e300", r"wrong_publication = 1e\+300 is not a price"),
        (f"person_minute = 1{'0' * 400}\nwrong_publication = 5", r"person_minute = 10+\.\.\.0+ is not a price"),
        (f"person_minute = 1{'0' * 5_000}\nwrong_publication = 5", "is not TOML"),
        (f"person_minute = {'[' * 100_000}", "is not TOML"),
        ("person_minute = '1'\nwrong_publication = 5", "person_minute = '1' is not a price"),
        ("person_minute = 1\n[wrong_publication]\nmlops = -2", r"wrong_publication\.mlops = -2 is not a price"),
        ("person_minutes = 1\nwrong_publication = 5", "person_minutes is not known. The nearest price is person_minute"),
        ("zebra = 1", "zebra is not known. The file has person_minute, item, wrong_publication, currency"),
        ("currency = 3\nperson_minute = 1\nwrong_publication = 5", "currency is not a text"),
    ],
)
def test_a_wrong_file_is_told_with_the_next_step(tmp_path: Path, text: str, said: str) -> None:
    """The file, the line and the reason."""
    (tmp_path / "costs.toml").write_text(text, encoding="utf-8")
    with pytest.raises(CostsError, match=rf"costs\.toml.*{said}.*Next: ") as refused:
        read(tmp_path)
    assert refused.value.exit_code == 2


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A folder of that name is no file, and bytes that are no text are no TOML."""
    (tmp_path / "costs.toml").mkdir()
    with pytest.raises(CostsError, match=r"cannot be read .* Next: "):
        read(tmp_path)
    (tmp_path / "costs.toml").rmdir()
    (tmp_path / "costs.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(CostsError, match=r"is not TOML .* Next: "):
        read(tmp_path)
