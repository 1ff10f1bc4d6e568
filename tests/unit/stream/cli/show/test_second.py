"""What `lines` says of a second's warranty."""

from tagstream.stream.cli.show.second import lines, spent
from tagstream.stream.second.facts import Cell
from tagstream.stream.second.warranty import CellStatus, WarrantyStatus
from tests.replacing import replace

CERTIFIED = CellStatus(
    cell=Cell(label="mlops", agrees=True, band=1),
    certified=True,
    withdrawn=1,
    right=1_210,
    wrong=8,
    unanswered=2,
    evidence=2_400.0,
    needed=1_920.0,
    missing_answers=0,
    missing_days=0.0,
)
MISSING = replace(
    CERTIFIED,
    cell=Cell(label="mlops", agrees=False, band=0),
    certified=False,
    withdrawn=0,
    right=30,
    wrong=1,
    missing_answers=41,
    missing_days=5.6,
)
STATUS = WarrantyStatus(
    promise=0.9,
    fingerprint="3f9a",
    cells=(
        MISSING,
        CERTIFIED,
        replace(MISSING, right=20, wrong=10, missing_answers=None, missing_days=None),
        replace(MISSING, right=0, wrong=0, missing_answers=None, missing_days=None),
        replace(MISSING, missing_answers=1, missing_days=0.01),
    ),
    bands=(0.8,),
    items=2_000,
    no_opinion=12,
    settled=1_000,
    audits=50,
    answered=48,
    agreed=46,
    right=(0.8612, 0.9881),
    saved=950,
    saved_right=(815, 939),
)


def test_the_lines_say_what_is_certified_and_what_is_missing_and_what_people_were_saved() -> None:
    """Certified cells first."""
    assert list(lines(STATUS, {"over_budget": 8, "late": 4})) == [
        "second 3f9a may settle 1 of 5 kinds of items without a person; promise: 0.9 of these are right",
        "  mlops, as the model, score from 0.8: certified (1,210 right, 8 wrong, 2 unanswered, withdrawn by audits 1 time)",
        "  mlops, unlike the model, score below 0.8: about 41 answers missing, about 6 days (30 right, 1 wrong, 2 unanswered)",
        "  mlops, unlike the model, score below 0.8: out of reach with answers like these (20 right, 10 wrong, 2 unanswered)",
        "  mlops, unlike the model, score below 0.8: no answer yet (0 right, 0 wrong, 2 unanswered)",
        "  mlops, unlike the model, score below 0.8: about 1 answer missing, less than a day (30 right, 1 wrong, 2 unanswered)",
        "items: 2,000; without an opinion: 12 (late 4, over budget 8)",
        "settled: 1,000; audits: 50 drawn, 48 answered, 46 of these right; of all settled 86.1 to 98.8 % are right",
        "saved people 950 items, 47.5 % of all, audits counted as work; 815 to 939 of these are right",
    ]


def test_without_scores_there_are_no_bands() -> None:
    """And nothing is said of what did not happen."""
    status = replace(STATUS, cells=(replace(CERTIFIED, withdrawn=0),), bands=(), no_opinion=0, settled=0, right=None)
    assert list(lines(status, {})) == [
        "second 3f9a may settle 1 of 1 kind of items without a person; promise: 0.9 of these are right",
        "  mlops, as the model: certified (1,210 right, 8 wrong, 2 unanswered)",
        "items: 2,000",
        "settled: none",
    ]


def test_before_the_first_opinion_nothing_is_certified() -> None:
    """In one line."""
    assert list(lines(replace(STATUS, fingerprint=None, cells=()), {})) == [
        "no opinion yet: nothing is certified, and every item goes to people"
    ]


def test_the_cost_is_said_where_an_endpoint_was_asked() -> None:
    """A bundle costs nothing that anybody would pay."""
    assert list(spent(0, 0.0)) == []
    assert list(spent(1_200, 3.456)) == ["requests to the endpoint: 1,200, which cost 3.46 at the prices of the settings"]
