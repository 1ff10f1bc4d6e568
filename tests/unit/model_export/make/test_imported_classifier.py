"""Classifiers that somebody else tuned: imported from folders of transformers and from ONNX files, or refused with the reason."""

import json
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification, BertModel, FNetConfig, FNetForSequenceClassification

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.manifest import ALWAYS_ASK
from tagstream.model_export.bundle.model import OnnxClassifier
from tagstream.model_export.bundle.promise.promise import Promise
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.make import recipe, steps
from tagstream.model_export.make.imported_classifier import EIGHT, FULL, Form, Imported, neighbours_move
from tagstream.model_export.onnx import export
from tagstream.model_export.train import base_model, batches, pretrained
from tagstream.model_export.train.head import HeadRecipe, fit_head
from tagstream.model_export.train.pretrained import ModelRefusedError
from tagstream.model_export.verify import verify
from tests.replacing import replace
from tests.unit.model_export.make import foreign

# Of DeBERTa's code in transformers.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script`:FutureWarning")

LABELS = foreign.tickets().labels
MANY = 200


def imported(folder: Path, place: Path, rows: Splits | None = None, *, promise: float = 0.5, **options: object) -> Bundle:
    """The bundle of a classifier, calibrated on tickets that it has not seen."""
    source = Imported(place=str(place), **options)  # type: ignore[arg-type] # options of the record
    of = recipe.imported(
        source, rows or foreign.tickets(), Promise(precision=promise), labels=source.original().labels, name=folder.name
    )
    return steps.make(folder, of).bundle


def texts_of(rows: Splits) -> list[str]:
    """Texts of all parts, the learned ones too."""
    return [row.text for row in (*rows.calibration, *rows.holdout, *rows.train)][:MANY]


