"""`tagstream model adapt`: the files that it takes, and the promise that it keeps."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import Result
from typer.testing import CliRunner

from tagstream.model_export.bundle import bundle as bundles
from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.manifest import Multilabel
from tagstream.model_export.bundle.promise.promise import Promise
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.make import recipe
from tagstream.model_export.make.shares import KnownStream
from tagstream.stream.cli import main
from tests.foreign import bundles as foreign
from tests.foreign.labels import TICKETS

HEADER = "subject,topic,person\n"
ROWS = HEADER + "".join(f"{label} {number} of many,{label},{number % 10}\n" for number in range(40) for label in TICKETS)
COLUMNS = ("--title", "subject", "--tag", "topic", "--group", "person")


class ReachedError(Exception):
    """The calibration would begin; other tests cover it."""


@dataclass
class Asked:
    """The request of the command."""

    options: dict[str, Any]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """No bundle is calibrated."""
    found = Asked({})

    def adapted(_: Bundle, rows: Splits, promise: Promise, stream: KnownStream, *, windows: int | None) -> None:
        found.options = {"rows": rows, "promise": promise, "stream": stream, "windows": windows}
        raise ReachedError

    monkeypatch.setattr(recipe, "adapted", adapted)
    return found


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A bundle of seven labels."""
    return foreign.write(tmp_path / "bundle")


def adapt(bundle: Bundle, *words: object) -> Result:
    """Run the command with balanced shares."""
    shares = bundle.path.with_name("shares.json")
    shares.write_bytes(msgspec.json.encode(dict.fromkeys(TICKETS, 1 / 7)))
    return CliRunner().invoke(
        main.app,
        ["model", "adapt", str(bundle.path), str(bundle.path.with_name("new")), "--prior", str(shares), *map(str, words)],
    )


def changed(bundle: Bundle, **of_manifest: object) -> Bundle:
    """The bundle with another manifest."""
    manifest = msgspec.structs.replace(bundle.manifest, **of_manifest)
    return bundles.write(bundle.path, manifest=manifest, model=bundle.model, tokenizer=bundle.tokenizer)


def rows(bundle: Bundle, text: str) -> Path:
    """A file of rows beside the bundle."""
    path = bundle.path.with_name("rows.csv")
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("words", "promise"),
    [
        ((), Promise(kind="overall", precision=0.98, floor=0.92, review_budget=0.2)),
        (("--precision", 0.9), Promise(kind="overall", precision=0.9, floor=0.92)),
    ],
    ids=["kept", "another"],
)
def test_the_promise_of_the_bundle_is_kept(bundle: Bundle, asked: Asked, words: tuple[object, ...], promise: Promise) -> None:
    """Its precision, its floor and its budget of reviews; --precision asks for another precision, and no budget."""
    threshold = msgspec.structs.replace(
        bundle.manifest.threshold, target_precision=0.98, promise="overall", floor=0.92, review_budget=0.2
    )
    result = adapt(changed(bundle, threshold=threshold), "--data", rows(bundle, ROWS), *COLUMNS, *words)
    assert isinstance(result.exception, ReachedError)
    assert asked.options["promise"] == promise


def test_the_columns_of_a_file_are_named_and_its_groups_stay_together(bundle: Bundle, asked: Asked) -> None:
    """The rows that a training would learn from calibrate too, and the test part is measured on."""
    assert isinstance(adapt(bundle, "--data", rows(bundle, ROWS), *COLUMNS).exception, ReachedError)
    splits = asked.options["rows"]
    assert (splits.train, len(splits.calibration) + len(splits.holdout)) == ((), 280)
    assert splits.holdout
    assert not {row.topic for row in splits.calibration} & {row.topic for row in splits.holdout}


def test_the_version_of_the_rows_is_the_users_word(bundle: Bundle, asked: Asked) -> None:
    """It reaches the record of the rows, which says nothing of a version that nobody named."""
    given = ("--data", rows(bundle, ROWS), *COLUMNS)
    assert isinstance(adapt(bundle, *given, "--data-version", "2026-12").exception, ReachedError)
    assert asked.options["rows"].as_record()["version"] == "2026-12"
    assert isinstance(adapt(bundle, *given).exception, ReachedError)
    assert "version" not in asked.options["rows"].as_record()


