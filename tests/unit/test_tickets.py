"""`examples/tickets`: the files of the tutorial fit each other."""

import csv
import json
import tomllib
from collections import Counter
from pathlib import Path

from tagstream.stream.contract.event import ContentEvent, Record, decode

TICKETS = Path(__file__).parents[2] / "examples" / "tickets"
LABELS = {"access", "billing", "bug", "data", "feature-request", "how-to", "integration"}


def rows(name: str) -> list[dict[str, str]]:
    """The rows of one file, by column."""
    with (TICKETS / name).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def events() -> list[dict[str, str]]:
    """The unlabelled tickets."""
    return [json.loads(line) for line in (TICKETS / "events.jsonl").read_text("utf-8").splitlines()]


def test_the_files_have_the_rows_and_labels_that_the_page_names() -> None:
    """600 rows with at least 70 of each label, 140 gold rows with 20 of each, 60 events with none."""
    counts, gold = Counter(row["tag"] for row in rows("rows.csv")), Counter(row["tag"] for row in rows("gold.csv"))
    assert set(counts) == LABELS
    assert (sum(counts.values()), min(counts.values())) == (600, 70)
    assert gold == dict.fromkeys(LABELS, 20)
    assert len(events()) == 60
    assert not any("tag" in event for event in events())


def test_no_text_and_no_id_is_there_twice() -> None:
    """A text in both files would be learned and then asked for."""
    everything = [*rows("rows.csv"), *rows("gold.csv"), *events()]
    texts = Counter((row["title"].casefold(), row.get("description", "").casefold()) for row in everything)
    assert [text for text, times in texts.items() if times > 1] == []
    assert len({row["id"] for row in everything}) == len(everything)


def test_every_event_is_one_by_the_contract() -> None:
    """A worker refuses none of the 60."""
    lines = (TICKETS / "events.jsonl").read_bytes().splitlines()
    assert all(isinstance(decode(Record(key=None, value=line)), ContentEvent) for line in lines)


def test_rules_suite_and_guidelines_speak_of_the_same_labels() -> None:
    """Each of the three files beside the rows has all seven labels and no other."""
    rules = tomllib.loads((TICKETS / "rules.toml").read_text("utf-8"))
    cases = [json.loads(line) for line in (TICKETS / "suite.jsonl").read_text("utf-8").splitlines()]
    guidelines = (TICKETS / "guidelines.md").read_text("utf-8")
    assert set(rules["words"]) == LABELS
    assert rules["otherwise"] in LABELS
    assert {case["tag"] for case in cases if "tag" in case} == LABELS
    assert all(f"| `{label}` |" in guidelines for label in LABELS)
