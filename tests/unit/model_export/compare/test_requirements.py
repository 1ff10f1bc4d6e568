"""Requirements on a bundle: what a person may write, what a figure is read from, and when a bundle is refused."""

import math
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from tagstream.model_export.compare import contestants, evaluation_record, requirements
from tagstream.model_export.compare.evaluation_record import Measured, Versus
from tagstream.model_export.compare.requirements import FIGURES, AtLeast, RequirementError, judge, parse
from tagstream.model_export.measure.paired import Paired, mcnemar
from tests.evaluations import evaluation
from tests.replacing import replace

PAGE = Path(__file__).parents[4] / "docs" / "evaluation.md"
SHARES = st.floats(0, 1).map(lambda share: round(share, 6))


@cache
def measured_once() -> Measured:
    """A bundle with an error in nine rows, beside a bundle with an error in two and a network; judged on `corpus_test`."""
    made = evaluation()
    bundle, worse, network = made.models
    others = (replace(worse, kind=contestants.BUNDLE), replace(network, kind=contestants.NETWORK))
    return replace(made, models=(bundle, *others))


@pytest.fixture
def found() -> Measured:
    """The same."""
    return measured_once()


def beside(only_ours: int, only_theirs: int) -> Measured:
    """A record of a bundle, and of another one with so many rows that one of the two alone has right."""
    made = measured_once()
    test = Paired(
        rows=160,
        only_ours=only_ours,
        only_theirs=only_theirs,
        p_value=mcnemar(only_ours, only_theirs),
        difference=0.0,
        interval=(0.0, 0.0),
    )
    bundle, other, _ = made.models
    part = replace(other.parts["corpus_test"], versus=Versus(test=test, corrected_p=test.p_value))
    return replace(made, models=(bundle, replace(other, parts={"corpus_test": part})))


@given(st.sampled_from(list(FIGURES)), SHARES)
def test_a_figure_and_a_number_are_read_as_written(name: str, least: float) -> None:
    """Each figure can be asked for, to the last digit of its number."""
    assert parse(f"{name}={least}", beside=True) == AtLeast(name=name, least=least)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("f2=0.9", "there is no figure 'f2'"),
        ("f1>=0.9", "there is no figure 'f1>'"),
        ("f1", "'' is no number"),
        ("f1=0.9,published=0.7", "'0.9,published=0.7' is no number"),
        ("f1=high", "'high' is no number"),
        ("f1=nan", "f1 is between 0 and 1"),
        ("f1=93", "f1 is between 0 and 1"),
        ("published=70%", "'70%' is no number"),
        ("f1_difference_low=-0.02", "there is no other bundle to compare with (--not-worse-than FOLDER)"),
    ],
)
def test_a_requirement_that_cannot_be_judged_is_refused(asked: str, why: str) -> None:
    """The sentence has the names of all figures and an example."""
    with pytest.raises(RequirementError, match=re.escape(why)) as refused:
        parse(asked, beside=False)
    assert all(said in str(refused.value) for said in (*FIGURES, requirements.EXAMPLE))


def test_a_difference_may_be_below_zero_and_a_share_may_not() -> None:
    """A loss can be allowed; a condition that holds of every bundle is a slip."""
    assert parse("f1_difference_low=-0.02", beside=True).least == -0.02
    with pytest.raises(RequirementError, match="published is between 0 and 1"):
        parse("published=-0.02", beside=True)


def test_each_figure_is_what_the_json_says(found: Measured) -> None:
    """Every name of the table is read, from the bundle's own records and those beside it, on the part that is judged."""
    of = {record["record"]: record for record in found.records() if record.get("model") == found.bundle.name}
    (other,) = [each for each in found.others if each.kind == contestants.BUNDLE]
    theirs = {record["record"]: record for record in found.records() if record.get("model") == other.name}
    cases = [record for record in found.records() if record["record"] == "behaviour" and record["model"] == found.bundle.name]
    wanted = {
        "f1": of["evaluation"]["weighted_f1"],
        "f1_low": of["evaluation"]["weighted_f1_interval"][0],  # type: ignore[index]
        "macro_f1": of["evaluation"]["macro_f1"],
        "weakest_f1": min(each["f1"] for each in of["evaluation"]["classes"]),  # type: ignore[attr-defined]
        "accuracy": of["evaluation"]["accuracy"],
        "published": of["published"]["share"],
        "published_precision": of["published"]["precision"],
        "published_precision_low": of["published"]["interval"][0],  # type: ignore[index]
        "behaviour": sum(each["passed"] for each in cases) / sum(each["cases"] for each in cases),  # type: ignore[misc]
        "f1_difference_low": theirs["paired"]["interval"][0],  # type: ignore[index]
    }
    judged = judge(found, [AtLeast(name=name, least=0.0) for name in FIGURES], bars=1)
    read = {check.asked.name: check.found for check in judged.checks if check.asked is not None}
    assert read == {name: pytest.approx(figure, abs=1e-6) for name, figure in wanted.items()}
    assert (judged.part, judged.rows) == ("corpus_test", 160)
    assert {check.against for check in judged.checks} == {None, other.name}


