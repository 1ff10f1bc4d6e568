"""Requirements on a bundle: what a person may write, what a figure is read from, and when a bundle is refused."""

import math
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from tagstream.model_export.compare import contestants, measured, requirements
from tagstream.model_export.compare.measured import Measured, Versus
from tagstream.model_export.compare.requirements import FIGURES, OPERATORS, Condition, RequirementError, judge, parse
from tagstream.model_export.measure.paired import Paired, mcnemar
from tests.evaluations import evaluation

PAGE = Path(__file__).parents[4] / "docs" / "evaluation.md"
SHARES = st.floats(0, 1).map(lambda share: round(share, 6))
ALONE = [name for name, figure in FIGURES.items() if not figure.beside]
CONDITIONS = st.builds(Condition, name=st.sampled_from(ALONE), comparison=st.sampled_from(list(OPERATORS)), wanted=SHARES)


@cache
def measured_once() -> Measured:
    """A bundle with an error in nine rows, beside a bundle with an error in two and a network; judged on `corpus_test`."""
    made = evaluation()
    bundle, worse, network = made.models
    return replace(made, models=(bundle, replace(worse, kind=contestants.BUNDLE), network))


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


@given(st.lists(CONDITIONS, min_size=1, max_size=5), st.sampled_from([",", ", ", "\n", ",\n", " ,, "]))
def test_requirements_are_read_as_they_are_shown(asked: list[Condition], between: str) -> None:
    """Between commas or on lines, with blanks and a comma at the end: the same conditions in the same order."""
    assert parse([between.join(map(str, asked)) + between], beside=False) == tuple(asked)
    assert parse([str(each) for each in asked], beside=True) == tuple(asked)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_with_the_next_step(text: str) -> None:
    """No other error comes out of it, and the refusal says all names and an example."""
    try:
        refused, read = None, parse([text], beside=False)
    except RequirementError as error:
        refused, read = error, ()
    said = (*FIGURES, requirements.NOT_WORSE, requirements.EXAMPLE)
    assert all(each.name in FIGURES for each in read)
    assert read or (refused is not None and refused.exit_code == 2 and all(name in str(refused) for name in said))


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("f2>=0.9", "there is no figure 'f2'"),
        ("f1=0.9", "it is no figure, comparison and number"),
        ("f1==0.9", "it is no figure, comparison and number"),
        ("f1=>0.9", "it is no figure, comparison and number"),
        ("f1", "it is no figure, comparison and number"),
        ("0.9<=f1", "it is no figure, comparison and number"),
        ("f1>=high", "'high' is no number"),
        ("f1>=nan", "f1 is between 0 and 1"),
        ("f1>=93", "f1 is between 0 and 1"),
        ("published>=70%", "'70%' is no number"),
        ("f1_difference>=-0.02", "there is no other bundle to compare with (--against FOLDER)"),
        ("not-worse", "there is no other bundle to compare with (--against FOLDER)"),
        (" , ", "it is empty"),
    ],
)
def test_a_requirement_that_cannot_be_judged_is_refused(asked: str, why: str) -> None:
    """Before anything is measured, beside others that could be."""
    with pytest.raises(RequirementError, match=re.escape(why)):
        parse(["f1>=0.5", asked] if asked.strip(" ,") else [asked], beside=False)


def test_a_difference_may_be_below_zero_and_a_share_may_not() -> None:
    """A loss can be allowed; a condition that holds of every bundle is a slip."""
    assert parse(["f1_difference>=-0.02"], beside=True) == (Condition(name="f1_difference", comparison=">=", wanted=-0.02),)
    with pytest.raises(RequirementError, match="published is between 0 and 1"):
        parse(["published>=-0.02"], beside=True)


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
        "calibration_error": of["evaluation"]["calibration_error"],
        "called_strange": of["out_of_distribution"]["false_rejection"]["corpus_test"],  # type: ignore[index]
        "behaviour": sum(each["passed"] for each in cases) / sum(each["cases"] for each in cases),  # type: ignore[misc]
        "f1_difference": theirs["paired"]["difference"],
        "f1_difference_low": theirs["paired"]["interval"][0],  # type: ignore[index]
        "published_difference": of["published"]["share"] - theirs["published"]["share"],  # type: ignore[operator]
    }
    judged = judge(found, [Condition(name=name, comparison=">=", wanted=0.0) for name in FIGURES])
    read = {check.condition.name: check.found for check in judged.checks if check.condition is not None}
    assert read == {name: pytest.approx(figure, abs=1e-6) for name, figure in wanted.items()}
    assert (judged.part, judged.rows) == ("corpus_test", 160)
    assert {check.against for check in judged.checks} == {None, other.name}