def beside(bundle: Bundle, part: str) -> dict[str, float]:
    """How right the classifier is as it came and here, by the manifest."""
    found: dict[str, float] = next(each for each in bundle.manifest.training["imported"]["beside"] if each["part"] == part)
    return found


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of transformers, made when they are asked for."""
    return tmp_path_factory.mktemp("folders")


def folder_of(folders: Path, kind: str) -> Path:
    """The folder of a tuned classifier."""
    place = folders / kind
    return place if place.is_dir() else foreign.saved(place, foreign.tuned(kind), kind)


@pytest.fixture(scope="module")
def in_full(folders: Path) -> Bundle:
    """A tuned classifier that was imported in full precision, with the rows that it has learned from."""
    return imported(folders / "in-full", folder_of(folders, "bert"), against_eight_bits="asked for")


class TestFolders:
    """Four architectures, tuned on the tickets."""

    @pytest.mark.parametrize("kind", foreign.KINDS)
    def test_it_keeps_its_labels_and_its_digits_in_any_batch(self, kind: str, folders: Path, tmp_path: Path) -> None:
        """
        At least 99.5 % of its labels are those of transformers in eight bits, else all; and 200 of 200 texts get the same digits alone and
        among others.
        """
        place = folder_of(folders, kind)
        bundle = imported(tmp_path / kind, place)
        assert bundle.manifest.labels == LABELS
        in_eight = bundle.manifest.training["imported"]["form"].startswith(EIGHT)
        rows = foreign.tickets()
        unseen = (*rows.calibration, *rows.holdout)
        classifier = OnnxClassifier(bundle)
        found = classifier.classify([row.text for row in unseen])
        same = np.mean(
            [foreign.is_label(ours, own) for ours, own in zip(found, foreign.own_labels(place, unseen), strict=True)]
        )
        assert same >= (0.995 if in_eight else 1.0)
        many = texts_of(rows)
        assert classifier.classify(many) == [classifier.classify([text])[0] for text in many]
        assert verify(bundle.path).digest == bundle.digest

    def test_in_full_precision_every_label_is_its_own(self, folders: Path, in_full: Bundle) -> None:
        """`--full-precision` keeps the network: 380 of 380 labels are those of transformers."""
        assert in_full.manifest.training["imported"]["form"].startswith(FULL)
        rows = foreign.tickets()
        unseen = (*rows.calibration, *rows.holdout)
        found = OnnxClassifier(in_full).classify([row.text for row in unseen])
        own = foreign.own_labels(folder_of(folders, "bert"), unseen)
        assert all(foreign.is_label(each, label) for each, label in zip(found, own, strict=True))

    def test_a_random_one_is_refused_every_threshold(self, in_full: Bundle, tmp_path: Path) -> None:
        """A classifier that has learned nothing asks people about every event; and a word is strange only where learned ones are known."""
        place = foreign.saved(tmp_path / "random", foreign.untrained("bert", LABELS), "bert")
        bundle = imported(tmp_path / "out", place, replace(foreign.tickets(), train=()), promise=0.95)
        assert set(bundle.manifest.asked_below().values()) == {ALWAYS_ASK}
        assert not bundle.manifest.threshold.certified
        strange = "Le ventilateur fait du bruit"
        assert [OnnxClassifier(each).classify([strange])[0].unfamiliar > 0 for each in (in_full, bundle)] == [True, False]

    def test_calibrated_again_it_keeps_its_network(self, in_full: Bundle, tmp_path: Path) -> None:
        """`model calibrate` and `adapt` change no byte of a network that was imported."""
        unseen = replace(foreign.tickets(), train=())
        again = steps.make(tmp_path / "again", recipe.calibrated(in_full, unseen, Promise(precision=0.5)))
        assert (again.bundle.model, again.bundle.manifest.alone) == (in_full.model, in_full.manifest.alone)


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model's base encoder as a plain folder of transformers, with a head that was fitted to the tickets."""
    rows, base = foreign.tickets(), base_model.load()
    config = base.bert.config
    config.num_labels, config.id2label = len(LABELS), dict(enumerate(LABELS))
    model = BertForSequenceClassification(config).eval()
    model.bert.load_state_dict(base.bert.state_dict(), strict=False)
    reader = batches.load_tokenizer(base.tokenizer)
    model.bert.pooler.dense.weight.data = torch.eye(config.hidden_size)
    model.bert.pooler.dense.bias.data.zero_()
    tokens = batches.encode(reader, [row.text for row in rows.train])
    with torch.no_grad():
        vectors = np.stack([model.bert(*batches.pad([row])).pooler_output[0].numpy() for row in tokens])
    from tagstream.model_export.train.examples import examples

    plain = HeadRecipe(strength=10.0, source_shares={"own": 1.0}, class_levelling=0.0)
    head = fit_head(vectors, examples(reader, rows.train, LABELS), plain, len(LABELS))
    model.classifier.weight.data = torch.tensor(head.weight, dtype=torch.float32)
    model.classifier.bias.data = torch.tensor(head.bias, dtype=torch.float32)
    folder = tmp_path_factory.mktemp("base")
    model.save_pretrained(folder)
    (folder / base_model.TOKENIZER).write_bytes(base.tokenizer)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    return folder


