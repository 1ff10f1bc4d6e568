"""Export and import with topics in memory: what is read, what is sent, and what is said."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tagstream.stream.cli.people import exchange
from tagstream.stream.contract.answers import AnswerKeys, answer_id, read_answer, unsigned
from tagstream.stream.contract.event import Headers, Record
from tagstream.stream.kafka.admin import TopicDescription
from tagstream.stream.review.exchange import lines
from tagstream.stream.review.exchange.files import Form
from tagstream.stream.settings.security import Security
from tagstream.stream.settings.settings import Settings
from tests.answering import NOW_MS, SURE, UNSURE, answer, audited, decided, reviewed


class Topics:
    """Stands in for the brokers: records by topic, and a producer that adds to them."""

    def __init__(self) -> None:
        """Begin empty; a topic without records exists all the same, but for those in `absent`."""
        self.records: dict[str, list[Record]] = {}
        self.absent: set[str] = set()

    def put(self, topic: str, *records: Record) -> None:
        """Add records."""
        self.records.setdefault(topic, []).extend(records)

    def records_of(self, _: Settings, topic: str) -> Iterator[Record]:
        """As `lines.records_of`."""
        return iter(self.records.get(topic, []))

    def describe(self, _: Settings, names: list[str]) -> Mapping[str, TopicDescription]:
        """As `admin.describe`."""
        return {name: TopicDescription(partitions=None if name in self.absent else 1, operations=None) for name in names}

    @contextlib.contextmanager
    def sender(self, _: Settings) -> Iterator["Topics"]:
        """As `producer.sender`."""
        yield self

    def send(self, topic: str, *, key: bytes, value: bytes, headers: Headers) -> None:
        """As `CountingSender.send`."""
        self.put(topic, Record(topic=topic, key=key, value=value, headers=headers))

    def flush(self) -> None:
        """As `CountingSender.flush`: all is confirmed at once."""


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> Topics:
    """The brokers of this test."""
    made = Topics()
    monkeypatch.setattr(lines, "records_of", made.records_of)
    monkeypatch.setattr(exchange.admin, "require", lambda *_, **__: {})
    monkeypatch.setattr(exchange.admin, "describe", made.describe)
    monkeypatch.setattr(exchange, "sender", made.sender)
    return made


def ids(topics: Topics) -> list[str]:
    """The ids of the answers on `reviewed`, in order."""
    found = [read_answer(record) for record in topics.records["reviewed"]]
    return [answer_id(one.answer) for one in found]  # type: ignore[union-attr]


def test_an_import_sends_what_the_topic_lacks_and_nothing_twice(
    topics: Topics, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An export of one topic is brought to another one; the second import sends nothing."""
    model = decided(UNSURE)
    first = answer(model, "other")
    second = answer(model, "mlops", previous=first, now_ms=NOW_MS + 90_000)
    topics.put("reviewed", reviewed(model, first), reviewed(model, second), Record(key=None, value=b"no answer"))
    out = tmp_path / "answers.jsonl"
    exchange.export(Settings(), form=Form.LINES, out=out, with_open=False)
    assert "1 record of reviewed cannot be read as answers and do not count" in capsys.readouterr().err.replace("\n", " ")
    topics.records["reviewed"] = [reviewed(model, first)]
    for sent in ("1 answer sent", "0 answers sent"):
        exchange.bring(Settings(), form=Form.LINES, file=out, reviewer="import")
        assert sent in capsys.readouterr().err.replace("\n", " ")
    assert ids(topics) == [answer_id(first), answer_id(second)]
    assert topics.records["reviewed"][1].key == b"e-2"


def test_with_keys_unsigned_answers_are_not_there_until_an_import_signs_them(topics: Topics, tmp_path: Path) -> None:
    """An export from before the keys is brought in signed, under the keys and headers of the records; then nothing is fresh."""
    model = decided(UNSURE, key=b"the producer's", headers=(("h", b"1"),))
    topics.put("reviewed", reviewed(model, answer(model, "other")))
    out, file = tmp_path / "answers.jsonl", tmp_path / "keys"
    exchange.export(Settings(), form=Form.LINES, out=out, with_open=False)
    file.write_text("k" * 32)
    file.chmod(0o600)
    settings = Settings(security=Security(answer_keys_file=file))
    assert exchange.on_topics(settings)[0] == []
    for _ in range(2):
        exchange.bring(settings, form=Form.LINES, file=out, reviewer="import")
    before, after = topics.records["reviewed"]
    assert (before.key, before.value, before.headers) == (after.key, after.value, unsigned(after.headers))
    assert AnswerKeys((b"k" * 32,)).accept(after)
    assert len(exchange.on_topics(settings)[0]) == 1


def test_label_studio_gets_what_waits_and_its_answers_are_sent(topics: Topics, tmp_path: Path) -> None:
    """An audit and a review become tasks, the audit a blind one; the annotated one becomes an answer, once."""
    topics.put("review", decided(UNSURE))
    topics.put("audit", audited(decided(SURE)))
    out = tmp_path / "tasks.json"
    exchange.export(Settings(), form=Form.LABEL_STUDIO, out=out, with_open=True)
    tasks = {task["data"]["event_id"]: task for task in json.loads(out.read_bytes())}
    assert {event: len(task["predictions"]) for event, task in tasks.items()} == {"e-1": 0, "e-2": 1}
    chosen = {"from_name": "tag", "to_name": "text", "type": "choices", "value": {"choices": ["other"]}}
    tasks["e-1"]["annotations"] = [{"result": [chosen], "created_at": "2024-01-02T03:04:05Z"}]
    out.write_text(json.dumps(list(tasks.values())), encoding="utf-8")
    for _ in range(2):
        exchange.bring(Settings(), form=Form.LABEL_STUDIO, file=out, reviewer="lea")
    [record] = topics.records["reviewed"]
    found = read_answer(record)
    assert (found.answer.event_id, found.answer.tag, found.answer.reviewer) == ("e-1", "other", "lea")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("form", "content"), [(Form.LINES, b"{}\n"), (Form.LABEL_STUDIO, b"{}"), (Form.LABEL_STUDIO, b'[{"data":{}}]')]
)
def test_a_file_of_another_kind_sends_nothing(topics: Topics, tmp_path: Path, form: Form, content: bytes) -> None:
    """The refusal is a sentence with the next step, where there is something to refuse."""
    file = tmp_path / "file"
    file.write_bytes(content)
    if content.startswith(b"["):
        exchange.bring(Settings(), form=form, file=file, reviewer="lea")
    else:
        with pytest.raises(lines.ExchangeError, match=r"Next: "):
            exchange.bring(Settings(), form=form, file=file, reviewer="lea")
    assert "reviewed" not in topics.records


def test_without_the_topic_audit_the_reviews_are_read(topics: Topics, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said that nothing is known of what is published."""
    topics.absent.add("audit")
    topics.put("review", decided(UNSURE))
    answered, asked = exchange.on_topics(Settings())
    assert (answered, [one.event.id for one in asked]) == ([], ["e-2"])
    assert "the topic audit does not exist" in capsys.readouterr().err.replace("\n", " ")
