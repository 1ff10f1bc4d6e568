"""The words of `tagstream rollout canary` that are refused before any broker is asked."""

import pytest
from typer.testing import CliRunner

from tagstream.stream.cli.main import app
from tagstream.stream.contract.rollout_records import BundleName, Challenger, Guards, RequiredOutcome
from tagstream.stream.rollout.change import require_arms
from tagstream.stream.rollout.errors import RolloutError

CHALLENGER = Challenger(bundle=BundleName(digest="c" * 64, name="b", version="1"), share=0.5, unit="key", salt="s")
NINE = [word for number in range(9) for word in ("--require", f"outcome:n{number}")]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--require", "clicks"], "is not outcome:NAME"),
        (["--require", "outcome:"], "is not outcome:NAME"),
        (["--require", "outcome:two words"], "is not outcome:NAME"),
        (["--require", f"outcome:{'n' * 65}"], "is not outcome:NAME"),
        (["--require", "outcome:clicks=much"], "is not outcome:NAME"),
        (["--require", "outcome:clicks=nan"], "is not outcome:NAME"),
        (["--require", "outcome:clicks=0.6"], "is not outcome:NAME"),
        (["--require", "outcome:clicks", "--require", "outcome:-clicks"], "names 'clicks' twice"),
        (NINE, "more than 8 outcomes"),
    ],
)
def test_a_required_outcome_that_is_none_is_refused_with_the_next_step(words: list[str], why: str) -> None:
    """A margin that is no number, a name that is none or too long, a name twice, too many: nothing is planned."""
    done = CliRunner().invoke(app, ["rollout", "canary", "new-bundle", "--share", "0.5", *words])
    assert isinstance(done.exception, RolloutError)
    assert why in str(done.exception)
    assert "Next: " in str(done.exception)


def test_a_canary_without_two_arms_of_one_stream_requires_no_outcome() -> None:
    """A share of 1 has no champion's arm, and an audience is another stream than the champion's."""
    guards = Guards(outcomes=(RequiredOutcome(name="clicks"),))
    require_arms(guards, CHALLENGER)
    for changes in ({"share": 1.0}, {"sources": ("web",)}):
        challenger = Challenger(**{name: getattr(CHALLENGER, name) for name in CHALLENGER.__struct_fields__} | changes)
        require_arms(Guards(), challenger)
        with pytest.raises(RolloutError, match="two arms of one stream"):
            require_arms(guards, challenger)
