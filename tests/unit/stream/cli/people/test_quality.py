"""`tagstream quality` over a store in a file: the table, the JSON, and what is said where there is nothing to say."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, read_manifest
from tagstream.stream.cli import main
from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.review.store.records import unix_ms
from tagstream.stream.review.store.store import open_store
from tests.unit.stream.review.store.making import answer, audit

SURE = {"mlops": 0.97, "other": 0.02, "computer-vision": 0.01}


def quality(*words: str) -> Result:
    """`tagstream quality` with these words."""
    return CliRunner().invoke(main.app, ["quality", *words])


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with sixty audits of the last hour by the shipped bundle, of which three are wrong; two people say so."""
    now_ms = unix_ms() - 60_000
    found = f"sqlite:///{tmp_path}/store.db"
    model = ModelRef(name="default", version="1", digest=read_manifest(DEFAULT_BUNDLE)[1])
    asked = [
        audit(
            f"event-{place}",
            probabilities=SURE,
            confidence=0.97,
            model=model,
            inclusion_probability=0.5,
            tagged_ms=now_ms,
        )
        for place in range(60)
    ]
    with open_store(found) as store:
        store.writer.fill(asked, {})
        for place, one in enumerate(asked):
            tag = "other" if place < 3 else "mlops"
            given = [answer(one.item.event.id, now_ms, of=one.item, tag=tag, asked_by="audit", blind=True)]
            if place < 3:
                given.append(
                    answer(
                        one.item.event.id,
                        now_ms + 1,
                        of=one.item,
                        tag=tag,
                        asked_by="audit",
                        blind=True,
                        reviewer="bob",
                        version=2,
                    )
                )
            store.writer.fill(given, {})
    return found


def test_the_table_says_how_right_the_published_decisions_are(url: str) -> None:
    """The figures, the sentence to read, and whether new thresholds are worth it."""
    done = quality("--store", url)
    assert done.exit_code == 0, done.output
    assert "Published without a person" in done.stdout
    assert "95.0 % (" in done.stdout
    assert "the promise of 95% lies within the interval, so more audits must decide." in done.stdout
    assert "New thresholds are not worth doing yet" in done.stdout
    assert "0% of what was drawn has no answer" in done.stdout


def test_another_bundle_promises_nothing_here(url: str, monkeypatch: pytest.MonkeyPatch, tiny_bundle_folder: Path) -> None:
    """The promise is that of the bundle that decided: without it there is none, unless it is given."""
    monkeypatch.setenv("TAGSTREAM_BUNDLE", str(tiny_bundle_folder))
    assert "The promise is not known" in quality("--store", url).stdout
    assert "the promise of 90%" in quality("--store", url, "--promise", "0.9").stdout


def test_json_has_every_number(url: str) -> None:
    """One object with value, ends and answers of each figure."""
    done = quality("--store", url, "--json")
    found = json.loads(done.stdout)
    accuracy = found["report"]["published"]["accuracy"]
    assert accuracy["value"] == pytest.approx(0.95)
    assert accuracy["low"] < 0.95 < accuracy["high"]
    assert accuracy["answers"] == 60
    assert found["report"]["published"]["by_label"]["mlops"]["precision"]["value"] == pytest.approx(0.95)
    assert found["queue"]["answered"] == 60
    assert found["report"]["headline"].startswith("Of what is published")


def test_without_a_decision_the_next_step_is_said(tmp_path: Path) -> None:
    """An empty store is no report, and no success."""
    done = quality("--store", f"sqlite:///{tmp_path}/empty.db")
    assert done.exit_code == 1
    assert "has no decision of the last 30 days" in done.stderr


def test_without_a_console_no_empty_store_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The console's file is not made by looking for it."""
    monkeypatch.setenv("TAGSTREAM_STATE_FOLDER", str(tmp_path / "state"))
    done = quality()
    assert done.exit_code == 1
    assert "no review console has run on 127.0.0.1:9092 in the group tagstream" in done.stderr
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("words", [("--store", "mysql://host/name"), ("--promise", "2"), ("--days", "0")])
def test_wrong_options_are_usage_errors(words: tuple[str, str]) -> None:
    """A store of another kind, a promise over 1 and no days are refused."""
    done = quality(*words)
    assert done.exit_code == 2 or getattr(done.exception, "exit_code", None) == 2