def onnx_of(place: Path, file: Path) -> Path:
    """A folder's classifier as somebody else exports it: four inputs, by torch alone."""
    model = BertForSequenceClassification.from_pretrained(place, attn_implementation="eager").eval()
    names = ["input_ids", "attention_mask", "token_type_ids", "position_ids"]
    numbers = torch.ones(2, 16, dtype=torch.int64)
    sizes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens", min=2, max=512)}

    class Scores(torch.nn.Module):
        """The scores alone."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(
            self,
            input_ids: torch.Tensor,
            attention_mask: torch.Tensor,
            token_type_ids: torch.Tensor,
            position_ids: torch.Tensor,
        ) -> torch.Tensor:
            found: torch.Tensor = self.model(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids, position_ids=position_ids
            ).logits
            return found

    places = torch.arange(16).repeat(2, 1)
    with warnings.catch_warnings():
        # Of names of axes.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Scores().eval(),
            (numbers, numbers.clone(), torch.zeros_like(numbers), places),
            file,
            dynamo=True,
            input_names=names,
            output_names=["scores"],
            dynamic_shapes=dict.fromkeys(names, sizes),
            external_data=True,
            verbose=False,
        )
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(place / name, file.with_name(name))
    return file


def test_the_base_encoder_gives_the_same_figures_by_both_ways(base_folder: Path, tmp_path: Path) -> None:
    """From its folder and from an ONNX file with four inputs: as right as in transformers, certified, and the same decisions."""
    by_folder = imported(
        tmp_path / "by-folder", base_folder, promise=0.6, max_length=foreign.LENGTH, against_eight_bits="asked for"
    )
    (tmp_path / "file").mkdir()
    by_file = imported(
        tmp_path / "by-file",
        onnx_of(base_folder, tmp_path / "file" / "model.onnx"),
        promise=0.6,
        max_length=foreign.LENGTH,
        against_eight_bits="asked for",
    )
    gold = foreign.tickets().holdout
    own = foreign.own_labels(base_folder, gold)
    right = np.mean([label == row.tag for label, row in zip(own, gold, strict=True)])
    assert right > 0.5
    for bundle in (by_folder, by_file):
        assert bundle.manifest.threshold.certified
        assert beside(bundle, "gold")["here"] == pytest.approx(right, abs=1e-4)
    texts = [row.text for row in gold]
    one, other = (OnnxClassifier(bundle).classify(texts) for bundle in (by_folder, by_file))
    for found in (one, other):
        assert all(foreign.is_label(each, label) for each, label in zip(found, own, strict=True))
    assert [found.confidence for found in one] == pytest.approx([found.confidence for found in other], abs=2e-4)


class TestRefusedFolders:
    """Folders that no bundle can hold are refused with the reason and the next step."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """A classifier with random weights, to be spoilt."""
        return foreign.saved(tmp_path / "given", foreign.untrained("bert", LABELS), "bert")

    def change(self, file: Path, **values: object) -> None:
        """Change an object in a file."""
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    def refuse(self, place: Path | str, why: str) -> None:
        """It is refused for this reason, and the sentence has a next step."""
        with pytest.raises(ModelRefusedError, match=why) as error:
            pretrained.load(str(place))
        assert ". Next: " in str(error.value)

    def test_weights_in_a_pickle(self, folder: Path) -> None:
        """A pickle runs code when it is read."""
        (folder / "model.safetensors").unlink()
        torch.save({}, folder / "pytorch_model.bin")
        self.refuse(folder, "its weights are a pickle")

    @pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
    def test_code_of_its_own(self, folder: Path, file: str) -> None:
        """Code of a model is not run."""
        self.change(folder / file, auto_map={"AutoModel": "evil.Model"})
        (folder / "evil.py").write_text("raise SystemExit('was run')")
        self.refuse(folder, "it is made of code of its own")

    @pytest.mark.parametrize(
        ("said", "why"),
        [
            ({"problem_type": "regression"}, "it predicts a number"),
            ({"id2label": {"0": "score"}, "label2id": {"score": 0}}, "its head has one output"),
            ({"problem_type": "multi_label_classification"}, "yes or no to each label"),
            ({"architectures": ["BertModel"]}, "BertModel, which gives a text no label"),
        ],
    )
    def test_a_head_that_chooses_no_label(self, folder: Path, said: dict[str, object], why: str) -> None:
        """A number, or a yes for each label, is no choice of one label."""
        self.change(folder / "config.json", **said)
        self.refuse(folder, why)

    def test_a_tokenizer_without_a_fast_form(self, folder: Path) -> None:
        """A bundle holds a tokenizer of the `tokenizers` library alone; one without a vocabulary is none."""
        (folder / "tokenizer.json").unlink()
        self.refuse(folder, "it has no tokenizer")
        self.change(folder / "tokenizer_config.json", tokenizer_class="CanineTokenizer")
        (folder / "vocab.txt").write_text("")
        self.refuse(folder, "its tokenizer")

    def test_a_head_that_is_not_in_its_file(self, folder: Path) -> None:
        """The base model without its tuned head would give random labels."""
        BertModel.from_pretrained(folder).save_pretrained(folder)
        self.change(folder / "config.json", architectures=["BertForSequenceClassification"])
        self.refuse(folder, "lacks 2 of its weights")

    def test_a_model_that_takes_no_attention_mask(self, tmp_path: Path) -> None:
        """FNet mixes all tokens, padding too."""
        config = FNetConfig(
            vocab_size=len(foreign.tokenizer("bert")), hidden_size=16, num_hidden_layers=1, intermediate_size=16, num_labels=2
        )
        self.refuse(foreign.saved(tmp_path / "fnet", FNetForSequenceClassification(config), "bert"), "takes no attention mask")

    def test_labels_without_names(self, tmp_path: Path) -> None:
        """Placeholders are no labels; names can be given, one for each score."""
        place = foreign.saved(tmp_path / "given", foreign.untrained("bert", ["LABEL_0", "LABEL_1"]), "bert")
        self.refuse(place, "it has 2 logits and no names for them")
        assert pretrained.load(str(place), labels=["spam", "ham"]).labels == ("spam", "ham")
        with pytest.raises(ModelRefusedError, match="it has 2 logits, and 3 different names"):
            pretrained.load(str(place), labels=["a", "b", "c"])

    def test_more_tokens_than_it_has_positions(self, folder: Path) -> None:
        """It reads no further than it was built for."""
        with pytest.raises(ModelRefusedError, match="it reads at most 64 tokens, and 128 are asked for"):
            pretrained.load(str(folder), max_length=128)

    def test_a_name_of_the_hub_without_a_revision(self) -> None:
        """A name alone may mean another model tomorrow."""
        self.refuse("hf://someone/model", "needs a revision")

    def test_a_folder_that_is_none(self, tmp_path: Path) -> None:
        """A folder without a configuration holds no model."""
        self.refuse(tmp_path, "it has no config.json")

    def test_the_hub_gives_one_revision_without_pickles(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Only the files of one revision that can hold no code are fetched."""
        asked: list[tuple[str, str, Sequence[str]]] = []

        def snapshot_download(name: str, *, revision: str, allow_patterns: Sequence[str], etag_timeout: float) -> str:
            assert etag_timeout > 0
            asked.append((name, revision, allow_patterns))
            return str(folder)

        monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
        assert pretrained.load("hf://someone/model@abc123").labels == LABELS
        ((name, revision, patterns),) = asked
        assert (name, revision) == ("someone/model", "abc123")
        assert not any(pattern.endswith((".bin", ".py", ".pt")) for pattern in patterns)


