"""A tiny random transformer through the real path: export, quantise, bundle, classify."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import onnx
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from tagstream.model_export.bundle import bundle
from tagstream.model_export.bundle.bundle import LABELS_METADATA_KEY
from tagstream.model_export.bundle.invariance import ParityError
from tagstream.model_export.bundle.model import OnnxClassifier
from tagstream.model_export.bundle.onnx_graph import STANDARD_DOMAINS, summarise
from tagstream.model_export.bundle.promise.promise import Promise
from tagstream.model_export.calibrate import prior, temperature
from tagstream.model_export.calibrate.errors import CalibrationError
from tagstream.model_export.data import madewithml
from tagstream.model_export.data.madewithml import LABELS
from tagstream.model_export.data.own.rows import learned_files
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.make import recipe, steps
from tagstream.model_export.make import shipped_training as trainings
from tagstream.model_export.make.multilabel import LabelHeadRecipe
from tagstream.model_export.make.recipe import BundleRecipe, unseen
from tagstream.model_export.make.shares import KnownStream
from tagstream.model_export.make.steps import Made
from tagstream.model_export.onnx import export, parity, quantize
from tagstream.model_export.train import base_model, batches, checkpoint, rounding, tuning
from tagstream.model_export.train.checkpoint import CheckpointError, Trained
from tagstream.model_export.train.distil import StudentRecipe, distil, learn
from tagstream.model_export.train.examples import Examples, drawing_weights, soft_examples
from tagstream.model_export.train.network import Int8Embedding, Shape, TagNetwork
from tagstream.stream.decide.from_settings import decider_of_bundle
from tests.fakes import KeywordClassifier
from tests.replacing import replace

WORDS = tuple(f"w{number}" for number in range(60))
SHAPE = Shape(vocabulary=64, positions=64, width=32, inner=64, heads=4, layers=2, labels=len(LABELS))


def network(seed: int = 0) -> TagNetwork:
    """A random network with large head weights."""
    torch.manual_seed(seed)
    made = TagNetwork(SHAPE).eval()
    with torch.no_grad():
        made.head.weight.mul_(20)
    return made


def rows(count: int, seed: int = 1) -> list[list[int]]:
    """Random token ids of several lengths, between the special ones."""
    generator = np.random.default_rng(seed)
    return [[2, *generator.integers(4, 64, generator.integers(4, 30)).tolist(), 3] for _ in range(count)]


def tokenizer() -> Tokenizer:
    """A word-level tokenizer for `WORDS`."""
    made = Tokenizer(models.WordLevel({w: n for n, w in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS))}, "[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return made


def test_first_token_pooling_leaves_out_only_what_nobody_reads() -> None:
    """Computing one token of the last layer gives the same state as computing all of them, up to rounding."""
    torch.manual_seed(4)
    whole = TagNetwork(SHAPE).eval()
    short = whole.shallow([0, 1], "first").eval()
    ids, mask = batches.pad(rows(6))
    states = whole.embedded_norm(whole.words(ids) + whole.positions.weight[: ids.shape[1]])
    for layer in whole.layers:
        states = layer(states, ((1.0 - mask.float()) * -10_000.0)[:, None, None, :])
    wanted = torch.nn.functional.normalize(states[:, 0], dim=-1)
    assert torch.allclose(short.embed(ids, mask), wanted, atol=1e-6)


@pytest.fixture(scope="module")
def exported() -> tuple[TagNetwork, bytes, bytes]:
    """The network for export, its float32 file and its int8 file."""
    final = network().for_export()
    plain = export.to_onnx(final, LABELS, longest=final.shape.positions)
    return final, plain, quantize.quantize(plain, rows(64), LABELS)


def test_network_is_bert_with_mean_pooling() -> None:
    """The plain module gives the vectors of transformers' BERT, pooled and scaled to unit length."""
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=4,
        num_hidden_layers=2,
        max_position_embeddings=64,
    )
    bert = BertModel(config, add_pooling_layer=False).eval()
    ids, mask = batches.pad(rows(5))
    with torch.no_grad():
        states = bert(input_ids=ids, attention_mask=mask).last_hidden_state * mask[:, :, None]
        expected = torch.nn.functional.normalize(states.sum(dim=1), dim=1)
        found = TagNetwork.from_bert(bert, labels=4).eval().embed(ids, mask)
    assert torch.allclose(expected, found, atol=1e-5)


