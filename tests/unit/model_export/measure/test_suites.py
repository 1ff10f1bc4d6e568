"""Behaviour suites: the cases, when a case holds, and that no case is learned from."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

from tagstream.model_export.bundle.model import OnnxClassifier, Prediction
from tagstream.model_export.bundle.text import compose
from tagstream.model_export.data import duplicates, lexicon, madewithml
from tagstream.model_export.data.corpus import CORPUS, PAIRS, read_corpus
from tagstream.model_export.data.madewithml import DataError
from tagstream.model_export.measure import suites
from tests.foreign import bundles as foreign


class Keyword:
    """Gives `computer-vision` to every text that mentions an image, else `other`."""

    labels = madewithml.LABELS

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


MINIMUM = '{"title": "An image", "tag": "computer-vision", "group": "computer-vision"}'


def folder(path: Path, *, breadth: str, direction: str, invariance: str, minimum: str = MINIMUM) -> Path:
    """A folder with four suites of one line each."""
    suite = {"minimum": minimum, "breadth": breadth, "direction": direction, "invariance": invariance}
    for name, line in suite.items():
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
    assert found == {
        "minimum": (1, ()),
        "breadth": (1, ()),
        "direction": (0, ("cat - in an image (computer-vision, not other)",)),
        "invariance": (0, ("An imgae (computer-vision became other)",)),
    }
    assert "2 of 4 cases hold" in suites.as_table(suites.run(Keyword(), place))


def test_groups_of_a_suite_add_up_and_have_an_interval(tmp_path: Path) -> None:
    """The totals of a suite are the sums of its groups, and few cases have a wide interval."""
    place = folder(
        tmp_path,
        breadth='{"title": "image", "tag": "computer-vision", "group": "a"}\n{"title": "cat", "tag": "mlops", "group": "b"}',
        direction='{"title": "cat", "tag": "other", "group": "cats"}',
        invariance='{"title": "image", "change": "image!", "group": "decoration"}',
    )
    whole = {report.suite: report for report in suites.totals(suites.run(Keyword(), place))}
    assert [report.cases for report in whole.values()] == [1, 2, 1, 1]
    assert (whole["breadth"].passed, whole["breadth"].failed) == (1, ("cat (other, not mlops)",))
    assert whole["breadth"].interval == pytest.approx((0.0945, 0.9055), abs=1e-4)


def test_every_kind_of_case_is_asked_twenty_times() -> None:
    """Each class of the minimum, each change of the invariances and the direction have at least twenty cases."""
    minimum, direction = (
        suites.read_cases(suites.SUITES / f"{name}.jsonl", suites.Expectation) for name in ("minimum", "direction")
    )
    changes = Counter(case.group for case in suites.read_cases(suites.SUITES / "invariance.jsonl", suites.ChangedTitle))
    classes = Counter(case.tag for case in minimum)
    assert set(classes) == set(madewithml.LABELS)
    assert set(changes) >= {"typo", "case", "synonym", "order", "address"}
    assert min(*classes.values(), *changes.values(), len(direction)) >= 20
    assert all(case.group == case.tag for case in minimum)


def test_every_group_of_the_direction_has_more_than_one_answer() -> None:
    """Every group of the direction expects more than one label, so that the decisive word matters."""
    answers = defaultdict(set)
    for case in suites.read_cases(suites.SUITES / "direction.jsonl", suites.Expectation):
        answers[case.group].add(case.tag)
    assert all(len(tags) > 1 for tags in answers.values())


def test_every_change_changes_something_and_none_is_asked_twice() -> None:
    """Every change differs from its title, and no change occurs twice."""
    changes = suites.read_cases(suites.SUITES / "invariance.jsonl", suites.ChangedTitle)
    assert all(case.title != case.change for case in changes)
    assert len({case.change for case in changes}) == len(changes)


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
    """A broken line is an error, so that it does not pass for a case that holds."""
    good = '{"title": "a", "change": "b", "group": "c"}'
    place = folder(tmp_path, breadth=line, direction=line, invariance=good)
    with pytest.raises(DataError, match=reason):
        suites.run(Keyword(), place)


def test_missing_suite_is_an_error(tmp_path: Path) -> None:
    """A missing suite is an error, so that it does not pass for one that holds."""
    with pytest.raises(DataError, match="cannot be read"):
        suites.run(Keyword(), tmp_path)


def test_nothing_of_the_suites_is_learned_from() -> None:
    """No row of corpus or lexicon nearly repeats a case."""
    expected = [
        case
        for suite in suites.EXPECTATIONS
        for case in suites.read_cases(suites.SUITES / f"{suite}.jsonl", suites.Expectation)
    ]
    texts = [compose(case.title, case.description) for case in expected]
    texts += [case.title for case in suites.read_cases(suites.SUITES / "invariance.jsonl", suites.ChangedTitle)]
    assert len(texts) > 400
    learned = [row.text for row in read_corpus(CORPUS)]
    learned += [row.text for row in read_corpus(CORPUS / PAIRS)]
    learned += [compose(row.title, row.description) for row in lexicon.rows()]
    _, repeated = duplicates.split_near_duplicates(texts, learned, key=str)
    assert repeated == []


def own(path: Path, *lines: str) -> Path:
    """A user's suite of these lines."""
    file = path / "mine.jsonl"
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def test_a_suite_of_ones_own_is_one_file_with_both_kinds_of_cases(tmp_path: Path) -> None:
    """Expectations stand under the file's name, changes under invariance, each by its group."""
    found = suites.run_own(
        Keyword(),
        own(
            tmp_path,
            '{"title": "An image", "tag": "computer-vision", "group": "plain"}',
            '{"title": "A cat", "description": "in an image", "tag": "other"}',
            '{"title": "An image", "change": "An imgae", "group": "typo"}',
        ),
    )
    assert {(report.suite, report.group): report.passed for report in found} == {
        ("mine", "plain"): 1,
        ("mine", "all"): 0,
        ("invariance", "typo"): 0,
    }


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"title": "x"}', "either a tag"),
        ('{"title": "x", "tag": "other", "change": "y"}', "either a tag"),
        ('{"title": "x", "change": "y", "description": "z"}', "either a tag"),
        ('{"title": "x", "tag": "spam"}', "'spam', which is no label"),
        ("title,tag", "mine.jsonl:2 is no case"),
    ],
)
def test_a_line_that_is_no_case_is_named(tmp_path: Path, line: str, why: str) -> None:
    """The message has the fault and the next step."""
    with pytest.raises(DataError, match=r"Next: ") as refused:
        suites.run_own(Keyword(), own(tmp_path, '{"title": "An image", "tag": "computer-vision"}', line))
    assert why in str(refused.value)


def test_without_a_suite_the_figures_say_that_there_is_none() -> None:
    """The project's suites are about its own labels; a bundle with others has no figure and no error."""
    assert "not measured" in suites.as_table(())
    assert "--suite FILE" in suites.as_table(())


def test_the_suite_of_the_tickets_is_one(tmp_path: Path) -> None:
    """All its lines are cases, and it expects the labels of the tickets alone."""
    tickets = Path(__file__).parents[4] / "examples" / "tickets" / "suite.jsonl"
    bundle = foreign.write(tmp_path)
    reports = suites.run_own(OnnxClassifier(bundle), tickets)
    assert sum(report.cases for report in reports) == 26
