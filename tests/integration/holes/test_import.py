"""Models of others whose folders lie: a program to fetch, a pipe for a file, weights elsewhere, sizes that nobody can build."""

import builtins
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from transformers import PreTrainedModel

from tagstream.model_export.make.imported_classifier import Imported
from tagstream.model_export.train.pretrained import ModelRefusedError
from tests.faults.worker.fleet import ROOT
from tests.unit.model_export.make import foreign
from tests.unit.model_export.onnx.test_classifier_file import Graph
from tests.waiting import HANG_SECONDS

# Of DeBERTa's code in transformers.
pytestmark = [pytest.mark.timeout(HANG_SECONDS), pytest.mark.filterwarnings("ignore:`torch.jit.script`:FutureWarning")]

LABELS = foreign.tickets().labels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A classifier with random weights, to be spoilt."""
    return foreign.saved(tmp_path / "given", foreign.untrained("bert", LABELS), "bert")


def change(file: Path, **values: object) -> None:
    """Change an object in a file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def refuse(place: Path, why: str) -> None:
    """It is refused for this reason, and the sentence has a next step."""
    with pytest.raises(ModelRefusedError, match=why) as error:
        Imported(place=str(place)).original()
    assert ". Next: " in str(error.value)


def replaced(folder: Path, name: str, by: Callable[[Path], None]) -> None:
    """Put something else into a file's place."""
    (folder / name).unlink(missing_ok=True)
    by(folder / name)


def sharded(folder: Path, **names: str) -> None:
    """Put the weights into two files with an index, which names one of them otherwise."""
    model = foreign.untrained("bert", LABELS)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="200KB")
    index = folder / "model.safetensors.index.json"
    said = json.loads(index.read_text())
    index.write_text(
        json.dumps(said | {"weight_map": {key: names.get("all", held) for key, held in said["weight_map"].items()}})
    )