def test_files_hold_standard_operators_and_the_labels(exported: tuple[TagNetwork, bytes, bytes]) -> None:
    """Neither file needs anything beyond the ONNX standard, and each carries the labels."""
    for data in exported[1:]:
        summary = summarise(data)
        assert summary.domains <= STANDARD_DOMAINS
        assert summary.metadata[LABELS_METADATA_KEY] == "\n".join(LABELS)
        assert summary.external_tensors == ()


def test_float_file_is_the_trained_network(exported: tuple[TagNetwork, bytes, bytes]) -> None:
    """The float32 file gives the trained network's logits up to rounding, at every length."""
    final, plain, _ = exported
    some = rows(40, seed=2)
    found = parity.check_export(batches.logits(final, some).double().numpy(), parity.run(plain, some), parity.GateLimits())
    assert found.max_logit < 1e-4


def test_int8_file_multiplies_in_eight_bits(exported: tuple[TagNetwork, bytes, bytes]) -> None:
    """At least Q, K, V, the attention's output, the widening half and the head read quantised weights; so do the words."""
    model = onnx.load_model_from_string(exported[2])
    weights = [
        tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 2
    ]
    assert len(weights) >= 2 * 5 + 1 + 1
    assert len(exported[2]) < len(exported[1])


def test_int8_embedding_is_within_half_a_step() -> None:
    """A row is off by at most half of a 127th of its largest value."""
    torch.manual_seed(4)
    weight = torch.randn(10, 8)
    found = Int8Embedding(weight)(torch.arange(10))
    assert bool(((found - weight).abs() <= weight.abs().amax(dim=1, keepdim=True) / 127 * 0.501).all())


def test_operator_outside_the_standard_is_refused() -> None:
    """A fused operator of a runtime is caught before a bundle is made."""
    node = onnx.helper.make_node("FusedThing", ["x"], ["y"], domain="com.example")
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([node], "g", [value], [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])])
    with pytest.raises(export.ExportError, match=r"com\.example"):
        export.finish(onnx.helper.make_model(graph), LABELS)


def test_rounding_is_felt_and_then_gone() -> None:
    """Inside the context inputs take 256 values; afterwards the network is as before."""
    net, some = network(), rows(4)
    before = batches.logits(net, some)
    with rounding.rounded_activations(net):
        within = batches.logits(net, some)
    assert not torch.equal(before, within)
    assert torch.equal(before, batches.logits(net, some))
    assert len(torch.unique(rounding.in_steps(torch.randn(5000)))) <= 256


def examples(count: int) -> Examples:
    """Rows whose label stands in their first word."""
    made = rows(count, seed=9)
    return Examples(rows=made, targets=[row[1] % 4 for row in made], sources=["corpus"] * count)


def test_student_moves_toward_its_teacher() -> None:
    """A student of one layer learns the vectors of a teacher of two."""
    teacher, some = network(), examples(64)
    recipe = StudentRecipe(layers=(0,), epochs=8, learning_rate=3e-3, batch_rows=16)
    student = distil(teacher, some, soft_examples(some, rows(16, seed=8), labels=4), recipe)
    wanted = batches.embed(teacher, some.rows)
    before, after = (float((batches.embed(net, some.rows) - wanted).square().sum()) for net in (teacher.shallow([0]), student))
    assert after < before


def test_a_student_without_a_teacher_learns_the_labels() -> None:
    """It begins with layers of the base encoder and a fresh head, and gets the labels of most texts that it learns from."""
    some, base = examples(96), TagNetwork(SHAPE).eval()
    recipe = StudentRecipe(layers=(0,), epochs=40, learning_rate=3e-3, batch_rows=16, dropout=0.0)
    student = learn(base, some, soft_examples(some, labels=len(LABELS)), recipe)
    assert student.shape.layers == 1
    right = batches.logits(student, some.rows).argmax(dim=1) == torch.tensor(some.targets)
    assert float(right.float().mean()) > 0.6


