"""The record of an evaluation: a bundle beside others on the same rows, by models whose answers are known."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
import torch

from tagstream.model_export.bundle.bundle import Bundle, BundleError
from tagstream.model_export.bundle.manifest import LabelThreshold
from tagstream.model_export.bundle.model import OodLimits, Prediction
from tagstream.model_export.compare import contestants, evaluation, evaluation_record, measurement
from tagstream.model_export.compare.contestants import Contestant
from tagstream.model_export.data.madewithml import LABELS, DataError
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Folders
from tagstream.model_export.report import terminal
from tagstream.model_export.train import batches, checkpoint
from tagstream.model_export.train.checkpoint import CheckpointError, Trained
from tagstream.model_export.train.network import Shape, TagNetwork
from tests.replacing import replace

ROWS = [
    Row(
        text=f"{tag} text number {number}",
        tag=tag,
        source="corpus",
        topic=f"{tag}{number}",
        register="paper",
        described=number % 2 == 0,
    )
    for tag in LABELS
    for number in range(20)
]
TRUTH = {row.text: row.tag for row in ROWS}


def model(name: str, *, wrong: int = 0, kind: str = contestants.RIVAL, threshold: float = 0.8) -> Contestant:
    """A model that has `wrong` of `ROWS` wrong, and is less sure of them."""
    missed = {row.text for row in ROWS[::2][:wrong]}

    def predict(texts: Sequence[str]) -> list[Prediction]:
        return [
            Prediction(
                label=LABELS[(LABELS.index(TRUTH.get(text, "other")) + (text in missed)) % len(LABELS)],
                confidence=0.6 if text in missed else 0.9,
                probabilities={},
                energy=-1.0,
                tokens=5,
                truncated=False,
            )
            for text in texts
        ]

    return Contestant(
        name=name, kind=kind, labels=LABELS, predict=predict, asked_below=dict.fromkeys(LABELS, threshold), megabytes=None
    )


def record(*models: Contestant) -> evaluation_record.Measured:
    """Everything of these models on `ROWS`."""
    said: list[str] = []
    return measurement.measure(
        models, {"corpus_test": ROWS, "holdout": []}, digest="d" * 64, target_precision=0.95, rounds=1, say=said.append
    )


@pytest.fixture(scope="module")
def found() -> evaluation_record.Measured:
    """A bundle with four errors, beside a worse model, a better one and one as good."""
    return record(
        model("ours", wrong=4, kind=contestants.BUNDLE), model("worse", wrong=30), model("perfect"), model("alike", wrong=5)
    )


def test_every_step_is_said_before_it_begins() -> None:
    """An evaluation takes minutes: each part of the rows, each model and each round of the clock is a sentence."""
    said: list[str] = []
    measurement.measure(
        [replace(model("ours"), limits=OodLimits(energy=0.0)), model("other")],
        {"corpus_test": ROWS, "holdout": ROWS[:8]},
        calibration=ROWS[:4],
        foreign=ROWS[:2],
        digest="d",
        target_precision=0.9,
        rounds=2,
        say=said.append,
    )
    assert said == [
        "measuring ours: 80 rows of corpus_test",
        "measuring ours: 8 rows of holdout",
        "measuring ours: limits of unusual texts, 6 rows",
        "measuring ours: behaviour suites",
        "measuring other: 80 rows of corpus_test",
        "measuring other: 8 rows of holdout",
        "measuring other: behaviour suites",
        "measuring speed: 88 texts, 2 rounds, one core, all models in turn",
        "measuring speed: round 1 of 2",
        "measuring speed: round 2 of 2",
        "computing the figures and their intervals",
    ]


def test_others_are_judged_on_the_rows_that_part_them(found: evaluation_record.Measured) -> None:
    """Twenty-six rows that one model alone has right are a difference, one is not; correction lowers no p-value."""
    versus = {other.name: other.parts["corpus_test"].versus for other in found.others}
    assert {name: each.verdict for name, each in versus.items() if each is not None} == {
        "worse": evaluation_record.BETTER,
        "perfect": evaluation_record.UNDECIDED,
        "alike": evaluation_record.UNDECIDED,
    }
    assert versus["worse"] is not None
    assert (versus["worse"].test.only_ours, versus["worse"].test.only_theirs) == (26, 0)
    assert all(each.corrected_p >= each.test.p_value for each in versus.values() if each is not None)
    assert found.bundle.parts["corpus_test"].versus is None


def test_beside_another_bundle_each_row_is_counted_as_events_of_the_stream_are() -> None:
    """Who alone is right is the paired test's own count; doors are those of the thresholds; slices and words are those of a shadow."""
    other = model("theirs", wrong=10, kind=contestants.BUNDLE, threshold=0.5)
    said = record(model("ours", wrong=4, kind=contestants.BUNDLE), model("rival", wrong=30), other)
    rival, theirs = (one.parts["corpus_test"] for one in said.others)
    assert rival.versus is not None
    assert theirs.versus is not None
    assert rival.versus.comparison is None
    found, test = theirs.versus.comparison, theirs.versus.test
    assert found is not None
    assert (found.compared, found.discordant, found.answered) == (80, 6, 6)
    assert (found.new_right, found.old_right) == (test.only_ours, test.only_theirs) == (6, 0)
    ours = said.bundle.parts["corpus_test"]
    assert (found.compared - found.new_review, found.compared - found.old_review) == (
        ours.published.kept,
        theirs.published.kept,
    )
    assert (found.moved, found.same) == (4, 0)
    assert {name: count.compared for name, count in found.slices["text"].items()} == {
        each.name: each.rows for each in ours.slices if each.group == "text"
    }
    (line,) = [each for each in said.records() if each["record"] == "comparison"]
    assert (line["model"], line["against"], line["discordant"], line["old_digests"]) == ("theirs", "ours", 6, {})
    sentence = "80 rows of the corpus test decided by ours and by theirs: 0 alike in every figure, 6 with another tag, 4 with another door."
    assert sentence in terminal.as_text(said)


