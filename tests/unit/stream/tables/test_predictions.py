"""A table of predictions: an upsert that may be repeated, the decision that holds, and tables that are not ours."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.contract.published import PublishedDecision
from tagstream.stream.database.database import Database, DatabaseUnavailableError, open_database
from tagstream.stream.tables.predictions import TABLE, Predictions, open_predictions
from tagstream.stream.tables.row import PredictionRow
from tagstream.stream.tables.schema import TableError
from tests.answering import NOW_MS, of_epoch, published
from tests.postgres import Postgres
from tests.replacing import replace
from tests.unit.stream.tables.conftest import Open
from tests.unit.stream.tables.table_rows import corrected, model, person, row

TAGS = st.lists(st.sampled_from(["mlops", "other", "computer-vision", "off_subject"]), max_size=3)


def everything(url: str, query: str) -> list[tuple[object, ...]]:
    """The rows of a query by another program."""
    database: Database = open_database(url, TABLE, read_only=True)
    with database.reading() as connection:
        found = [tuple(one) for one in connection.execute(text(query))]
    database.close()
    return found


def test_a_decision_is_found_by_event_text_and_id(predictions: Predictions) -> None:
    """A row that was written is read back, to the last byte of the record."""
    record = model()
    made = row(record)
    assert predictions.upsert([made]) == 1
    assert predictions.newest("e-1") == made
    assert predictions.by_text(made.text_hash, made.model_digest) == made
    assert predictions.known([made.prediction_id, "other"]) == {made.prediction_id}
    assert predictions.known_texts([made.prediction_id, "other"]) == {made.prediction_id: made.text_hash}
    assert made.answer.encode() == record.value
    assert (made.destination, made.tag, made.decider, made.version) == ("review", "mlops", "model", 0)
    assert (made.decided_at, made.tagged_at) == (NOW_MS, NOW_MS)


def test_what_is_not_there_is_none(predictions: Predictions) -> None:
    """No event, no text, no decision."""
    assert predictions.newest("e-1") is None
    assert predictions.by_text("0" * 64, "d") is None
    assert predictions.known([]) == set()
    assert predictions.known_texts([]) == {}
    assert predictions.upsert([]) == 0
    assert predictions.positions() == {}


def test_a_repetition_changes_nothing(predictions: Predictions, url: str) -> None:
    """A redelivered event has a later `tagged_at`: the row is replaced, and there is still one; an earlier one is ignored."""
    early, late = row(model(at_ms=NOW_MS)), row(model(at_ms=NOW_MS + 5))
    assert [predictions.upsert(rows) for rows in ([early], [early], [late], [early], [late, early, late])] == [1, 0, 1, 0, 0]
    assert predictions.newest("e-1") == late
    assert everything(url, "SELECT count(*) FROM predictions") == [(1,)]


def test_a_person_stands_above_a_model(predictions: Predictions) -> None:
    """Also above a decision that was published later."""
    before, after = model(), replace(model(at_ms=NOW_MS + 10_000_000))
    said, _ = person(before, "computer-vision")
    predictions.upsert([row(said), row(after), row(before)])
    holds = predictions.newest("e-1")
    assert holds is not None
    assert (holds.tag, holds.decider, holds.by_person, holds.version) == ("computer-vision", "reviewer", True, 1)
    assert [one.version for one in predictions.of_event("e-1")] == [0, 1]


def test_another_bundle_decides_the_event_anew(predictions: Predictions, url: str) -> None:
    """Both decisions are there; the one that was published later holds."""
    old = row(model())
    new = replace(
        old, prediction_id="0" * 8 + old.prediction_id[8:], model_digest="e" * 64, tagged_at=NOW_MS + 1, decided_at=NOW_MS + 1
    )
    predictions.upsert([new, old])
    assert predictions.newest("e-1") == new
    assert predictions.by_text(old.text_hash, old.model_digest) == old
    assert everything(url, "SELECT event_id, model_digest FROM predictions_newest") == [("e-1", "e" * 64)]
    later = row(model("e-2", at_ms=NOW_MS + 9))
    predictions.upsert([later])
    assert predictions.by_text(old.text_hash, old.model_digest) == later


def test_a_persons_decision_is_no_answer_on_the_text(predictions: Predictions) -> None:
    """Another event with this text would get the model's decision from the pipeline."""
    before = model()
    said, _ = person(before)
    predictions.upsert([row(said)])
    assert predictions.by_text(row(before).text_hash, row(before).model_digest) is None
    predictions.upsert([row(before)])
    assert predictions.by_text(row(before).text_hash, row(before).model_digest) == row(before)