@pytest.mark.parametrize("judged", [False, True])
def test_a_text_that_nobody_judged_teaches_a_student_nothing(monkeypatch: pytest.MonkeyPatch, *, judged: bool) -> None:
    """Without a teacher, a text without label and opinion is not drawn."""
    drawn: list[torch.Tensor] = []
    plan = batches.plan

    def spy(some: Sequence[Sequence[int]], weights: torch.Tensor, **options: int) -> Iterator[list[int]]:
        drawn.append(weights)
        return plan(some, weights, **options)

    monkeypatch.setattr(batches, "plan", spy)
    some = examples(64)
    advice = (torch.full((64, 4), 0.25), torch.full((2, 4), 0.25)) if judged else None
    lessons = soft_examples(some, rows(2, seed=8), labels=4, advice=advice)
    learn(network(), some, lessons, StudentRecipe(layers=(0,), epochs=1, batch_rows=16))
    assert [bool(weight > 0) for weight in drawn[0][-2:]] == [judged, judged]


def test_a_student_learns_vectors_of_another_width() -> None:
    """A line turns its vectors into those that it is given, so that these can be read from its own; the line itself is dropped."""
    some, base = examples(96), TagNetwork(SHAPE).eval()
    torch.manual_seed(3)
    aims = torch.nn.functional.normalize(
        torch.nn.functional.one_hot(torch.tensor(some.targets), 4).float() @ torch.randn(4, 7), dim=-1
    )
    recipe = StudentRecipe(layers=(0,), epochs=40, learning_rate=3e-3, batch_rows=16, label_weight=0.0)
    student = learn(base, some, soft_examples(some, labels=len(LABELS)), recipe, vectors=aims)
    assert set(student.state_dict()) == set(base.shallow([0]).state_dict())

    def unexplained(network: TagNetwork) -> float:
        vectors = torch.cat([batches.embed(network, some.rows), torch.ones(len(some.rows), 1)], dim=1)
        return float((vectors @ torch.linalg.lstsq(vectors, aims).solution - aims).square().sum())

    assert unexplained(student) < 0.7 * unexplained(base.shallow([0]))


def test_an_output_is_dropped_with_its_line_of_the_head_alone() -> None:
    """The logits of the other labels stay as they are, but for the order of additions."""
    whole = network()
    assert torch.allclose(batches.logits(whole.with_labels(3), rows(5)), batches.logits(whole, rows(5))[:, :3], atol=1e-5)


def test_an_opinion_is_learned_where_there_is_no_label() -> None:
    """A text without a label moves toward the label that the adviser gives it."""
    some, silent = examples(64), [[1, 7, 7, 2]]
    opinion = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    lessons = soft_examples(some, silent, labels=4, advice=(torch.full((64, 4), 0.25), opinion))
    recipe = tuning.TeacherRecipe(epochs=6, batch_rows=16, unlabelled_share=0.5, learning_rate=3e-3, label_smoothing=0.0)
    net = network()
    before = float(torch.softmax(batches.logits(net, silent), dim=-1)[0, 3])
    tuning.run_epochs(net, some, lessons, recipe)
    assert float(torch.softmax(batches.logits(net, silent), dim=-1)[0, 3]) > before


@pytest.mark.parametrize("judged", [False, True])
def test_the_tuning_draws_unlabelled_texts_only_where_somebody_judged_them(
    monkeypatch: pytest.MonkeyPatch, *, judged: bool
) -> None:
    """Unlabelled texts are drawn in their share with an adviser, and never without one."""
    drawn: list[torch.Tensor] = []
    plan = batches.plan

    def spy(some: Sequence[Sequence[int]], weights: torch.Tensor, **options: int) -> Iterator[list[int]]:
        drawn.append(weights)
        return plan(some, weights, **options)

    monkeypatch.setattr(batches, "plan", spy)
    some, silent = examples(64), rows(16, seed=8)
    advice = (torch.full((64, 4), 0.25), torch.full((16, 4), 0.25)) if judged else None
    lessons = soft_examples(some, silent, labels=4, advice=advice)
    tuning.run_epochs(network(), some, lessons, tuning.TeacherRecipe(epochs=1, batch_rows=16, unlabelled_share=0.25))
    share = float(drawn[0][lessons.labelled :].sum() / drawn[0].sum())
    assert share == pytest.approx(0.25 if judged else 0.0, abs=1e-6)


def test_label_and_opinion_share_a_target() -> None:
    """Half a label and half an opinion: each target still adds up to one."""
    some = Examples(rows=[[1], [2]], targets=[0, 1], sources=["corpus", "corpus"])
    advice = (torch.tensor([[0.2, 0.8], [0.5, 0.5]]), torch.zeros(0, 2))
    assert torch.allclose(soft_examples(some, labels=2, advice=advice).targets, torch.tensor([[0.6, 0.4], [0.25, 0.75]]))