def test_a_better_model_is_said_to_be_better() -> None:
    """The verdict speaks of the bundle, not of the other model."""
    beaten = record(model("ours", wrong=30, kind=contestants.BUNDLE), model("perfect"))
    versus = beaten.others[0].parts["corpus_test"].versus
    assert versus is not None
    assert versus.verdict == evaluation_record.WORSE


def test_parts_without_rows_are_left_out_and_none_at_all_is_an_error(found: evaluation_record.Measured) -> None:
    """A part without rows has no figures, and an evaluation without any rows is refused."""
    assert list(found.bundle.parts) == ["corpus_test"]
    with pytest.raises(ValueError, match="no part of the data has rows"):
        measurement.measure([model("ours")], {"holdout": []}, digest="d", target_precision=0.9, say=print)


def test_records_say_everything_in_lines_of_json(found: evaluation_record.Measured) -> None:
    """Every kind of record is there for every model, with the figures of the evaluation."""
    lines = [msgspec.json.decode(msgspec.json.encode(each)) for each in found.records()]
    kinds = {line["record"] for line in lines}
    assert kinds == {
        "bundle",
        "evaluation",
        "published",
        "reliability",
        "risk_coverage",
        "slice",
        "paired",
        "behaviour",
        "speed",
    }
    accuracy = {line["model"]: line["accuracy"] for line in lines if line["record"] == "evaluation"}
    assert accuracy == {"ours": 0.95, "worse": 0.625, "perfect": 1.0, "alike": 0.9375}
    paired = [line for line in lines if line["record"] == "paired"]
    assert [line["model"] for line in paired] == ["worse", "perfect", "alike"]
    assert {line["against"] for line in paired} == {"ours"}
    assert all(line["few"] == (line["rows"] < 30) for line in lines if line["record"] == "slice")