def test_any_number_of_keys_can_be_asked_for(predictions: Predictions) -> None:
    """More than a statement takes."""
    made = [row(model(f"e-{number}")) for number in range(3)]
    predictions.upsert(made)
    asked = [f"no-{number}" for number in range(25_000)] + [one.prediction_id for one in made]
    assert predictions.known(asked) == {one.prediction_id for one in made}


@settings(max_examples=40)
@given(data=st.data(), said=st.lists(TAGS, min_size=1, max_size=3))
def test_order_and_repetition_make_no_difference(shuffled: "Shuffled", data: st.DataObject, said: list[list[str]]) -> None:
    """
    However decisions and corrections arrive, and however often, the newest is the one that the topics' own order says.

    The rows come from records of the topics, and the order that is expected from `PublishedDecision.standing`.
    """
    ids = [shuffled.fresh() for _ in said]
    records = [record for event_id, tags in zip(ids, said, strict=True) for record in corrected(event_id, tags)]
    records += [model(event_id, at_ms=NOW_MS + 7) for event_id in ids]
    # Models that were changed while the stream ran: a later epoch holds, though its decision was published earlier.
    epochs = data.draw(st.lists(st.integers(1, 12), max_size=3, unique=True))
    records += [model(event_id, at_ms=NOW_MS - number, by=of_epoch(number)) for event_id in ids for number in epochs]
    repeated = data.draw(st.permutations(records + data.draw(st.lists(st.sampled_from(records), max_size=5))))
    rows = [row(record) for record in repeated]
    cut = data.draw(st.integers(0, len(rows)))
    for predictions in shuffled.both:
        predictions.upsert(rows[:cut])
        predictions.upsert(rows[cut:])
        for event_id in ids:
            decided = [found for record in records if (found := published(record)).event.id == event_id]
            holds = max(decided, key=lambda one: one.standing)
            assert predictions.newest(event_id) == row(holds.event.record)
            assert shuffled.by_view(predictions, event_id) == holds.decision.prediction_id


class Shuffled:
    """A table in each database for all examples, and ids that no example before has used."""

    def __init__(self, urls: list[str]) -> None:
        """Open the tables."""
        self.both = [open_predictions(url) for url in urls]
        self._views = dict(zip(self.both, [open_database(url, TABLE, read_only=True) for url in urls], strict=True))
        self._made = 0

    def fresh(self) -> str:
        """An id."""
        self._made += 1
        return f"e-{self._made}"

    def by_view(self, predictions: Predictions, event_id: str) -> str:
        """The decision that the view has on an event; there must be one."""
        with self._views[predictions].reading() as connection:
            query = text("SELECT prediction_id FROM predictions_newest WHERE event_id = :event")
            return str(connection.execute(query, {"event": event_id}).scalar_one())

    def close(self) -> None:
        """Close all."""
        for predictions, view in self._views.items():
            predictions.close()
            view.close()