def test_conditions_hold_at_their_number_or_miss(found: Measured) -> None:
    """The figure as it is shown is compared: at its own value `>=` and `<=` hold, `>` and `<` do not."""
    at = found.bundle.parts["corpus_test"].evaluation.weighted_f1
    judged = judge(found, [Condition(name="f1", comparison=each, wanted=at) for each in (">=", "<=", ">", "<")])
    assert [check.held for check in judged.checks[:4]] == [True, True, False, False]
    assert [f"{check.condition}" for check in judged.missed] == [f"f1>{at}", f"f1<{at}"]
    assert f"f1>{at}: it is {at}" in judged.refusal()
    assert "misses 2 of 5 requirements, judged on corpus_test, 160 rows" in judged.refusal()


def test_a_figure_that_is_not_there_meets_no_condition(found: Measured) -> None:
    """Where none is published nobody knows how many would be right, and that is said."""
    part = found.bundle.parts["corpus_test"]
    silent = replace(found.bundle, parts={"corpus_test": replace(part, published=replace(part.published, kept=0, right=0))})
    for comparison in OPERATORS:
        judged = judge(
            replace(found, models=(silent,)), [Condition(name="published_precision", comparison=comparison, wanted=0.5)]
        )
        assert [check.held for check in judged.checks] == [False]
        assert "there is no such figure" in judged.refusal()


@given(st.integers(0, 40), st.integers(0, 40))
def test_only_a_loss_beyond_chance_is_worse(only_ours: int, only_theirs: int) -> None:
    """With as many rows won as lost, or few of either, a bundle is never refused; with many lost it always is."""
    (check,) = judge(beside(only_ours, only_theirs), []).checks
    assert check.held == (only_ours >= only_theirs or mcnemar(only_ours, only_theirs) >= 0.05)
    assert check.held or only_theirs >= only_ours + 6


def test_chance_alone_refuses_one_bundle_in_forty_at_most() -> None:
    """Of two equally good bundles each row that one alone has right is a toss of a coin; counted over all ways it can fall."""
    for apart in range(1, 61):
        refused = [lost for lost in range(apart + 1) if judge(beside(apart - lost, lost), []).missed]
        assert sum(binom.pmf(lost, apart, 0.5) for lost in refused) <= 0.025


def test_bundles_alone_are_bars(found: Measured) -> None:
    """A bundle is not refused for being worse than a network or a rival, which nobody would run in its place."""
    beaten = replace(found, models=(found.others[0], replace(found.bundle, kind=contestants.NETWORK)))
    assert judge(beaten, []).checks == ()
    assert [check.against for check in judge(found, []).checks] == [found.others[0].name]
    assert found.others[0].parts["corpus_test"].versus is not None


def test_the_gold_part_is_judged_where_there_are_two(found: Measured) -> None:
    """The first part of the record, by which it says the figures first."""
    parts = {"holdout": found.bundle.parts["corpus_test"], "corpus_test": found.bundle.parts["corpus_test"]}
    assert judge(replace(found, models=(replace(found.bundle, parts=parts),)), []).part == "holdout"
    assert next(iter(measured.PARTS)) == "holdout"


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
    assert str(Condition(name="f1", comparison=">=", wanted=0.93000001)) == "f1>=0.93000001"
    assert not Condition(name="f1", comparison=">=", wanted=math.nextafter(0.93, 1)).holds(0.93)