def test_tuning_keeps_the_share_that_loses_least() -> None:
    """The chosen share is the one with the smallest calibration loss, and the network has its weights."""
    some = examples(96)
    tuned = tuning.tune(
        network(), some, examples(32), tuning.TeacherRecipe(epochs=1, batch_rows=16), soft_examples(some, labels=len(LABELS))
    )
    assert tuned.losses[str(tuned.tuned_share)] == min(tuned.losses.values())
    assert tuning.balanced_loss(tuned.network, examples(32)) == pytest.approx(min(tuned.losses.values()), abs=1e-6)


def test_interpolation_ends_at_both_networks() -> None:
    """Share 0 is the base, share 1 the tuned network."""
    base, tuned = network(0).state_dict(), network(1).state_dict()
    assert all(torch.equal(tuning.interpolate(base, tuned, 0.0)[name], base[name]) for name in base)
    assert all(torch.allclose(tuning.interpolate(base, tuned, 1.0)[name], tuned[name]) for name in base)


def test_checkpoint_keeps_the_network(tmp_path: Path) -> None:
    """Weights and record are the same after saving and loading."""
    trained = Trained(labels=LABELS, record={"seconds": 1.5})
    checkpoint.save(tmp_path / "net.safetensors", network(), trained)
    found, record = checkpoint.load(tmp_path / "net.safetensors")
    assert torch.equal(batches.logits(found, rows(3)), batches.logits(network(), rows(3)))
    assert record == trained


