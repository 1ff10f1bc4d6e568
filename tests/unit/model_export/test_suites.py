"""Behaviour suites: what is asked, what counts as held, and that nothing of them is learned from."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from model_export import data, duplicates, lexicon, suites
from model_export.madewithml import DataError
from model_export.prediction import Prediction
from model_export.text import compose


class Keyword:
    """Says `computer-vision` to whatever mentions an image, else `other`."""

    labels = data.LABELS

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """Predict every text."""
        return [
            Prediction(
                label="computer-vision" if "image" in text else "other",
                confidence=1.0,
                probabilities={},
                energy=0.0,
                tokens=3,
                truncated=False,
            )
            for text in texts
        ]


def folder(path: Path, *, breadth: str, direction: str, invariance: str) -> Path:
    """A folder with three suites of one line each."""
    for name, line in (("breadth", breadth), ("direction", direction), ("invariance", invariance)):
        (path / f"{name}.jsonl").write_text(line + "\n", encoding="utf-8")
    return path


def test_cases_that_fail_are_named(tmp_path: Path) -> None:
    """A wrong label and a label that a change moves are failures; a right one is not."""
    place = folder(
        tmp_path,
        breadth='{"title": "image of a cat", "tag": "computer-vision", "group": "vision"}',
        direction='{"title": "cat", "description": "in an image", "tag": "other", "group": "cats"}',
        invariance='{"title": "An image", "change": "An imgae", "group": "typo"}',
    )
    found = {report.suite: (report.passed, report.failed) for report in suites.run(Keyword(), place)}
    assert found == {"breadth": (1, ()), "direction": (0, ("cat",)), "invariance": (0, ("An imgae",))}
    assert "1 of 3 cases hold" in suites.render(suites.run(Keyword(), place))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "breadth.jsonl:1 is no case"),
        ('{"title": "a", "group": "b"}', "missing required field `tag`"),
        ('{"title": "a", "tag": "nlp", "group": "b"}', "'nlp', which is no label"),
        ("", "no case"),
    ],
)
def test_a_line_that_is_no_case_is_an_error(tmp_path: Path, line: str, reason: str) -> None:
    """A suite that cannot be asked must not pass for one that holds."""
    good = '{"title": "a", "change": "b", "group": "c"}'
    place = folder(tmp_path, breadth=line, direction=line, invariance=good)
    with pytest.raises(DataError, match=reason):
        suites.run(Keyword(), place)


def test_missing_suite_is_an_error(tmp_path: Path) -> None:
    """Nothing asked is not everything held."""
    with pytest.raises(DataError, match="cannot be read"):
        suites.run(Keyword(), tmp_path)


def test_nothing_of_the_suites_is_learned_from() -> None:
    """No row of corpus or lexicon nearly repeats a case: what was learned is no test."""
    expected = [
        case for suite in suites.EXPECTATIONS for case in suites.read(suites.SUITES / f"{suite}.jsonl", suites.Expectation)
    ]
    texts = [compose(case.title, case.description) for case in expected]
    assert len(texts) > 100
    learned = [row.text for row in data.read_corpus(data.CORPUS)]
    learned += [compose(row.title, row.description) for row in lexicon.rows()]
    _, repeated = duplicates.split_near_duplicates(texts, learned, key=str)
    assert repeated == []
