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
from tests.unit.stream.review.store.making import answer, audit, published, report

MODEL = ModelRef(name="default", version="1", digest=read_manifest(DEFAULT_BUNDLE)[1])
SURE = {"mlops": 0.97, "other": 0.02, "computer-vision": 0.01}


def quality(*words: str) -> Result:
    """`tagstream quality` with these words."""
    return CliRunner().invoke(main.app, ["quality", *words])


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with sixty audits of the last hour by the shipped bundle, answered six seconds apart, of which three are wrong; two people say so."""
    now_ms = unix_ms() - 600_000
    found = f"sqlite:///{tmp_path}/store.db"
    asked = [
        audit(
            f"event-{place}",
            probabilities=SURE,
            confidence=0.97,
            model=MODEL,
            inclusion_probability=0.5,
            tagged_ms=now_ms,
        )
        for place in range(60)
    ]
    with open_store(found) as store:
        store.writer.fill(asked, {})
        for place, one in enumerate(asked):
            tag = "other" if place < 3 else "mlops"
            at_ms = now_ms + 6000 * place
            given = [answer(one.item.event.id, at_ms, of=one.item, tag=tag, asked_by="audit", blind=True)]
            if place < 3:
                given.append(
                    answer(
                        one.item.event.id,
                        at_ms + 1,
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


def counted(url: str) -> None:
    """Let the store read the sixty decisions on `tagged` too."""
    with open_store(url) as store:
        drawn = [
            published(f"event-{place}", place, probabilities=SURE, confidence=0.97, model=MODEL, tagged_ms=unix_ms())
            for place in range(60)
        ]
        store.writer.fill(drawn, {})


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


def test_json_has_what_was_said_of_each_arm_of_a_canary(url: str) -> None:
    """A line for the rest and one for the audience, which nobody has answered yet; a store without a canary has none."""
    assert json.loads(quality("--store", url, "--json").stdout)["report"]["arms"] == []
    kept = {"probabilities": SURE, "confidence": 0.97, "tagged_ms": unix_ms() - 60_000}
    with open_store(url) as store:
        for arm, digest, source in (("champion", MODEL.digest, "web"), ("challenger", "e" * 64, "newsroom")):
            model = ModelRef(name="default", version="2", digest=digest, epoch="3", arm=arm)
            asked = audit(arm, model=model, source=source, inclusion_probability=0.5, **kept)
            store.writer.fill([published(arm, model=model, source=source, **kept), asked, report(arm)], {})
            if arm == "champion":
                store.writer.fill([answer(arm, unix_ms(), of=asked.item, tag="other", asked_by="audit")], {})
    lines = json.loads(quality("--store", url, "--json").stdout)["report"]["arms"]
    assert [(one["name"], one["epochs"], one["sources"]) for one in lines] == [
        ("champion", [3], {"web": 1}),
        ("challenger", [3], {"newsroom": 1}),
    ]
    [champion, challenger] = [one["feedback"] for one in lines]
    # Six seconds for the one answer.
    assert (champion["answers"], champion["reported"], champion["confirmed"]) == (1, 1, 1)
    assert champion["minutes"]["value"] == pytest.approx(0.1)
    assert (challenger["answers"], challenger["reported"], challenger["confirmed"]) == (0, 1, 0)
    assert challenger["minutes"]["value"] == 0
    assert "1 of 2 decisions in these epochs, all from newsroom." in " ".join(quality("--store", url).stdout.split())


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


def test_value_says_what_the_decisions_are_worth(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The events, by day and by bundle too; money once costs.toml is in the working directory."""
    monkeypatch.chdir(tmp_path)
    counted(url)
    done = quality("--store", url, "--value")
    assert done.exit_code == 0, done.output
    assert [title for title in ("What it is worth", "By day", "By bundle") if title not in done.stdout] == []
    assert "Of 60 events of these 30 days, 100.0% needed no person." in done.stdout
    assert "Money is not shown: there is no costs.toml" in done.stdout
    assert "Published without a person" not in done.stdout
    (tmp_path / "costs.toml").write_text('currency = "EUR"\nperson_minute = 0.5\nwrong_publication = 4\n', encoding="utf-8")
    assert "In money, it took 12." in quality("--store", url, "--value").stdout
    found = json.loads(quality("--store", url, "--value", "--json").stdout)
    assert found["report"]["published"]["accuracy"]["answers"] == 60
    worth = found["value"]
    # Three of sixty are wrong: twelve for the mistakes, and items of six seconds at half a euro a minute.
    items = 63 + worth["whole"]["waiting"]
    assert worth["ways"][0]["cost"]["value"] == pytest.approx(12 + items * 0.1 * 0.5)
    assert (worth["currency"], worth["whole"]["answers"], worth["seconds"]["value"]) == ("EUR", 63, 6.0)
    assert [line["name"].split()[0] for line in worth["bundles"]] == ["default"]


def test_wrong_prices_are_usage_errors(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that cannot be used, and a label of the stream without a price: nothing is printed by half of the prices."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "costs.toml").write_text("person_minute = -1\nwrong_publication = 4\n", encoding="utf-8")
    done = quality("--store", url, "--value")
    assert getattr(done.exception, "exit_code", None) == 2
    (tmp_path / "costs.toml").write_text("person_minute = 1\n[wrong_publication]\nmlops = 4\n", encoding="utf-8")
    done = quality("--store", url, "--value")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "has no price of a wrong publication of other" in done.stderr


@pytest.mark.parametrize("words", [("--store", "mysql://host/name"), ("--promise", "2"), ("--days", "0")])
def test_wrong_options_are_usage_errors(words: tuple[str, str]) -> None:
    """A store of another kind, a promise over 1 and no days are refused."""
    done = quality(*words)
    assert done.exit_code == 2 or getattr(done.exception, "exit_code", None) == 2