def test_the_gate_is_of_bundles_alone_and_counts_what_each_part_sends_away() -> None:
    """The gate is measured on parts, calibration rows and foreign rows; a model without a gate has no such record."""
    ours = replace(model("ours", wrong=4, kind=contestants.BUNDLE), limits=OodLimits(energy=-2.0))
    strangers = [replace(row, tag="not-ml") for row in ROWS[:8:2]]
    said = measurement.measure(
        [ours, model("rival")],
        {"corpus_test": ROWS},
        calibration=ROWS[:10],
        foreign=strangers,
        digest="d" * 64,
        target_precision=0.95,
        rounds=1,
        say=lambda _: None,
    )
    gates = [each for each in said.records() if each["record"] == "out_of_distribution"]
    assert [(each["model"], each["false_rejection"]) for each in gates] == [("ours", {"corpus_test": 1.0, "calibration": 1.0})]
    assert (gates[0]["not_ml_rows"], gates[0]["not_ml_rejection"]) == (4, 1.0)
    assert "of 4 rows that are not about machine learning: 100.00% called strange" in terminal.as_text(said)
    calm = record(replace(ours, limits=OodLimits(energy=0.0))).bundle.gate
    assert calm is not None
    assert (calm.false_rejection, calm.not_ml_rows) == ({"corpus_test": 0.0}, 0)


def test_text_has_every_model_and_says_how_many_threads(found: evaluation_record.Measured) -> None:
    """The text for the terminal names every model and the number of threads."""
    text = terminal.as_text(found)
    assert all(text.count(other.name) >= 2 for other in found.models)
    assert "threads=1, tokenisation included" in text
    assert "slices of corpus_test" in text
    assert "better" in text


def test_published_goes_by_the_threshold_of_the_label_that_was_given() -> None:
    """A label that is always asked about is never published, at any confidence; the others go by their own thresholds."""
    ours = replace(
        model("ours", wrong=4, kind=contestants.BUNDLE),
        asked_below=dict.fromkeys(LABELS, 0.5) | {LABELS[0]: 1.0001, "other": 0.7},
    )
    published = record(ours).bundle.parts["corpus_test"].published
    # Of 80 rows, 20 carry the first label: 4 of those are given as the second at 0.6, which that one publishes.
    assert (published.rows, published.kept, published.right) == (80, 64, 60)
    evaluation = record(ours).bundle.parts["corpus_test"].evaluation
    assert (evaluation.coverage, evaluation.precision_at_threshold) == (64 / 80, 60 / 64)
    assert [each.threshold for each in evaluation.classes] == [1.0001, 0.5, 0.5, 0.7]
    assert published.precision == pytest.approx(60 / 64)
    none = record(replace(ours, asked_below=dict.fromkeys(LABELS, 1.0001))).bundle.parts["corpus_test"].published
    assert (none.kept, none.precision, none.share) == (0, None, 0.0)


def test_speed_is_of_texts_from_all_over_the_rows() -> None:
    """Speed is measured on texts spread over all rows, no more of them than there are rows."""
    assert {text.split(" text")[0] for text in measurement.speed_texts(ROWS, 8)} == set(LABELS)
    assert len(measurement.speed_texts(ROWS, 1000)) == len(ROWS)


def test_two_models_of_one_name_are_an_error() -> None:
    """Two models of one name are refused, since no table could tell them apart."""
    with pytest.raises(DataError, match=r"two models are called 'a'.*NAME="):
        contestants.distinct([model("a"), model("b"), model("a")])


def test_a_bundle_is_measured_at_the_thresholds_of_its_manifest(tiny_bundle: Bundle) -> None:
    """The thresholds are those of the labels, or the one for all labels; rivals are measured at the same thresholds."""
    labels = tiny_bundle.manifest.labels
    own = {label: own_threshold(0.5 + place / 10) for place, label in enumerate(labels)}
    manifest = msgspec.structs.replace(
        tiny_bundle.manifest, thresholds=own, reference={"ood_energy": -3.5, "ood_unfamiliar": 0.4}
    )
    found = contestants.of_bundle(msgspec.structs.replace(tiny_bundle, manifest=manifest), LABELS)
    assert found.asked_below == {label: 0.5 + place / 10 for place, label in enumerate(labels)}
    assert found.limits == OodLimits(energy=-3.5, unfamiliar=0.4)
    assert contestants.asked_below(tiny_bundle) == dict.fromkeys(labels, tiny_bundle.manifest.threshold.confidence)


def own_threshold(confidence: float) -> LabelThreshold:
    """A threshold without a certificate."""
    return LabelThreshold(
        confidence=confidence,
        target_precision=0.95,
        precision=0.96,
        precision_lower_bound=0.9,
        bound_level=0.9875,
        rows=30,
        label_rows=40,
        certified=False,
    )