class _Neighbours(torch.nn.Module):
    """A classifier whose scores of a text move with the other texts of its run."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Scores, [batch, labels]."""
        scores: torch.Tensor = self.inner(input_ids, attention_mask)
        return scores - 0.1 * scores.mean(dim=0, keepdim=True)


def test_a_network_that_looks_at_its_neighbours_reads_one_text_at_a_time(folders: Path, tmp_path: Path) -> None:
    """Scores that depend on the batch: no form holds but one text a run, and 200 of 200 texts get the same digits in any batch."""
    place = folder_of(folders, "bert")
    loaded = pretrained.load(str(place))
    plain = export.to_onnx(_Neighbours(loaded.network).eval(), LABELS, longest=foreign.LENGTH)
    rows = foreign.tickets()
    tokens = batches.encode(loaded.tokenizer, [row.text for row in rows.calibration])
    assert neighbours_move(Form(model=plain, name=FULL), tokens, foreign.LENGTH) == len(tokens)
    theirs = export.load(plain)
    del theirs.metadata_props[:]
    (tmp_path / "model.onnx").write_bytes(theirs.SerializeToString())
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(place / name, tmp_path / name)
    bundle = imported(tmp_path / "out", tmp_path / "model.onnx")
    assert bundle.manifest.alone
    assert "one text at a time" in bundle.manifest.training["imported"]["form"]
    classifier, many = OnnxClassifier(bundle), texts_of(rows)
    assert classifier.classify(many) == [classifier.classify([text])[0] for text in many]