@pytest.fixture(scope="module")
def shuffled(server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> "Shuffled":
    """Both databases."""
    made = Shuffled([f"sqlite:///{tmp_path_factory.mktemp('shuffled')}/tags.db", server.fresh()])
    yield made  # type: ignore[misc]
    made.close()


def test_writers_side_by_side_lose_nothing(opened: Open, url: str) -> None:
    """Four programs write the same rows in four orders, in small transactions: no deadlock, and one row for each decision."""
    rows = [row(model(f"e-{number}")) for number in range(60)]
    programs = [opened() for _ in range(4)]

    def write(number: int) -> None:
        mine = rows[number * 13 :] + rows[: number * 13] if number % 2 else rows[::-1]
        for at in range(0, len(mine), 7):
            programs[number].upsert(mine[at : at + 7])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))
    assert everything(url, "SELECT count(*) FROM predictions") == [(60,)]
    assert everything(url, "SELECT count(*) FROM predictions_newest") == [(60,)]


def test_positions_go_with_the_rows(predictions: Predictions, opened: Open) -> None:
    """A transaction that fails moves neither."""
    predictions.upsert([row(model())], {("tagged", 0): 5, ("tagged", 1): 0})
    broken = replace(row(model("e-2")), tag=None)  # type: ignore[arg-type]
    with pytest.raises(DatabaseUnavailableError, match=r"(?i)null"):
        predictions.upsert([broken], {("tagged", 0): 9})
    assert predictions.positions() == {("tagged", 0): 5, ("tagged", 1): 0}
    predictions.upsert([], {("tagged", 0): 6})
    assert opened(followed=True).positions() == {("tagged", 0): 6, ("tagged", 1): 0}


def test_the_name_stands_behind_the_url(url: str) -> None:
    """Two tables of one database do not know each other."""
    with open_predictions(f"{url}#mine") as mine, open_predictions(url, table="theirs") as theirs:
        mine.upsert([row(model())])
        assert theirs.newest("e-1") is None
        assert mine.name.endswith("#mine")
        assert "secret" not in mine.name
    assert everything(url, "SELECT count(*) FROM mine_newest") == [(1,)]


def test_a_name_that_is_none_is_refused(url: str) -> None:
    """It would go into statements."""
    with pytest.raises(TableError, match="cannot be the name of a table"):
        open_predictions(url, table='x"; DROP TABLE y')


def test_a_table_of_another_program_is_not_touched(url: str) -> None:
    """The message says in which columns it differs, and its rows are still there."""
    database = open_database(url, TABLE)
    with database.writing() as connection:
        connection.execute(text("CREATE TABLE predictions (prediction_id TEXT PRIMARY KEY, weather TEXT)"))
        connection.execute(text("INSERT INTO predictions VALUES ('1', 'rain')"))
        connection.execute(text("CREATE TABLE mine_newest (id TEXT PRIMARY KEY)"))
    database.close()
    with pytest.raises(TableError, match=r"lacks answer, confidence.*has weather beside them.*Next: .*URL#NAME"):
        open_predictions(url)
    with pytest.raises(TableError, match="mine_newest is a table here"):
        open_predictions(url, table="mine")
    assert everything(url, "SELECT weather FROM predictions") == [("rain",)]


def stale(url: str) -> dict[object, bool]:
    """What the view says of each event."""
    return {
        event_id: bool(is_stale) for event_id, is_stale in everything(url, "SELECT event_id, stale FROM predictions_newest")
    }


