"""The database behind the store: its URL, its version, and how it fails. No error shows a password."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select, text, update

from tagstream.monitoring.quality.feedback import ViewersAnswers
from tagstream.stream.contract.published import Ask
from tagstream.stream.database.database import DatabaseUnavailableError, DatabaseUrlError
from tagstream.stream.review.store.schema import SCHEMA_VERSION, about, asked, items, reports, votes
from tagstream.stream.review.store.store import StoreVersionError, open_store
from tests.postgres import Postgres
from tests.replacing import replace
from tests.unit.stream.review.store.conftest import Open
from tests.unit.stream.review.store.making import MODEL, START_MS, audit, published, report, review, served, vote

PASSWORD = "secret-of-tests"  # noqa: S105 - shown to be in no message


@pytest.mark.parametrize("url", ["mysql://u:secret-of-tests@h/d", "sqlite://", "sqlite:///:memory:", "postgresql+:/x://"])
def test_another_kind_of_url_is_refused(url: str) -> None:
    """The message says which kinds there are."""
    with pytest.raises(DatabaseUrlError, match="sqlite:///FILE") as refused:
        open_store(url)
    assert PASSWORD not in str(refused.value)


def test_a_path_is_a_file_of_sqlite(tmp_path: Path) -> None:
    """Folders on the way are made."""
    with open_store(str(tmp_path / "new" / "store.db")) as store:
        assert store.queue.figures().length == 0
    assert (tmp_path / "new" / "store.db").is_file()


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    """It is not overwritten."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database, and long enough to be read as a page of one" * 20, encoding="utf-8")
    with pytest.raises(DatabaseUnavailableError, match="not a database"):
        open_store(str(path))
    assert path.read_text(encoding="utf-8").startswith("not a database")


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """The next step names the option."""
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseUnavailableError, match="--store"):
        open_store(str(tmp_path / "file" / "store.db"))


def test_a_server_that_is_away_is_told(tmp_path: Path) -> None:
    """The message has the address and the reason, and not the password."""
    with pytest.raises(DatabaseUnavailableError, match="Next:") as refused:
        open_store(f"postgresql://tester:{PASSWORD}@/store?host={tmp_path}")
    assert PASSWORD not in str(refused.value)
    assert "tester" in str(refused.value)


def test_a_database_that_is_not_there_is_told(server: Postgres) -> None:
    """PostgreSQL's own words are in the message."""
    url = server.fresh().replace("/store_", "/gone_")
    with pytest.raises(DatabaseUnavailableError, match="does not exist") as refused:
        open_store(url)
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize("version", ["1", str(SCHEMA_VERSION + 1)])
def test_a_store_of_another_version_is_refused_and_keeps_what_it_has(opened: Open, version: str) -> None:
    """The message says both versions and the next step; the tagstream that made the store opens it as before."""
    store = opened()
    store.writer.fill([review("a")], {("review", 0): 1})
    with store.database.writing() as connection:
        connection.execute(update(about).values(value=version))
    with pytest.raises(
        StoreVersionError, match=rf"the version {version},.* the version {SCHEMA_VERSION}; .*Next: .*--store"
    ) as refused:
        opened()
    assert refused.value.exit_code == 2
    with store.database.writing() as connection:
        assert connection.execute(select(about.c.value)).scalars().all() == [version]
        connection.execute(update(about).values(value=str(SCHEMA_VERSION)))
    assert opened().writer.positions() == {("review", 0): 1}
    assert served(opened()) == ["a"]


def test_an_older_store_counts_viewers_from_then_on_and_keeps_what_it_has(opened: Open) -> None:
    """That of 0.1.0 has no table of viewers; one of a checkout after it has a table of questions without the arm, which stays unread."""
    store = opened()
    store.writer.fill([review("kept")], {("review", 0): 1})
    with store.database.writing() as connection:
        asked.drop(connection)
        votes.drop(connection)
        connection.execute(text("CREATE TABLE review_asked (prediction BIGINT PRIMARY KEY, model VARCHAR, tagged_ms BIGINT)"))
    newer = opened()
    token = Ask(token="A" * 24)
    newer.writer.fill([published("a", ask=token, model=replace(MODEL, epoch="2", arm="challenger")), vote(0, answer="yes")], {})
    [(on, said)] = newer.votes.of(START_MS, START_MS + 1).items()
    assert (on.model, on.epoch, on.arm, said) == (
        "tiny 1",
        2,
        "challenger",
        ViewersAnswers(asked=1, answered=1, votes=1, right=1),
    )
    assert (newer.writer.positions(), served(newer)) == ({("review", 0): 1}, ["kept"])


def test_consoles_that_start_together_make_one_store(url: str) -> None:
    """Neither finds half of the tables, and none is dropped that another has filled."""
    with ThreadPoolExecutor(4) as threads:
        stores = list(threads.map(open_store, [url] * 4))
    for store in stores:
        with store.database.writing() as connection:
            connection.execute(items.select())
        store.close()


def test_followers_that_fill_side_by_side_agree(opened: Open) -> None:
    """Each reads all topics; what follows from an event's facts is computed from those of both."""
    consoles = [opened() for _ in range(3)]
    facts = [change for number in range(30) for change in (review(str(number)), report(str(number)), audit(f"audit {number}"))]

    def follow(number: int) -> None:
        for at in range(0, len(facts), 7):
            part = facts[at : at + 7]
            consoles[number].writer.fill(part[::-1] if number % 2 else part, {("review", 0): at})

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(follow, range(3)))
    assert sorted(served(consoles[0])) == sorted([*map(str, range(30)), *(f"audit {number}" for number in range(30))])
    with consoles[0].database.reading() as connection:
        assert len(connection.execute(select(reports).where(reports.c.event_id == "3")).all()) == 1
