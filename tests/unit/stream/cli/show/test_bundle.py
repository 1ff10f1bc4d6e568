"""`tagstream model inspect`: a screenful for a person, and the manifest for a program."""

import json

import msgspec
import pytest
from typer.testing import CliRunner

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.bundle import read as read_bundle
from tagstream.model_export.bundle.manifest import ALWAYS_ASK, LabelThreshold
from tagstream.model_export.bundle.promise.promise import Money, Priced
from tagstream.model_export.make import card
from tagstream.stream.cli import main
from tagstream.stream.cli.show.bundle import print_bundle
from tagstream.stream.settings.settings import Settings
from tests.conftest import TINY_BUNDLE

ROWS = {"train": 12_345, "unlabelled": 0, "calibration": 678, "corpus_test": 9, "holdout": 191}
DATA = {"rows": ROWS, "sha256": {"b.csv": "e" * 64, "a.jsonl": "f" * 64}, "near_duplicates_removed": 3}
OTHER_DATA = {**DATA, "rows": {**ROWS, "train": 777}}
BASE = {"name": "somebody/something", "revision": "0123456789abcdef"}


def shown(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> str:
    """The printed text of a bundle."""
    print_bundle(bundle)
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


def trained(bundle: Bundle, **training: object) -> Bundle:
    """The bundle with another record of its training."""
    return msgspec.structs.replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, training=training))


def test_the_shipped_bundle_is_a_screenful_on_standard_output() -> None:
    """Standard output has name, digest, labels, size, origin and each label's threshold; standard error is empty."""
    bundle = read_bundle(Settings().bundle)
    done = CliRunner().invoke(main.app, ["model", "inspect"])
    assert (done.exit_code, done.stderr) == (0, "")
    manifest = bundle.manifest
    assert len(done.stdout.splitlines()) < 30
    assert done.stdout.startswith(f"{manifest.name} {manifest.version}, in {bundle.path}\n")
    for expected in (bundle.digest, ", ".join(manifest.labels), manifest.training["base_model"]["name"]):
        assert expected in done.stdout
    for label, threshold in manifest.thresholds.items():
        assert f"  {threshold.confidence:<8}{threshold.sentence(label)}\n" in done.stdout