def test_a_figure_at_its_least_value_holds(found: Measured) -> None:
    """The figure as it is shown is compared; the refusal names those that are missed."""
    at = found.bundle.parts["corpus_test"].evaluation.weighted_f1
    more = round(at + 1e-6, 6)
    judged = judge(found, [AtLeast(name="f1", least=at), AtLeast(name="f1", least=more)], bars=1)
    assert [check.held for check in judged.checks] == [True, False, True]
    assert f"f1>={more}: it is {at}" in judged.refusal()
    assert "misses 1 of 3 requirements, judged on corpus_test, 160 rows" in judged.refusal()


def test_a_figure_that_is_not_there_is_missed(found: Measured) -> None:
    """Where none is published nobody knows how many would be right, and that is said."""
    part = found.bundle.parts["corpus_test"]
    silent = replace(found.bundle, parts={"corpus_test": replace(part, published=replace(part.published, kept=0, right=0))})
    judged = judge(replace(found, models=(silent,)), [AtLeast(name="published_precision", least=0.0)], bars=0)
    assert [check.held for check in judged.checks] == [False]
    assert "there is no such figure" in judged.refusal()


@given(st.integers(0, 40), st.integers(0, 40))
def test_only_a_loss_beyond_chance_is_worse(only_ours: int, only_theirs: int) -> None:
    """With as many rows won as lost, or few of either, a bundle is never refused; with many lost it always is."""
    (check,) = judge(beside(only_ours, only_theirs), [], bars=1).checks
    assert check.held == (only_ours >= only_theirs or mcnemar(only_ours, only_theirs) >= 0.05)
    assert check.held or only_theirs >= only_ours + 6


def test_chance_alone_refuses_one_bundle_in_forty_at_most() -> None:
    """Of two equally good bundles each row that one alone has right is a toss of a coin; counted over all ways it can fall."""
    for apart in range(1, 61):
        refused = [lost for lost in range(apart + 1) if judge(beside(apart - lost, lost), [], bars=1).missed]
        assert sum(binom.pmf(lost, apart, 0.5) for lost in refused) <= 0.025


def test_models_that_are_only_shown_are_no_bars(found: Measured) -> None:
    """A bundle is refused for being worse than a bar, and not for being worse than a model of --against, a network or a rival."""
    beaten = replace(found, models=(found.others[0], found.bundle, *found.others[1:]))
    assert judge(beaten, [], bars=0).checks == ()
    (check,) = judge(found, [], bars=1).checks
    assert check.against == found.others[0].name
    assert found.others[1].parts["corpus_test"].versus is not None


def test_the_gold_part_is_judged_where_there_are_two(found: Measured) -> None:
    """The first part of the record, by which it says the figures first."""
    parts = {"holdout": found.bundle.parts["corpus_test"], "corpus_test": found.bundle.parts["corpus_test"]}
    assert judge(replace(found, models=(replace(found.bundle, parts=parts),)), [], bars=0).part == "holdout"
    assert next(iter(evaluation_record.PARTS)) == "holdout"


def test_the_page_has_the_table_of_figures() -> None:
    """Name, meaning and place of each, in the order of the table."""
    section = PAGE.read_text("utf-8").split("## Requirements\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", section, re.MULTILINE)
    assert rows == [(name, figure.meaning, figure.place) for name, figure in FIGURES.items()]


def test_names_are_known_without_pytorch() -> None:
    """`--help` lists them at once."""
    code = "import sys; from tagstream.model_export.compare import requirements; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run((sys.executable, "-c", code), check=False, timeout=300).returncode == 0


def test_a_number_is_shown_as_it_is_compared() -> None:
    """A bar with many digits is not rounded to one that would hold."""
    assert str(AtLeast(name="f1", least=0.93000001)) == "f1>=0.93000001"
    assert not AtLeast(name="f1", least=math.nextafter(0.93, 1)).holds(0.93)