def test_other_file_is_no_checkpoint(tmp_path: Path) -> None:
    """Another file is refused with a next step."""
    (tmp_path / "net.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="Next:"):
        checkpoint.load(tmp_path / "net.safetensors")


def splits() -> Splits:
    """Texts labelled by the network itself, so that a threshold exists."""
    net, own = network(), tokenizer()
    generator = np.random.default_rng(6)
    texts = [" ".join(generator.choice(WORDS, size=generator.integers(4, 20))) for _ in range(120)]
    logits = batches.logits(net, batches.encode(own, texts))
    labelled = [
        Row(text=text, tag=LABELS[int(place)], source="corpus", topic="t")
        for text, place in zip(texts, logits.argmax(dim=1), strict=True)
    ]
    return Splits(
        train=tuple(labelled[:64]),
        calibration=tuple(labelled[64:104]),
        holdout=tuple(labelled[104:]),
        corpus_test=(),
        unlabelled=(),
        near_duplicates_removed=0,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A bundle made on the whole path."""
    folder = tmp_path_factory.mktemp("bundles")
    with pytest.MonkeyPatch.context() as patch:
        base = SimpleNamespace(tokenizer=tokenizer().to_str().encode())
        patch.setattr(base_model, "load", lambda: base)
        return steps.make(folder / "bundle", of_file(folder / "net.safetensors"))


def of_file(kept: Path, **limits: float) -> BundleRecipe:
    """The recipe of the network as a file, with limits that a random one keeps."""
    checkpoint.save(kept, network(), Trained(labels=LABELS, record={"seed": 0}))
    of = recipe.exported(kept, splits(), Promise(kind="both", precision=0.5))
    return replace(of, limits=parity.GateLimits(**({"quantised_agreement": 0.5, "quantised_flips": 0.9} | limits)))


def test_network_becomes_a_bundle_that_the_worker_loads(built: Made) -> None:
    """The whole path writes a bundle whose manifest has its proofs and its measurements."""
    manifest = built.bundle.manifest
    invariance = manifest.parity["batch_invariance"]
    assert (invariance["max_probability"], invariance["max_energy"]) == (0.0, 0.0)
    assert manifest.metrics["holdout"]["rows"] == 16
    assert len(manifest.golden) == 8
    assert manifest.reference["rows"] == 40
    assert manifest.threshold.precision >= 0.5


def test_every_label_of_a_new_bundle_has_its_certificate_or_its_refusal(built: Made) -> None:
    """Each of the four labels has a certificate or the number of labels it lacks; the decider applies these thresholds."""
    manifest = built.bundle.manifest
    assert set(manifest.thresholds) == set(LABELS)
    assert sum(found.label_rows for found in manifest.thresholds.values()) == 40
    assert {found.target_precision for found in manifest.thresholds.values()} == {0.5}
    classes = {report["label"]: report["threshold"] for report in manifest.metrics["holdout"]["classes"]}
    assert (
        classes
        == manifest.asked_below()
        == {label: decider_of_bundle(built.bundle, KeywordClassifier()).asked_below(label) for label in LABELS}
    )


def test_the_gate_is_measured_on_every_part(built: Made) -> None:
    """The calibration rows chose both limits, and their share is the reference's; the rows without a class are foreign."""
    gate = built.bundle.manifest.metrics["out_of_distribution"]
    reference = built.bundle.manifest.reference
    assert (gate["ood_energy"], gate["ood_unfamiliar"]) == (reference["ood_energy"], reference["ood_unfamiliar"])
    assert gate["false_rejection"].keys() == {"holdout", "calibration"}
    assert gate["false_rejection"]["calibration"] == reference["ood_ratio"]
    assert gate["not_ml_rows"] == 0


def test_a_bundle_is_calibrated_anew_with_its_network_and_tokenizer(built: Made, tmp_path: Path) -> None:
    """
    Network and tokenizer stay to the byte; the promise is new, and figures that cannot be measured any more are left
    out.
    """
    old = built.bundle
    changed = steps.make(tmp_path, recipe.calibrated(old, splits(), Promise(kind="both", precision=0.9))).bundle
    assert changed.manifest.files == old.manifest.files
    assert changed.digest != old.digest
    assert changed.manifest.temperature == old.manifest.temperature
    assert {found.target_precision for found in changed.manifest.thresholds.values()} == {0.9}
    assert changed.manifest.version == f"{old.manifest.version}-calibrated"
    assert changed.manifest.training["calibrated"]["bundle"] == old.digest
    assert changed.manifest.training["seed"] == old.manifest.training["seed"]
    assert changed.manifest.parity == {name: kept for name, kept in old.manifest.parity.items() if name != "routing_flips"}
    again = steps.make(tmp_path, recipe.calibrated(changed, splits(), Promise(kind="both", precision=0.9))).bundle
    assert again.manifest.version == changed.manifest.version


def test_a_bundle_is_calibrated_as_it_reads(built: Made, tmp_path: Path) -> None:
    """With several windows the long calibration rows have other logits, so temperature and certificate are of these; the next calibration keeps the windows."""
    rows, kept = splits(), built.bundle
    short = msgspec.structs.replace(kept.manifest, max_length=32)
    old = bundle.write(tmp_path / "old", manifest=short, model=kept.model, tokenizer=kept.tokenizer)
    long = replace(rows, calibration=tuple(replace(row, text=" ".join([row.text] * 40)) for row in rows.calibration))
    one, four = (
        steps.make(tmp_path / str(windows), recipe.calibrated(old, long, Promise(precision=0.5), windows=windows)).bundle
        for windows in (1, 4)
    )
    assert (one.manifest.windows, four.manifest.windows) == (1, 4)
    assert one.manifest.files == four.manifest.files
    assert one.manifest.temperature != four.manifest.temperature
    assert one.manifest.reference["truncated_ratio"] >= four.manifest.reference["truncated_ratio"]
    again = recipe.calibrated(four, long, Promise(precision=0.5))
    assert again.windows == 4


def test_a_bundle_is_adapted_to_other_shares(built: Made, tmp_path: Path) -> None:
    """The network stays to the byte; the prior is the given one, and the same text is called by the common label more often."""
    old, labels = built.bundle, built.bundle.manifest.labels
    given = dict(zip(labels, (0.7, 0.1, 0.1, 0.1), strict=True))
    made = steps.make(tmp_path, recipe.adapted(old, splits(), Promise(precision=0.5), KnownStream(given=given))).bundle
    assert made.manifest.files == old.manifest.files
    assert made.manifest.version == f"{old.manifest.version}-adapted"
    new, before = made.manifest.prior, old.manifest.prior
    assert new is not None
    assert before is not None
    assert (new.shares, new.source, before.source) == (given, "given", "balanced")
    assert new.offsets[labels[0]] - before.offsets[labels[0]] > 1.0
    assert prior.learned_by(new, labels) == pytest.approx(prior.learned_by(before, labels), abs=1e-4)
    texts = [row.text for row in splits().calibration]
    common = [sum(found.label == labels[0] for found in OnnxClassifier(each).classify(texts)) for each in (old, made)]
    assert common[0] <= common[1]


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        (KnownStream(tags=("foreign",)), "'foreign' is not one of the bundle's"),
        (KnownStream(tags=()), "there are no labelled rows"),
        (KnownStream(), "nothing is known of the stream"),
    ],
)
def test_a_stream_that_is_not_known_adapts_nothing(built: Made, tmp_path: Path, stream: KnownStream, why: str) -> None:
    """The refusal says which labels are wanted, and nothing is written."""
    with pytest.raises(CalibrationError, match=why):
        steps.make(tmp_path / "new", recipe.adapted(built.bundle, splits(), Promise(), stream))
    assert not (tmp_path / "new").exists()