def test_the_limits_of_unusual_texts_have_name_and_value(tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    """Each limit is shown by its name in the manifest; a limit that a bundle lacks is left out, and none is said."""

    def limited(**reference: object) -> str:
        manifest = msgspec.structs.replace(tiny_bundle.manifest, reference=reference)
        return shown(msgspec.structs.replace(tiny_bundle, manifest=manifest), capsys)

    both = limited(ood_energy=-1.5, ood_unfamiliar=0.25, known_words=["a", "b"])
    assert "  ood_energy      -1.5     energy of the logits: " in both
    assert "  ood_unfamiliar  0.25     share of words that are not among the 2 known ones: " in both
    assert "ood_unfamiliar" not in limited(ood_energy=-1.5)
    assert "  ood_strangeness 1.25     more like texts of none of the labels" in limited(ood_strangeness=1.25)
    assert "limits   none: " in limited()


def test_a_promise_is_stated_apart_for_real_titles(tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    """Where real titles and other rows calibrate, the reader sees what is published of either, and how right it is."""
    told = {"rows": 3142, "coverage": 0.712, "precision_at_threshold": 0.9583}
    metrics = {"calibration_real": told, "calibration_others": told | {"rows": 1836}}
    promised = msgspec.structs.replace(tiny_bundle.manifest.threshold, promise="overall")
    manifest = msgspec.structs.replace(tiny_bundle.manifest, metrics=metrics, threshold=promised)
    said = shown(msgspec.structs.replace(tiny_bundle, manifest=manifest), capsys)
    assert "of the 3,142 calibration rows that are real titles, 71.2% published, 0.9583 of these right" in said
    assert "of the 1,836 other calibration rows" in said


def test_a_gate_says_what_it_costs_and_finds(tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside its limit stand the texts of the labels that it loses, with the bound, the neighbours that pass it, and the strange ones that are published with and without it."""
    record = {
        "level": 0.95,
        "lost": {"calibration": {"rows": 1000, "hits": 4, "upper": 0.0091}},
        "neighbours": {"rows": 1000, "hits": 250, "upper": 0.274},
        "published": {"all": {"rows": 200, "hits": 5, "upper": 0.05, "without": 0.125}},
    }
    manifest = msgspec.structs.replace(
        tiny_bundle.manifest,
        reference={"ood_strangeness": 1.25},
        training={**tiny_bundle.manifest.training, "strangers": record},
    )
    said = shown(msgspec.structs.replace(tiny_bundle, manifest=manifest), capsys)
    assert "4 of 1,000 texts of the labels lost (calibration), at most 0.9% with 95% certainty" in said
    assert (
        "neighbours: 25.0% of 1,000 texts of the labels pass it by fits without their label, before their confidence counts"
        in said
    )
    assert (
        "2.5% of 200 texts of none of the labels published, judged by fits without their source; 12.5% without this limit"
        in said
    )


def test_json_is_the_whole_manifest() -> None:
    """`--json` prints the whole manifest in one line."""
    done = CliRunner().invoke(main.app, ["model", "inspect", str(TINY_BUNDLE), "--json"])
    bundle = read_bundle(TINY_BUNDLE)
    assert done.stdout.count("\n") == 1
    assert json.loads(done.stdout) == {"digest": bundle.digest, **json.loads(msgspec.json.encode(bundle.manifest))}


def test_a_label_without_a_certificate_says_so(tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    """It has the threshold of all labels, or a person is always asked; the text calls neither a promise."""
    never = LabelThreshold(
        confidence=ALWAYS_ASK,
        target_precision=0.95,
        precision=0.5,
        precision_lower_bound=0.1,
        bound_level=0.9875,
        rows=4,
        label_rows=9,
        certified=False,
    )
    bundle = msgspec.structs.replace(
        tiny_bundle, manifest=msgspec.structs.replace(tiny_bundle.manifest, thresholds={"other": never})
    )
    text = shown(bundle, capsys)
    assert "  0.8     mlops: no certificate; this is the threshold of all labels\n" in text
    assert f"  always  {never.sentence('other')}\n" in text


def test_prices_and_the_cost_by_them_are_shown(tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    """Split, with intervals, beside both ends; a bundle without prices has no such line, and its card neither."""
    priced = Priced(
        wrong_publication={"mlops": {"other": 3.0}, "other": 1.5},
        item=0.5,
        currency="EUR",
        rows=900,
        published=0.75,
        cost=Money(value=2000.4, low=1500.0, high=2700.0),
        mistakes=Money(value=750.25, low=250.0, high=1450.0),
        people=Money(value=1250.15, low=1200.0, high=1300.0),
        everything=5000.0,
        nothing=Money(value=9000.0, low=8000.0, high=10_000.0),
    )
    assert "costs " not in shown(tiny_bundle, capsys)
    manifest = msgspec.structs.replace(tiny_bundle.manifest, priced=priced)
    said = [
        "a wrong publication of mlops 3 (in truth other); of other 1.5 EUR, an item for a person 0.5 EUR",
        "cost 2,000 [1,500, 2,700] EUR: mistakes 750.2 [250, 1,450], people 1,250 [1,200, 1,300]; 75.0% are published",
        "everything to people 5,000 EUR, nothing to people 9,000 [8,000, 10,000] EUR",
    ]
    text = shown(msgspec.structs.replace(tiny_bundle, manifest=manifest), capsys)
    assert [text.count(each) for each in said] == [1, 1, 1]
    page = card.files(manifest)[card.README]
    assert page.count("everything to people 5,000 EUR") == 1
    assert "everything to people" not in card.files(tiny_bundle.manifest)[card.README]


@pytest.mark.parametrize(
    ("training", "says"),
    [
        ({"base_model": BASE, "data": DATA}, ["of somebody/something, revision 0123456789ab", "rows: 12,345 learned from"]),
        ({"data": DATA, "ngrams": {"data": DATA}}, ["rows: 12,345", "files: a.jsonl, b.csv"]),
        ({"data": DATA, "ngrams": {"data": OTHER_DATA}}, ["rows: 12,345", "n-grams: rows: 777 learned from"]),
        ({"data": DATA, "calibrated": {"data": OTHER_DATA}}, ["rows: 12,345", "promises: rows: 777"]),
        (
            {"data": DATA, "encoder": {"bundle": "9" * 64, "base_model": BASE}},
            ["somebody/something", "of the encoder of the bundle 999999999999, its head fitted anew"],
        ),
        ({"made_by": "a script"}, ["by a script"]),
        (
            {
                "parent": {
                    "name": "old",
                    "version": "3",
                    "digest": "8" * 64,
                    "changed": ["rows", "network"],
                    "rows": {"came": 2, "went": 1, "relabelled": 0, "stayed": 9},
                },
                "data": {**DATA, "version": "2026-11"},
            },
            [
                "parent old 3 (888888888888); changed: rows, network; of the texts, 2 came, 1 went, 0 changed their label, 9 stayed",
                "rows (version 2026-11): 12,345 learned from",
            ],
        ),
        ({"data": "a [red]lie[/red]", "base_model": None}, ["of what its manifest does not say"]),
    ],
)
def test_every_way_to_make_a_bundle_says_of_what(
    training: dict[str, object], says: list[str], tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each part of the training record is shown once, and a missing part is no error."""
    text = shown(trained(tiny_bundle, **training), capsys)
    for expected in says:
        assert text.count(expected) == 1
    assert "without labels" not in text


def test_a_manifest_cannot_draw_on_the_terminal(tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters in a manifest are escaped, since a bundle may come from a stranger."""
    assert "by \\x1b[2J[b]x\n" in shown(trained(tiny_bundle, made_by="\x1b[2J[b]x"), capsys)
