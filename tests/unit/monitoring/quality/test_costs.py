"""The prices in costs.toml: one price or one a label, and a sentence for each wrong line."""

from pathlib import Path

import pytest

from tagstream.monitoring.quality.costs import CostsError, read


def test_one_price_holds_for_each_label(tmp_path: Path) -> None:
    """The currency may be left out."""
    (tmp_path / "costs.toml").write_text("person_minute = 0.8\nwrong_publication = 5\n", encoding="utf-8")
    found = read(tmp_path)
    assert found is not None
    assert (found.person_minute, found.currency, found.of_labels(("a", "b")).tolist()) == (0.8, "", [5.0, 5.0])


def test_a_table_has_a_price_for_each_label(tmp_path: Path) -> None:
    """In the order of the bundle's labels; further labels are those of other bundles."""
    text = 'currency = "EUR"\nperson_minute = 1\n[wrong_publication]\nmlops = 20\nother = 0\nold = 3\n'
    (tmp_path / "costs.toml").write_text(text, encoding="utf-8")
    found = read(tmp_path)
    assert found is not None
    assert (found.currency, found.of_labels(("other", "mlops")).tolist()) == ("EUR", [0.0, 20.0])
    with pytest.raises(CostsError, match=r"costs.toml has no price of a wrong publication of vision.* Next: give each label"):
        found.of_labels(("mlops", "other", "vision"))


def test_without_the_file_there_are_no_prices(tmp_path: Path) -> None:
    """That is no error."""
    assert read(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("person_minute = ", "is not TOML"),
        ("wrong_publication = 5", "has no person_minute"),
        ("person_minute = 1", "has no wrong_publication"),
        ("person_minute = -1\nwrong_publication = 5", "person_minute = -1 is not a price"),
        ("person_minute = 1\nwrong_publication = nan", "wrong_publication = nan is not a price"),
        ("person_minute = 1\nwrong_publication = inf", "wrong_publication = inf is not a price"),
        ("person_minute = true\nwrong_publication = 5", "person_minute = True is not a price"),
        ("person_minute = '1'\nwrong_publication = 5", "person_minute = '1' is not a price"),
        ("person_minute = 1\n[wrong_publication]\nmlops = -2", r"wrong_publication\.mlops = -2 is not a price"),
        ("person_minutes = 1\nwrong_publication = 5", "person_minutes is not known. The nearest price is person_minute"),
        ("zebra = 1", "zebra is not known. The file has person_minute, wrong_publication, currency"),
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
