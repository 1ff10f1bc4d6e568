"""The console goes on with the stores that older versions left behind: what people did is there, whatever the topics still have."""

import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import select, text

from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.database.database import DatabaseUnavailableError
from tagstream.stream.review.bundles import Bundles
from tagstream.stream.review.live_quality import live_quality
from tagstream.stream.review.store import upgrading
from tagstream.stream.review.store.filling import Filling
from tagstream.stream.review.store.records import Door
from tagstream.stream.review.store.schema import items, reports
from tagstream.stream.review.store.store import Store, open_store
from tests.console.real_console import answers_in
from tests.integration.upgrade import old_state
from tests.integration.upgrade.make_canary import CHALLENGER, CHAMPION, EACH, MADE
from tests.postgres import Postgres
from tests.unit.stream.review.store.making import HOUR_MS, START_MS, published

# A moment at which the leases of the older store run.
HELD_MS = (
    max(until for (until,) in old_state.rows("SELECT until_ms FROM review_items WHERE door IS NOT NULL AND holder IS NOT NULL"))
    - 1000
)
OPEN = dict(old_state.rows("SELECT door, COUNT(*) FROM review_items WHERE door IS NOT NULL GROUP BY door"))
ANSWERS = old_state.rows("SELECT answer_id, event_id, reviewer, tag, note, version FROM review_answers ORDER BY answer_id")
TOTALS = "SELECT hour_ms, destination, model, tag, source, language, decisions FROM review_totals"


@pytest.fixture(params=["sqlite", "postgres"])
def kept(request: pytest.FixtureRequest) -> Callable[[Path], str]:
    """Puts a file of SQLite into a database of this kind; says its URL."""
    if request.param == "sqlite":
        return lambda file: f"sqlite:///{file}"
    server: Postgres = request.getfixturevalue("server")
    return lambda file: moved(file, server.fresh())


def moved(file: Path, url: str) -> str:
    """The tables of a file, in PostgreSQL."""
    with psycopg.connect(url) as connection:
        for name, made, indices, rows in old_state.tables(file):
            connection.execute(re.sub(r"\bBLOB\b", "BYTEA", made))
            for index in indices:
                connection.execute(index)
            kinds = connection.execute(f"SELECT * FROM {name}").description or ()  # noqa: S608 - a name of our own
            booleans = [kind.type_display == "bool" for kind in kinds]
            for row in rows:
                values = [bool(value) if is_bool else value for value, is_bool in zip(row, booleans, strict=True)]
                connection.execute(f"INSERT INTO {name} VALUES ({', '.join(['%s'] * len(row))})", values)  # noqa: S608
    return url


@pytest.fixture
def older(kept: Callable[[Path], str], tmp_path: Path) -> str:
    """The store of e31436f in a database of its own."""
    shutil.copy(old_state.STORE, tmp_path / "review.sqlite")
    return kept(tmp_path / "review.sqlite")


@pytest.fixture
def canary(kept: Callable[[Path], str], tmp_path: Path) -> str:
    """The store of c16dc241 after a canary, in a database of its own."""
    with closing(sqlite3.connect(tmp_path / "canary.sqlite")) as connection:
        connection.executescript(old_state.CANARY.read_text(encoding="utf-8"))
    return kept(tmp_path / "canary.sqlite")


def opened(url: str) -> Store:
    """By today's console, while leases run."""
    return open_store(url, clock=lambda: HELD_MS, second_opinion_rate=0.05)


def check(store: Store) -> None:
    """All that the older store knew of people is there."""
    assert {door.value: count for door, count in store.queue.figures().open.items() if count} == OPEN
    found = [(g.answer_id, g.event_id, g.reviewer, g.tag, g.note, g.version) for g in answers_in(store)]
    assert sorted(found) == ANSWERS
    with store.database.reading() as connection:
        told = select(reports.c.reporter, reports.c.suggested_tag, reports.c.note).where(reports.c.event_id == "sample-0001")
        assert connection.execute(told).tuples().all() == [("rea", "mlops", "not so")]
        fields = dict(connection.execute(select(items.c.event_id, items.c.fields)).tuples().all())
    assert fields == dict(old_state.rows("SELECT event_id, fields FROM review_items"))