def network(bundle: Bundle, *, labels: tuple[str, ...] = LABELS, words: int | None = None) -> tuple[TagNetwork, Trained]:
    """A random network with the vocabulary of the bundle's tokenizer."""
    vocabulary = words or batches.load_tokenizer(bundle.tokenizer).get_vocab_size()
    torch.manual_seed(4)
    made = TagNetwork(Shape(vocabulary=vocabulary, positions=128, width=16, inner=32, heads=2, layers=1, labels=len(labels)))
    return made, Trained(labels=labels, record={})


def test_checkpoint_answers_as_its_network_does(tmp_path: Path, tiny_bundle: Bundle) -> None:
    """A checkpoint gives the most probable label by its logits, with a fitted temperature; no text gives no prediction."""
    made, trained = network(tiny_bundle)
    with torch.no_grad():
        made.head.weight.mul_(30)
    checkpoint.save(tmp_path / "net.safetensors", made, trained)
    found = contestants.of_checkpoint("net", tmp_path / "net.safetensors", bundle=tiny_bundle, calibration=ROWS)
    texts = [row.text for row in ROWS] + ["deployment of models", ""]
    predictions = found.predict(texts)
    tokenizer = batches.load_tokenizer(tiny_bundle.tokenizer, tiny_bundle.manifest.max_length)
    wanted = batches.logits(made, batches.encode(tokenizer, texts)).argmax(dim=1).tolist()
    assert [LABELS.index(prediction.label) for prediction in predictions] == wanted
    assert all(sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-3) for prediction in predictions)
    assert (found.kind, found.predict([])) == (contestants.NETWORK, [])
    assert found.megabytes == pytest.approx((tmp_path / "net.safetensors").stat().st_size / 1e6, abs=0.1)


@pytest.mark.parametrize("change", [{"labels": ("one", "two")}, {"words": 3}])
def test_checkpoint_of_another_kind_is_refused(tmp_path: Path, tiny_bundle: Bundle, change: dict[str, object]) -> None:
    """A checkpoint with other labels or a smaller vocabulary is refused in a sentence, not by a traceback of PyTorch."""
    made, trained = network(tiny_bundle, **change)  # type: ignore[arg-type]
    checkpoint.save(tmp_path / "net.safetensors", made, trained)
    with pytest.raises(CheckpointError, match=r"cannot be measured beside.*Next:"):
        contestants.of_checkpoint("net", tmp_path / "net.safetensors", bundle=tiny_bundle, calibration=ROWS)


def test_bundle_of_other_labels_is_refused(tiny_bundle: Bundle) -> None:
    """A bundle whose labels are not those of the rows is refused."""
    manifest = msgspec.structs.replace(tiny_bundle.manifest, labels=("cats", "dogs"))
    with pytest.raises(BundleError, match="cannot be measured here: its labels are cats, dogs"):
        contestants.of_bundle(msgspec.structs.replace(tiny_bundle, manifest=manifest), LABELS)


def test_the_command_measures_a_bundle_beside_a_bundle_and_a_checkpoint(
    tmp_path: Path, tiny_bundle_folder: Path, tiny_bundle: Bundle
) -> None:
    """Without Made With ML's files the corpus test is measured, and the same bundle twice has no row that tells it apart."""
    checkpoint.save(tmp_path / "net.safetensors", *network(tiny_bundle))
    said: list[str] = []
    found = evaluation.evaluate(
        tiny_bundle_folder,
        folders=Folders(data=None),
        against=[evaluation.Named(path=tiny_bundle_folder, name="the same again")],
        checkpoints=[evaluation.Named(path=tmp_path / "net.safetensors")],
        say=said.append,
    )
    assert [each.name for each in found.models][1:] == ["the same again", "net"]
    assert list(found.bundle.parts) == ["corpus_test"]
    again, net = (other.parts["corpus_test"].versus for other in found.others)
    assert again is not None
    assert net is not None
    assert (again.test.only_ours, again.test.only_theirs, again.test.difference) == (0, 0, 0.0)
    assert net.verdict == evaluation_record.BETTER
    # Each long step is said before it begins.
    steps = [f"measuring {name}: 1896 rows of corpus_test" for name in ("tiny 1", "the same again", "net")]
    assert [line for line in said if line in steps] == steps