@pytest.mark.parametrize("way", ["quick", "teacher"])
def test_the_file_that_a_bundle_has_learned_from_is_refused(bundle: Bundle, asked: Asked, way: str) -> None:
    """Either way: the command does not know how the training divided the file."""
    from tagstream.model_export.data.own.read import OwnColumns, read_own

    path = rows(bundle, ROWS)
    digests = read_own(path, OwnColumns(title="subject", tag="topic")).digests
    learned = changed(bundle, training={way: {}, "data": {"sha256": digests}})
    result = adapt(learned, "--data", path, *COLUMNS)
    assert f"{path} is a file that {bundle.path} has learned from" in str(result.exception)
    assert (getattr(result.exception, "exit_code", None), asked.options) == (2, {})


@pytest.mark.parametrize("option", ["--data", "--from-labels"])
def test_a_label_that_the_bundle_lacks_is_said_with_its_line(bundle: Bundle, asked: Asked, option: str) -> None:
    """A sentence instead of a traceback."""
    path = rows(bundle, HEADER + "Refund,billing,1\nRefund me,refunds,2\n")
    words = ("--data", path) if option == "--data" else ()
    if words:
        result = adapt(bundle, *words, *COLUMNS)
    else:
        new = bundle.path.with_name("new")
        line = ["model", "adapt", str(bundle.path), str(new), option, str(path), *COLUMNS]
        result = CliRunner().invoke(main.app, line)
    assert f"{path}, line 3: {bundle.path} does not have the label 'refunds'" in str(result.exception)
    assert (getattr(result.exception, "exit_code", None), asked.options) == (2, {})


def test_the_bundle_that_is_replaced_is_named(bundle: Bundle, asked: Asked) -> None:
    """As the other verbs do, before the work."""
    foreign.write(bundle.path.with_name("new"))
    result = adapt(bundle, "--data", rows(bundle, ROWS), *COLUMNS)
    assert "holds the bundle foreign 1" in result.stderr
    assert asked.options


def test_rows_for_a_bundle_of_several_labels_have_all_labels_of_a_text(bundle: Bundle, asked: Asked) -> None:
    """The column `tags` is read where the bundle has a second head, and nowhere else."""
    scores = tuple((0.5,) * len(TICKETS) for _ in bundle.manifest.golden)
    option = Multilabel(thresholds=dict.fromkeys(TICKETS, 0.5), golden=scores, metrics={}, training={})
    header, *lines = ROWS.splitlines()
    text = "\n".join([f"{header},tags", *(f"{line},{'access;billing' if line.endswith(',1') else ''}" for line in lines)])
    several = []
    for head in (None, option):
        changed(bundle, multilabel=head)
        assert isinstance(adapt(bundle, "--data", rows(bundle, text), *COLUMNS).exception, ReachedError)
        splits = asked.options["rows"]
        several.append(sum(len(row.tags) > 1 for row in (*splits.calibration, *splits.holdout)))
    assert several == [0, 28]


def test_columns_without_a_file_are_refused(bundle: Bundle) -> None:
    """No option that was asked for is left out in silence."""
    result = adapt(bundle, "--tag", "topic")
    assert (result.exit_code, "the options of columns are about a file of rows" in result.stderr) == (2, True)


@pytest.mark.usefixtures("asked")
def test_rows_that_are_left_out_are_named(bundle: Bundle) -> None:
    """Those without a label when shares are counted, repeats when it is calibrated, with their lines."""
    path = rows(bundle, ROWS + "Nobody knows,,1\nA recipe,off_subject,3\nbilling 0 of many,billing,3\n")
    line = ["model", "adapt", str(bundle.path), str(bundle.path.with_name("new")), "--from-labels", str(path), *COLUMNS]
    assert f"{path}, lines 282 and 283: no label, so not counted." in CliRunner().invoke(main.app, line).stderr
    path = rows(bundle, ROWS + "billing 0 of many,billing,3\n")
    assert f"{path}, line 282: repeated, so not calibrated on." in adapt(bundle, "--data", path, *COLUMNS).stderr