def test_nothing_that_people_did_is_lost(older: str) -> None:
    """Open items, answers, reports, and the reviewers' own lists are those of before; the topics are read anew over them."""
    with opened(older) as store:
        check(store)
        assert {given.event_id for given in store.queue.own("ann")} == {
            event for _, event, reviewer, *_ in ANSWERS if reviewer == "ann"
        } - {event for _, event, reviewer, *_ in ANSWERS if reviewer == "ben"}
        assert store.filling.positions() == {}
    with opened(older) as again:
        check(again)


def test_leases_and_skips_hold(older: str) -> None:
    """A reviewer gets the item that was theirs, by the same token, and is not given again what they have skipped."""
    tokens = {
        holder: (event, token)
        for holder, event, token in old_state.rows(
            "SELECT holder, event_id, token FROM review_items WHERE door IS NOT NULL AND holder IS NOT NULL"
        )
    }
    assert tokens.keys() == {"ann", "ben"}
    with opened(older) as store:
        for reviewer, held in tokens.items():
            claim = store.queue.claim(reviewer)
            assert claim is not None
            assert (claim.item.event.id, claim.token) == held
        store.queue.release(*tokens["ben"])
        store.queue.release(*tokens["ann"])
        offered = store.queue.claim("ann")
        assert offered is not None
        [(skipped,)] = old_state.rows("SELECT event_id FROM review_skips WHERE reviewer = 'ann'")
        assert offered.item.event.id != skipped
        other = store.queue.claim("cem")
        assert other is not None
        assert (other.item.event.id, other.door) == (skipped, Door.USER_REPORT)


def test_counts_of_published_decisions_stay(older: str) -> None:
    """Live quality has the totals of before, of hours that the topics may have forgotten."""
    with opened(older) as store, store.database.reading() as connection:
        assert sorted(map(tuple, connection.execute(text(TOTALS)))) == sorted(old_state.rows(TOTALS))


@pytest.mark.parametrize("calls", [1, 2, 3, 9])
def test_an_upgrade_that_is_cut_off_goes_on(older: str, calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the console ended, its next start has everything."""
    whole, made = Filling.add, []

    def failing(*arguments: object) -> None:
        made.append(arguments)
        if len(made) > calls:
            msg = "the power went"
            raise DatabaseUnavailableError(msg)
        whole(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(upgrading, "AT_ONCE", 4)
    monkeypatch.setattr(Filling, "add", failing)
    with pytest.raises(DatabaseUnavailableError):
        opened(older)
    monkeypatch.setattr(Filling, "add", whole)
    with opened(older) as store:
        check(store)


def test_a_canary_of_before_is_told_apart(canary: str, tmp_path: Path) -> None:
    """Decisions and answers from before the store knew of arms have theirs; what was only counted keeps its model's name."""
    for _ in range(2):
        with open_store(canary, clock=lambda: START_MS, second_opinion_rate=0.0) as store:
            found = live_quality(store, now_ms=START_MS + 2 * HOUR_MS, bundles=Bundles(tmp_path), days=1).report
            assert found is not None
            who = store.samples.drawn(START_MS, START_MS + HOUR_MS).decided_by
            assert {(str(one.epoch or "") or None, one.arm or None, one.digest) for one in who} == set(MADE)
            arms = {arm.name: (arm.bundles, arm.epochs, arm.model.drawn, arm.published.answers) for arm in found.arms}
            assert arms == {
                "champion": ((CHAMPION,), (1,), 2 * 2 * EACH, 2 * EACH),
                "challenger": ((CHALLENGER,), (1,), 2 * EACH, EACH),
            }
            assert {one.bundles: one.model.decisions for one in found.models} == {
                (CHAMPION,): 3 * 2 * EACH,
                (CHALLENGER,): 2 * EACH,
            }


def test_decisions_after_an_upgrade_are_counted_by_arm(canary: str) -> None:
    """The totals of before stay beside those of today, each decision once."""
    model = ModelRef(name="tiny", version="e", digest=CHALLENGER, epoch="2", arm="challenger")
    with open_store(canary, clock=lambda: START_MS, second_opinion_rate=0.0) as store:
        before = sum(total.decisions for total in store.samples.totals(START_MS, START_MS + HOUR_MS))
        store.filling.fill([published("after", 99, model=model)], {})
        found = [(total.epoch, total.arm, total.decisions) for total in store.samples.totals(START_MS, START_MS + HOUR_MS)]
        assert (2, "challenger", 1) in found
        assert sum(decisions for *_, decisions in found) == before + 1 == len(MADE) * EACH * 2 + 1