def test_rows_that_a_quick_head_learned_adapt_nothing(built: Made, tmp_path: Path) -> None:
    """A head that was fitted to every row says nothing honest about them."""
    rows = replace(splits(), digests={"rows.csv": "ab" * 32}, gold_digests={"gold.csv": "ef" * 32})
    training = {"quick": {}, "data": rows.as_record()}
    bundle = msgspec.structs.replace(built.bundle, manifest=msgspec.structs.replace(built.bundle.manifest, training=training))
    given = KnownStream(given=dict.fromkeys(LABELS, 0.25))
    with pytest.raises(CalibrationError, match="these rows were learned from"):
        steps.make(tmp_path / "new", recipe.adapted(bundle, rows, Promise(), given))
    others = unseen(rows)
    assert (others.train, len(others.calibration)) == ((), len(rows.train) + len(rows.calibration))
    # Rows that were only measured on when the bundle was made, and Made With ML's holdout, which every record has.
    holdout = {madewithml.HOLDOUT: madewithml.SHA256[madewithml.HOLDOUT]}
    training = {"data": replace(rows, digests=rows.digests | holdout).as_record()}
    assert learned_files(msgspec.structs.replace(bundle.manifest, training=training)) == set(rows.digests.values())


def test_rows_with_labels_that_a_bundle_lacks_calibrate_nothing(built: Made, tmp_path: Path) -> None:
    """A sentence with the labels, and nothing is written."""
    rows = splits()
    foreign = replace(rows, calibration=(*rows.calibration, replace(rows.calibration[0], tag="billing")))
    given = KnownStream(given=dict.fromkeys(LABELS, 0.25))
    with pytest.raises(CalibrationError, match=r"labels that it lacks \(billing\)\. .* Next: give labelled rows"):
        steps.make(tmp_path / "new", recipe.calibrated(built.bundle, foreign, Promise()))
    with pytest.raises(CalibrationError, match=r"labels that it lacks \(billing\)"):
        steps.make(tmp_path / "new", recipe.adapted(built.bundle, foreign, Promise(), given))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("training", "levels"), [({}, True), ({"level_sources": False}, False)])
def test_sources_are_levelled_as_the_bundle_has_it(
    built: Made, tmp_path: Path, training: dict[str, object], *, levels: bool
) -> None:
    """A bundle of a user's rows counts every row the same, also when it is calibrated anew."""
    old = msgspec.structs.replace(built.bundle, manifest=msgspec.structs.replace(built.bundle.manifest, training=training))
    of = recipe.calibrated(old, splits(), Promise(precision=0.5))
    assert of.level_sources is levels
    made = steps.make(tmp_path, of).bundle
    assert made.manifest.training.get("level_sources", True) is levels


def test_a_label_without_a_calibration_row_is_not_certified_in_silence(built: Made, tmp_path: Path) -> None:
    """Half of the stream carries a label that no row tests: the refusal names it, and nothing is written."""
    given = KnownStream(given={label: 0.5 if label == LABELS[0] else 0.5 / 3 for label in LABELS})
    rows = replace(splits(), calibration=tuple(row for row in splits().calibration if row.tag != LABELS[0]))
    with pytest.raises(
        CalibrationError, match=rf"no calibration row has this label.*: {LABELS[0]} \(50\.0% of.* Next: give rows"
    ):
        steps.make(tmp_path / "new", recipe.adapted(built.bundle, rows, Promise(precision=0.5), given))
    assert not (tmp_path / "new").exists()