def test_a_decision_is_stale_once_its_bundle_decides_no_more(predictions: Predictions, url: str) -> None:
    """Through two changes and back, in any order of arrival, under each arithmetic; a person's decision never is."""
    first, second = (row(model(f"e-{number}", by=of_epoch(number))) for number in (1, 2))
    said, _ = person(model("e-p"))
    elsewhere = replace(first, prediction_id="0" * 36, event_id="e-a", model_digest=f"{first.model_digest}+{'a' * 12}")
    predictions.upsert([row(model("e-0")), row(said)])
    assert (predictions.epochs(), stale(url)) == ({}, {"e-0": False, "e-p": False})
    predictions.upsert([first, elsewhere])
    assert stale(url) == {"e-0": True, "e-1": False, "e-a": False, "e-p": False}
    predictions.upsert([second])
    predictions.upsert([first])
    assert stale(url) == {"e-0": True, "e-1": True, "e-2": False, "e-a": True, "e-p": False}
    # Epoch 3 has the bundle of epoch 1 again, and a challenger.
    challenger = ModelRef(name="tiny", version="3", digest="c" * 64, epoch="3", arm="challenger")
    predictions.upsert([row(model("e-3", by=of_epoch(3))), row(model("e-c", by=challenger))])
    expected = {"e-0": True, "e-1": False, "e-2": True, "e-3": False, "e-a": False, "e-c": False, "e-p": False}
    assert stale(url) == expected
    epochs = predictions.epochs()
    assert epochs == {first.model_digest: 3, second.model_digest: 2, "c" * 64: 3}
    rows = [found for event_id in expected if (found := predictions.newest(event_id)) is not None]
    assert {one.event_id: one.is_stale(epochs) for one in rows} == expected
    fresh = everything(url, "SELECT event_id FROM predictions_newest WHERE NOT stale")
    assert {event_id for (event_id,) in fresh} == {event_id for event_id, is_stale in expected.items() if not is_stale}


def test_a_table_of_an_earlier_version_learns_what_is_stale(url: str, opened: Open) -> None:
    """Its view gets the column when a program next writes, in its place: a query and a view of the user's own go on to work."""
    old = opened()
    old.upsert([row(model("e-1", by=of_epoch(1)))])
    names = ", ".join(PredictionRow.__dataclass_fields__)
    database = open_database(url, TABLE)
    with database.writing() as connection:
        for statement in (
            "DROP VIEW predictions_newest",
            "DROP TABLE predictions_epochs",
            f"CREATE VIEW predictions_newest AS SELECT {names} FROM predictions",  # noqa: S608 - names of ours
            "CREATE VIEW mine AS SELECT tag FROM predictions_newest",
        ):
            connection.execute(text(statement))
    database.close()
    assert opened(read_only=True).epochs() is None
    new = opened()
    assert (new.epochs(), stale(url)) == ({}, {"e-1": False})
    new.upsert([row(model("e-2", by=of_epoch(2)))])
    assert stale(url) == {"e-1": True, "e-2": False}
    assert everything(url, "SELECT count(*) FROM mine") == [(2,)]


def test_what_is_read_is_not_made(url: str, opened: Open) -> None:
    """A lookup in an empty database says how the table is filled."""
    if url.startswith("sqlite"):
        with pytest.raises(DatabaseUnavailableError, match="no file"):
            open_predictions(url, read_only=True)
    opened(table="other")
    with pytest.raises(TableError, match=r"no table predictions.*tagstream tags"):
        open_predictions(url, read_only=True)
    opened().upsert([row(model())])
    assert opened(read_only=True).newest("e-1") == row(model())


def test_programs_that_start_together_make_one_table(url: str) -> None:
    """Neither fails because the other was faster."""
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: open_predictions(url, followed=True), range(4)))
    for number, predictions in enumerate(made):
        predictions.upsert([row(model(f"e-{number}"))])
        predictions.close()
    assert everything(url, "SELECT count(*) FROM predictions") == [(4,)]


def test_the_standing_of_a_row_is_that_of_its_record() -> None:
    """Rows of one event sort as their records do."""
    records = [*corrected("e-1", ["other", "mlops"]), model(at_ms=NOW_MS + 1), model(by=of_epoch(9)), model(by=of_epoch(10))]
    found: list[PublishedDecision] = sorted(map(published, records), key=lambda one: one.standing)
    rows: list[PredictionRow] = sorted(map(row, records), key=lambda one: one.standing)
    assert [one.prediction_id for one in rows] == [one.decision.prediction_id for one in found]
