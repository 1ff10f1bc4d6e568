"""Labels in words: what a file of them says, and that a file that says too little is refused with the next step."""

from pathlib import Path

import pytest

from tagstream.model_export.data.own import labels
from tagstream.model_export.data.own.read import read_own
from tagstream.model_export.data.reader import RowsError

TICKETS = Path(__file__).parents[5] / "examples" / "tickets"
BILLING = '[labels.billing]\nabout = "Money between a customer and us."\n'
ACCESS = '[labels.access]\nabout = "Who may get in."\n'


def written(folder: Path, text: str) -> Path:
    """A file of labels."""
    path = folder / "labels.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_words_of_a_label_are_rows_of_it(tmp_path: Path) -> None:
    """Name, sentence, keywords and examples are texts of the label, each once, and each with a topic of its own."""
    more = '[labels."how-to"]\nabout = "A question."\nkeywords = ["how", "where"]\nexamples = ["How do I?", "how to"]\n'
    found = labels.read(written(tmp_path, BILLING + more)).rows()
    assert found.labels == ("billing", "how-to")
    texts = [(own.row.tag, own.row.text) for own in found.rows]
    assert texts[:2] == [("billing", "billing"), ("billing", "Money between a customer and us.")]
    assert sorted(text for tag, text in texts if tag == "how-to") == ["A question.", "How do I?", "how to", "how, where"]
    assert len({own.row.topic for own in found.rows}) == len(found.rows)


def test_a_manifest_keeps_them(tmp_path: Path) -> None:
    """What a bundle's record says is what the file said."""
    found = labels.read(written(tmp_path, BILLING + ACCESS))
    assert labels.of_record({"other": 1, **found.as_record()}, tmp_path).labels == found.labels


def test_a_bundle_that_was_made_otherwise_is_refused(tmp_path: Path) -> None:
    """Its labels are in no words, and the message names the other way."""
    with pytest.raises(RowsError, match=r"not begun by `tagstream model start`.*Next: .*train --data"):
        labels.of_record({"quick": {}}, tmp_path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "missing required field `labels`"),
        ("[labels]\n", "it has 0, and a model has 2 to 100 labels"),
        (BILLING, "it has 1, and a model has 2 to 100 labels"),
        (BILLING + BILLING, "Cannot declare"),
        (BILLING + ACCESS.replace("access", "Billing"), "'billing' and 'Billing' are the same"),
        (BILLING + BILLING.replace("billing", "money"), "'billing' and 'money' are the same"),
        (BILLING + "[labels.access]\n", "missing required field `about`"),
        (BILLING + '[labels.access]\nabout = " "\n', "`about` of 'access' is empty"),
        (BILLING + '[labels.access]\nabout = "Access"\n', "says no more than its name"),
        (BILLING + ACCESS + 'keyword = ["key"]\n', "unknown field `keyword`"),
        (BILLING + ACCESS + 'keywords = "key"\n', "Expected `array`"),
        (BILLING + ACCESS.replace("access", "off_subject"), "cannot be called 'off_subject'"),
        ("billing: money\n", "Expected '='"),
    ],
)
def test_a_file_that_says_too_little_is_refused(tmp_path: Path, text: str, why: str) -> None:
    """The message names the file, the reason and the next step."""
    with pytest.raises(RowsError) as refused:
        labels.read(written(tmp_path, text))
    assert str(refused.value).startswith(f"{tmp_path / 'labels.toml'} does not say what labels mean: ")
    assert why in str(refused.value)
    assert "Next: write for each label a table [labels.NAME]" in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """The message says that it cannot be read."""
    with pytest.raises(RowsError, match="it cannot be read: No such file"):
        labels.read(tmp_path / "none.toml")


def test_the_example_has_the_labels_of_its_rows() -> None:
    """`examples/tickets/labels.toml` can be started with."""
    assert labels.read(TICKETS / "labels.toml").rows().labels == read_own(TICKETS / "gold.csv").labels