def test_a_second_head_is_kept_when_a_bundle_is_calibrated_anew(built: Made, tmp_path: Path) -> None:
    """The second head and its record stay, the thresholds of both heads are new, and the classifier gives the same `tags`."""
    again = recipe.calibrated(built.bundle, splits(), Promise(kind="both", precision=0.5))
    both = steps.make(tmp_path / "both", replace(again, second_head=LabelHeadRecipe())).bundle
    option = both.manifest.multilabel
    made = steps.make(tmp_path / "new", recipe.calibrated(both, splits(), Promise(kind="both", precision=0.9))).bundle
    assert made.manifest.files == both.manifest.files
    assert {found.target_precision for found in made.manifest.thresholds.values()} == {0.9}
    assert made.manifest.training["calibrated"]["bundle"] == both.digest
    assert option is not None
    assert made.manifest.multilabel == option, "the rows are the same"
    text = splits().holdout[0].text
    assert OnnxClassifier(made).classify([text]) == OnnxClassifier(both).classify([text])


def test_nothing_is_written_when_a_gate_refuses(built: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A bundle that breaks a limit is not written, and the one that is there stays."""
    there = shutil.copytree(built.bundle.path, tmp_path / "bundle")
    monkeypatch.setattr(base_model, "load", lambda: SimpleNamespace(tokenizer=tokenizer().to_str().encode()))
    with pytest.raises(ParityError, match="quantisation keeps"):
        steps.make(there, of_file(tmp_path / "net.safetensors", quantised_agreement=1.01))
    assert bundle.read(there).digest == built.bundle.digest
    assert sorted(path.name for path in there.iterdir()) == [
        "README.md",
        "bundle.cdx.json",
        "bundle.json",
        "model.onnx",
        "tokenizer.json",
    ]


def test_a_trained_network_is_on_disk_before_a_gate_can_refuse_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Training takes half an hour: the network of a refused bundle can be exported."""
    trained = Trained(labels=LABELS, record={"seed": 0})
    monkeypatch.setattr(base_model, "load", lambda: SimpleNamespace(tokenizer=tokenizer().to_str().encode()))
    monkeypatch.setattr(trainings, "fit", lambda *_: (network(), trained))
    kept = tmp_path / "net.safetensors"
    of = recipe.shipped(splits(), Promise(), checkpoint=kept)
    with pytest.raises(ParityError, match="quantisation keeps"):
        steps.make(tmp_path / "bundle", replace(of, limits=parity.GateLimits(quantised_agreement=1.01)))
    found, record = checkpoint.load(kept)
    assert record == trained
    assert found.shape == network().shape
    assert not (tmp_path / "bundle").exists()


def test_training_batches_cover_what_was_asked() -> None:
    """A plan gives the requested number of batches of the requested size, the same each time."""
    some: Sequence[list[int]] = rows(50)
    plans = [list(batches.plan(some, torch.ones(50), size=8, steps=21, seed=1)) for _ in range(2)]
    assert plans[0] == plans[1]
    assert [len(drawn) for drawn in plans[0]] == [8] * 21


def test_sources_are_drawn_by_their_shares() -> None:
    """A small source with half the share is drawn half the time."""
    mixed = Examples(rows=[[1]] * 10, targets=[0] * 10, sources=["small"] * 2 + ["large"] * 8)
    weights = drawing_weights(mixed, {"small": 0.5, "large": 0.5}, 0.0)
    assert float(weights[:2].sum()) == pytest.approx(float(weights[2:].sum()))


def test_a_levelled_source_draws_its_classes_equally_often() -> None:
    """With levelling 1 a class of one row is drawn as often as one of nine; with 0 a ninth as often."""
    one = Examples(rows=[[1]] * 10, targets=[0] * 9 + [1], sources=["only"] * 10)
    levelled, natural = (drawing_weights(one, {}, levelling) for levelling in (1.0, 0.0))
    assert float(levelled[9]) == pytest.approx(float(levelled[:9].sum()))
    assert float(natural[9]) == pytest.approx(float(natural[0]))


def test_temperature_is_fitted_on_what_the_file_says(exported: tuple[TagNetwork, bytes, bytes]) -> None:
    """The temperature is fitted to the int8 file's logits, not to the trained network's."""
    logits = parity.run(exported[2], rows(40, seed=3))
    assert 0.05 <= temperature.fit_temperature(logits, logits.argmax(axis=1)) <= 20
