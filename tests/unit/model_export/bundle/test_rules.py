"""The keyword rules count whole words, never reach certainty, and have a digest."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, read
from tagstream.model_export.bundle.rules import RULES, RulesClassifier, RulesError, draft
from tagstream.model_export.data.madewithml import LABELS

CLASSIFIER = RulesClassifier()
TICKETS = Path(__file__).parents[4] / "examples" / "tickets" / "rules.toml"


@pytest.mark.parametrize(
    ("text", "label", "confidence"),
    [
        ("Segmentation of images", "computer-vision", 0.5),
        ("Sentiment of tweets about images", "natural-language-processing", 0.4286),
        ("Monitoring drift in production", "mlops", 0.5714),
        ("Image of a deployment", "mlops", 0.3333),
        ("Reimagining contexts", "other", 0.25),
        ("", "other", 0.25),
    ],
)
def test_rules_count_whole_words(text: str, label: str, confidence: float) -> None:
    """The label with the most whole words wins, a tie goes to the first in the file, and its share is the confidence."""
    (found,) = CLASSIFIER.classify([text])
    assert (found.label, found.confidence) == (label, confidence)


def test_every_label_has_rules() -> None:
    """Every label has keywords; otherwise the rules could never predict it."""
    assert {found.label for found in CLASSIFIER.classify(["mlops", "nlp", "image", "speech"])} == set(LABELS)


def test_the_labels_are_the_bundles_in_its_order() -> None:
    """Rules and bundle list the labels in one order, so reviewers see the probabilities in the same order."""
    assert CLASSIFIER.labels == LABELS == read(DEFAULT_BUNDLE).manifest.labels


@given(st.lists(st.sampled_from([*RULES.read_text(encoding="utf-8").split('"')[1::2], "maybe"])).map(" ".join))
def test_no_number_of_words_makes_the_rules_certain(text: str) -> None:
    """The confidence stays below 1, and so below the threshold of 1 that is published with it."""
    assert CLASSIFIER.classify([text])[0].confidence < 1


def test_the_digest_is_of_the_file_and_belongs_to_one_version() -> None:
    """A change of the rules needs a new version, since prediction ids contain the digest; both are fixed here."""
    assert hashlib.sha256(RULES.read_bytes()).hexdigest() == CLASSIFIER.digest
    assert (CLASSIFIER.version, CLASSIFIER.digest[:16]) == ("2", "3ab9abcc9698a369")


def test_a_file_of_ones_own_decides_by_its_own_words() -> None:
    """A label's words win; a text with none of them gets the label that the file says."""
    own = RulesClassifier(TICKETS)
    found = own.classify(["Please refund the invoice", "Which colour has the moon?"])
    assert [prediction.label for prediction in found] == ["billing", "how-to"]
    assert tuple(found[0].probabilities) == own.labels
    assert own.digest != CLASSIFIER.digest


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("version = 1\n[words]\na = []\n", "2 to 1,000 labels"),
        ('version = 1\notherwise = "c"\n[words]\na = []\nb = []\n', "'c'"),
        ('version = 1\n[words]\na = "x"\nother = []\n', "array"),
        ("version = 1\n[words]\na = ['']\nother = []\n", "length >= 1"),
        ("version = 0\n[words]\na = []\nother = []\n", ">= 1"),
        ("[words]\na = []\nother = []\n", "version"),
        ("version = ", "Invalid value"),
        ("version = 1\n[words]\nother = []\n" + "".join(f"{n} = []\n" for n in range(1000)), "2 to 1,000 labels"),
        (f"version = 1\n[words]\nother = []\n{'a' * 257} = []\n", "1 to 256 characters"),
        ("version = 1\nlabels = []\n[words]\na = []\nother = []\n", "labels"),
    ],
)
def test_what_is_no_file_of_rules_is_refused_with_the_fault(tmp_path: Path, text: str, why: str) -> None:
    """The message names the file, the fault and the command that writes a right one."""
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(
        RulesError, match=r"rules\.toml holds no keyword rules: .* Next: .*tagstream model inspect --draft-rules"
    ) as refused:
        RulesClassifier(path)
    assert why in str(refused.value)
    with pytest.raises(RulesError, match="No such file"):
        RulesClassifier(tmp_path / "nowhere.toml")


def test_rules_for_other_labels_than_the_bundles_are_refused_by_name() -> None:
    """Both sides are named, a long list with its number; the same labels in another order are right."""
    own = RulesClassifier(TICKETS)
    own.check_labels(tuple(reversed(own.labels)), of=Path("bundle"))
    with pytest.raises(
        RulesError, match=r"the rules have how-to, which the bundle b has not; spam of the bundle b has no rules"
    ):
        own.check_labels((*(label for label in own.labels if label != "how-to"), "spam"), of=Path("b"))
    with pytest.raises(
        RulesError, match=r"computer-vision, mlops, natural-language-processing, other.*and 2 more of the bundle"
    ):
        CLASSIFIER.check_labels(own.labels, of=Path("b"))


def test_a_draft_is_a_file_of_rules(tmp_path: Path) -> None:
    """A label of any name is in the empty file, and can stand in at once: it guesses the first label."""
    labels = ("how to", 'a "quoted" one', "\u00e9t\u00e9", "back\\slash")
    path = tmp_path / "rules.toml"
    path.write_text(draft(labels))
    made = RulesClassifier(path)
    assert set(made.labels) == set(labels)
    assert made.classify(["anything"])[0].label == labels[0]