class TestConfigurations:
    """transformers sees the fields that its architecture declares, within bounds."""

    @pytest.mark.parametrize("field", ["_attn_implementation", "_attn_implementation_internal", "attn_implementation"])
    def test_no_implementation_of_the_folders_choice_is_taken(self, folder: Path, field: str) -> None:
        """With the package `kernels` installed, transformers would fetch what it names."""
        change(folder / "config.json", **{field: "evil/kernel"}, _experts_implementation="evil/kernel", use_kernels=True)
        model: PreTrainedModel = Imported(place=str(folder)).original().network.model  # type: ignore[union-attr] # of a folder
        assert model.config._attn_implementation == "eager"
        assert "evil" not in str(vars(model.config))

    @pytest.mark.parametrize(
        ("said", "why"),
        [
            ({"num_hidden_layers": 10**6}, "num_hidden_layers 1000000, and at most 4,096"),
            ({"num_hidden_layers": 4_000}, "more than 20,000 modules"),
            ({"vocab_size": 10**12}, "vocab_size 1000000000000, and at most"),
            ({"vocab_size": 2**24, "hidden_size": 2**16}, "numbers, and a bundle holds no such network"),
            ({"id2label": {str(place): str(place) for place in range(10**5)}}, "longer or deeper"),
            ({"hidden_act": {"a": 1}}, "an object in hidden_act"),
            ({"model_type": "of-mine"}, "names no architecture"),
            ({"model_type": None}, "names no architecture"),
            ({"quantization_config": {"quant_method": "gptq"}}, "its weights are quantised"),
        ],
    )
    def test_a_field_beyond_its_bounds_is_named(self, folder: Path, said: dict[str, Any], why: str) -> None:
        """Sizes cost nothing to write and years to build."""
        change(folder / "config.json", **said)
        refuse(folder, why)

    @pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.json"])
    def test_objects_in_objects_without_end_are_no_configuration(self, folder: Path, name: str) -> None:
        """It is a sentence and no traceback."""
        (folder / name).write_text('{"a":' * 200_000 + "1" + "}" * 200_000)
        refuse(folder, "cannot be")

    def test_no_file_that_the_tokenizers_configuration_names_is_read(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its vocabulary is that of the folder."""
        elsewhere = tmp_path / "elsewhere.json"
        elsewhere.write_bytes((folder / "tokenizer.json").read_bytes())
        change(folder / "tokenizer_config.json", tokenizer_file=str(elsewhere), vocab_file=str(elsewhere))
        opened: list[str] = []
        real = builtins.open
        monkeypatch.setattr(
            builtins, "open", lambda file, *more, **said: (opened.append(str(file)), real(file, *more, **said))[1]
        )
        assert Imported(place=str(folder)).original().labels == LABELS
        assert opened
        assert not [file for file in opened if "elsewhere" in file]


class TestFiles:
    """Only regular files of bounded size inside the folder are read."""

    @pytest.mark.parametrize(
        "name", ["config.json", "tokenizer_config.json", "tokenizer.json", "vocab.txt", "model.safetensors"]
    )
    @pytest.mark.parametrize("by", [os.mkfifo, lambda file: file.symlink_to("/dev/zero")], ids=["pipe", "zero"])
    def test_pipes_and_devices_are_refused(self, folder: Path, name: str, by: Callable[[Path], None]) -> None:
        """A pipe has no end of waiting, a device no end of bytes."""
        replaced(folder, name, by)
        refuse(folder, f"its {name} (cannot be read: it is no regular file|is a link to /dev/zero, outside)")

    @pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
    def test_a_link_out_of_the_folder_is_refused(self, folder: Path, name: str, tmp_path: Path) -> None:
        """It can lead to any file of this machine."""
        (folder / name).rename(tmp_path / name)
        (folder / name).symlink_to(tmp_path / name)
        refuse(folder, f"its {name} is a link to .*, outside of its folder")

    def test_a_file_beyond_its_bound_is_refused(self, folder: Path) -> None:
        """Before it is read."""
        os.truncate(folder / "model.safetensors", 2**40)
        refuse(folder, "its model.safetensors cannot be read: it has 1,099,511,627,776 bytes")

    def test_weights_in_several_files_are_read(self, folder: Path) -> None:
        """By the index beside them."""
        sharded(folder)
        assert len(list(folder.glob("*.safetensors"))) > 1
        assert Imported(place=str(folder)).original().labels == LABELS

    @pytest.mark.parametrize("name", ["../other.safetensors", "/other.safetensors", "other.bin"])
    def test_an_index_names_files_beside_it_alone(self, folder: Path, name: str) -> None:
        """Another model's weights are not this one's."""
        sharded(folder, all=name)
        refuse(folder, "does not lie beside it|does not say in which safetensors file")

    def test_the_command_ends_with_a_sentence(self, folder: Path, tmp_path: Path) -> None:
        """Exit code 1 and no traceback, where it waited for ever."""
        replaced(folder, "config.json", os.mkfifo)
        tickets = foreign.TICKETS / "rows.csv"
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "tagstream.stream.cli.main",
                "model",
                "import",
                folder,
                tmp_path / "out",
                "--calibrate",
                tickets,
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
            check=False,
        )
        assert (done.returncode, "it is no regular file" in done.stderr, "Traceback" in done.stderr) == (1, True, False), (
            done.stderr
        )
        assert not (tmp_path / "out").exists()


class TestOnnxFiles:
    """The same for an ONNX file and the files beside it."""

    @pytest.mark.parametrize("name", ["model.onnx", "config.json", "tokenizer.json"])
    def test_pipes_are_refused(self, tmp_path: Path, name: str) -> None:
        """None of them is waited for."""
        file = Graph().written(tmp_path)
        replaced(tmp_path, name, os.mkfifo)
        refuse(file, "no regular file")

    @pytest.mark.parametrize("config", ['{"id2label":' * 100_000, '{"pad_token_id": 1e999}', '{"max_position_embeddings": -5}'])
    def test_a_configuration_beside_it_that_is_none_is_refused(self, tmp_path: Path, config: str) -> None:
        """It is a sentence and no traceback."""
        file = Graph().written(tmp_path)
        (tmp_path / "config.json").write_text(config)
        refuse(file, "cannot be read as a configuration")

    @pytest.mark.parametrize(
        "by", [os.mkfifo, lambda file: file.symlink_to("/dev/zero"), lambda file: file.symlink_to("/etc/hostname")]
    )
    def test_tensors_lie_in_regular_files_beside_it(self, tmp_path: Path, by: Callable[[Path], None]) -> None:
        """A pipe, a device, a file elsewhere."""
        file = Graph().written(tmp_path)
        graph = onnx.load_model(file)
        onnx.save_model(graph, file, save_as_external_data=True, location="tensors", size_threshold=0)
        assert Imported(place=str(file)).original().labels == ("bug", "wish")
        replaced(tmp_path, "tensors", by)
        refuse(file, "its tensors cannot be read")


@pytest.mark.parametrize("kind", foreign.KINDS)
def test_the_import_is_what_transformers_says(kind: str, tmp_path: Path) -> None:
    """Nothing that its scores rest on is left out of the copy."""
    folder = foreign.saved(tmp_path / kind, foreign.untrained(kind, LABELS), kind)
    texts = [row.text for row in foreign.tickets().calibration[:20]]
    found = Imported(place=str(folder)).original()
    with torch.no_grad():
        own = foreign.own_labels(folder, foreign.tickets().calibration[:20])
    scores = found.logits([found.tokenizer.encode(text).ids for text in texts])
    assert [found.labels[place] for place in np.argmax(scores, axis=1)] == own
