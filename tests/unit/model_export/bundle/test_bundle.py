"""`read` accepts a sound bundle and refuses every other folder with the reason."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tagstream.model_export.bundle import bundle, files, onnx_graph
from tagstream.model_export.bundle import manifest as manifests
from tagstream.model_export.bundle.bundle import Bundle, BundleError
from tagstream.model_export.bundle.manifest import (
    ALWAYS_ASK,
    FORMAT,
    MANIFEST,
    MODEL,
    TOKENIZER,
    LabelThreshold,
    Manifest,
    Multilabel,
    Threshold,
    render,
)
from tagstream.model_export.bundle.promise.promise import Money, Priced

TINY = Path(__file__).parents[3] / "data" / "tiny_bundle"
FILES = (MANIFEST, MODEL, TOKENIZER)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the tiny bundle for a test to damage."""
    return Path(shutil.copytree(TINY, tmp_path / "bundle"))


@pytest.fixture
def tiny() -> Bundle:
    """The tiny bundle as `read` returns it."""
    return bundle.read(TINY)


def rewrite(folder: Path, whole: Bundle, *, model: bytes | None = None, **changes: object) -> None:
    """Write a folder with correct checksums and these changes."""
    content = whole.model if model is None else model
    (folder / MODEL).write_bytes(content)
    sums = {MODEL: bundle._sha256(content), TOKENIZER: bundle._sha256(whole.tokenizer)}
    manifest = msgspec.structs.replace(whole.manifest, **{"files": sums, **changes})
    (folder / MANIFEST).write_bytes(render(manifest))


def edited(whole: Bundle, edit: Callable[[onnx.ModelProto], None]) -> bytes:
    """The tiny network after this edit."""
    model = onnx.load_model_from_string(whole.model)
    edit(model)
    return bytes(model.SerializeToString())


def test_tiny_bundle_is_accepted_and_keeps_the_bytes(folder: Path, tiny: Bundle) -> None:
    """A sound folder is read, and the bundle has the bytes on disk."""
    found = bundle.read(folder)
    assert (found.model, found.tokenizer) == ((folder / MODEL).read_bytes(), (folder / TOKENIZER).read_bytes())
    assert found.digest == tiny.digest


def test_write_then_read_is_identity(tmp_path: Path, tiny: Bundle) -> None:
    """A bundle that was written is read back equal, with the same digest."""
    again = bundle.write(tmp_path / "new", manifest=tiny.manifest, model=tiny.model, tokenizer=tiny.tokenizer)
    assert (again.digest, again.manifest) == (tiny.digest, tiny.manifest)


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_refused_by_name(folder: Path, name: str) -> None:
    """Without any one file the folder is refused, and the error names the file."""
    (folder / name).unlink()
    with pytest.raises(BundleError, match=name):
        bundle.read(folder)


@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_is_refused(folder: Path, name: str) -> None:
    """One changed bit in any file is refused."""
    raw = bytearray((folder / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / name).write_bytes(bytes(raw))
    with pytest.raises(BundleError, match="refused"):
        bundle.read(folder)


def test_permuted_labels_are_refused_though_the_sums_are_right(folder: Path, tiny: Bundle) -> None:
    """The network has its own list of labels, so a manifest with another order is refused."""
    rewrite(folder, tiny, labels=tuple(reversed(tiny.manifest.labels)))
    with pytest.raises(BundleError, match="was exported for labels"):
        bundle.read(folder)


def test_tensor_in_another_file_is_refused(folder: Path, tiny: Bundle) -> None:
    """A tensor in another file is refused, since the path could lead to any file of the machine."""

    def edit(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../secret")

    rewrite(folder, tiny, model=edited(tiny, edit))
    with pytest.raises(BundleError, match="in another file"):
        bundle.read(folder)


def test_tensor_in_another_file_is_found_inside_a_subgraph(folder: Path, tiny: Bundle) -> None:
    """A tensor in another file is refused in the branch of an `If` too."""

    def edit(model: onnx.ModelProto) -> None:
        hidden = TensorProto(name="hidden", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
        hidden.external_data.add(key="location", value="hidden.bin")
        out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1])
        branch = helper.make_graph([helper.make_node("Identity", ["hidden"], ["out"])], "branch", [], [out], [hidden])
        model.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(hidden_condition()), "condition"))
        model.graph.node.append(helper.make_node("If", ["condition"], ["unused"], then_branch=branch, else_branch=branch))

    rewrite(folder, tiny, model=edited(tiny, edit))
    with pytest.raises(BundleError, match="'hidden' in another file"):
        bundle.read(folder)


def hidden_condition() -> TensorProto:
    """A constant true condition for an `If`."""
    return helper.make_tensor("condition", TensorProto.BOOL, [], [True])


def test_operator_of_a_foreign_domain_is_refused(folder: Path, tiny: Bundle) -> None:
    """An operator outside the standard domain is refused, since it needs a foreign library."""

    def edit(model: onnx.ModelProto) -> None:
        model.graph.node[0].domain = "com.example"

    rewrite(folder, tiny, model=edited(tiny, edit))
    with pytest.raises(BundleError, match=r"com\.example"):
        bundle.read(folder)


@pytest.mark.parametrize("name", sorted(onnx_graph.CONTROL_FLOW))
@pytest.mark.parametrize("nested", [False, True])
def test_control_flow_is_refused_wherever_it_stands(folder: Path, tiny: Bundle, name: str, nested: bool) -> None:
    """A loop may have no end, and the runtime cannot be interrupted; one may hide in an attribute of another operator."""

    def edit(model: onnx.ModelProto) -> None:
        hidden = helper.make_node(name, ["a"], ["b"])
        if nested:
            hidden = helper.make_node("Identity", ["a"], ["b"], body=helper.make_graph([hidden], "body", [], []))
        model.graph.node.append(hidden)

    rewrite(folder, tiny, model=edited(tiny, edit))
    with pytest.raises(BundleError, match=rf"operators that repeat or choose others, and may never end: {name}\. Next: "):
        bundle.read(folder)


def test_imported_foreign_domain_is_refused_though_unused(folder: Path, tiny: Bundle) -> None:
    """A foreign domain that the network only declares is refused too."""
    rewrite(folder, tiny, model=edited(tiny, lambda model: model.opset_import.append(helper.make_opsetid("com.example", 1))))
    with pytest.raises(BundleError, match=r"com\.example"):
        bundle.read(folder)


def test_file_that_is_no_network_is_refused(folder: Path, tiny: Bundle) -> None:
    """A file with the right checksum that is no ONNX network is refused."""
    rewrite(folder, tiny, model=b"\xff\xfe not a model")
    with pytest.raises(BundleError, match="not an ONNX model"):
        bundle.read(folder)


def test_other_format_is_refused(folder: Path, tiny: Bundle) -> None:
    """A bundle of another format version is refused."""
    rewrite(folder, tiny, format=FORMAT + 1)
    with pytest.raises(BundleError, match="format 2"):
        bundle.read(folder)


def test_manifest_edited_by_hand_is_refused(folder: Path) -> None:
    """A manifest in another spelling, such as other white space, would have another digest and is refused."""
    path = folder / MANIFEST
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(BundleError, match="canonical"):
        bundle.read(folder)


def test_unknown_field_is_refused(folder: Path) -> None:
    """A manifest with an unknown field is refused, because the field may matter."""
    content = msgspec.json.decode((folder / MANIFEST).read_bytes()) | {"surprise": 1}
    (folder / MANIFEST).write_bytes(msgspec.json.encode(content))
    with pytest.raises(BundleError, match="surprise"):
        bundle.read(folder)


def test_oversize_file_is_refused_before_it_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file above its size limit is refused before it is read into memory."""
    monkeypatch.setitem(bundle.MAX_BYTES, MODEL, 100)
    with pytest.raises(BundleError, match="limit is 100"):
        bundle.read(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.timeout(60)
def test_a_pipe_is_refused_and_not_waited_for(folder: Path, name: str) -> None:
    """Opening a FIFO waits for its writer, for ever if there is none."""
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(BundleError, match=f"{name} cannot be read: it is no regular file"):
        bundle.read(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("target", ["/dev/null", "/proc/self/environ", "../elsewhere"])
def test_a_link_out_of_the_folder_is_refused(folder: Path, name: str, target: str) -> None:
    """A link can lead to any file of the machine, or to a device without end."""
    shutil.copy(folder / name, folder.parent / "elsewhere")
    (folder / name).unlink()
    (folder / name).symlink_to(target)
    with pytest.raises(BundleError, match=f"{name} is a link to .*, outside of its folder"):
        bundle.read(folder)


def test_a_folder_that_is_not_there_names_the_setting(tmp_path: Path) -> None:
    """A path without a folder is said to be that, with the setting that names it, before any talk of a new export."""
    with pytest.raises(BundleError, match=r"there is no such folder\. Next: point the setting bundle \(TAGSTREAM_BUNDLE"):
        bundle.read(tmp_path / "nowhere")


def test_a_link_to_itself_is_refused(folder: Path) -> None:
    """A link that leads to no file is refused with the system's reason."""
    (folder / MODEL).unlink()
    (folder / MODEL).symlink_to(MODEL)
    with pytest.raises(BundleError, match=f"{MODEL} cannot be read"):
        bundle.read(folder)


def test_a_volume_as_kubernetes_mounts_it_is_accepted(folder: Path, tmp_path: Path, tiny: Bundle) -> None:
    """The folder may be a link, and its files links to files below it: `model.onnx -> ..data/model.onnx`."""
    volume = tmp_path / "volume"
    volume.mkdir()
    folder.rename(volume / "..2026_11_26")
    (volume / "..data").symlink_to("..2026_11_26")
    for name in FILES:
        (volume / name).symlink_to(f"..data/{name}")
    (tmp_path / "current").symlink_to(volume)
    assert bundle.read(tmp_path / "current").digest == tiny.digest


def test_all_files_are_of_one_folder(folder: Path, tmp_path: Path, tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link `current` that is switched to the next release while a bundle is read gives the old bundle, not a mixture."""
    current, following = tmp_path / "current", tmp_path / "following"
    current.symlink_to(folder)
    following.mkdir()
    real = files.read

    def switching(*given: Any, **more: Any) -> bytes:
        current.unlink()
        current.symlink_to(following)
        return real(*given, **more)

    monkeypatch.setattr(files, "read", switching)
    assert bundle.read(current).digest == tiny.digest


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"max_length": 4}, "max_length"),
        ({"threshold": Threshold(1.1, 0.95, 0.9, 0.9, 0.95, 0.9, 9)}, "threshold.confidence must lie in 0 to 1"),
        ({"temperature": 0.0}, "temperature"),
        ({"golden": ()}, "golden needs"),
        ({"labels": ("one", "one")}, "labels must be"),
        ({"labels": tuple(map(str, range(1001)))}, "labels must be 2 to 1,000"),
        ({"labels": ("one", "x" * 257)}, "every label must have 1 to 256 characters"),
        ({"labels": ("one", "off_subject")}, "a label may not be called off_subject"),
        ({"files": {MODEL: "0"}}, "files must be"),
    ],
)
def test_a_value_that_cannot_work_is_refused(folder: Path, tiny: Bundle, changes: dict[str, object], reason: str) -> None:
    """A well-formed manifest with a value that cannot work is refused."""
    rewrite(folder, tiny, **changes)
    with pytest.raises(BundleError, match=reason):
        bundle.read(folder)


def test_interrupted_write_is_no_bundle(tmp_path: Path, tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest is written last, so an interrupted write is refused, also over an older bundle."""
    folder = tmp_path / "bundle"
    bundle.write(folder, manifest=tiny.manifest, model=tiny.model, tokenizer=tiny.tokenizer)

    def broken(_manifest: Manifest) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(manifests, "render", broken)
    with pytest.raises(KeyboardInterrupt):
        bundle.write(folder, manifest=tiny.manifest, model=tiny.model, tokenizer=tiny.tokenizer)
    monkeypatch.undo()
    with pytest.raises(BundleError, match=MANIFEST):
        bundle.read(folder)


@pytest.mark.parametrize(
    "reference",
    [
        {"ood_energy": "high"},
        {"ood_energy": [1.0]},
        {"ood_unfamiliar": 1.5},
        {"ood_strangeness": "high"},
        {"known_words": "all of them"},
        {"label_ratio": {"other": 1.5}},
        {"confidence_cdf": [0.5]},
        {"words": {"graphs": -1}},
        {"rows": 1.5},
        {"truncated_ratio": "none"},
    ],
)
def test_a_reference_that_no_stream_can_be_compared_with_is_refused(folder: Path, tiny: Bundle, reference: object) -> None:
    """A reference that cannot be compared is refused at start-up, before the first event or scrape."""
    rewrite(folder, tiny, reference=reference)
    with pytest.raises(BundleError, match=r"the reference is not one .*Next:"):
        bundle.read(folder)


@pytest.mark.parametrize("reference", [{}, {"rows": 894, "label_ratio": {}}, {"ood_energy": -1, "from_tomorrow": [1]}])
def test_a_smaller_or_newer_reference_is_accepted(folder: Path, tiny: Bundle, reference: object) -> None:
    """A reference with missing or unknown parts is accepted, and the unknown ones are kept."""
    rewrite(folder, tiny, reference=reference)
    assert bundle.read(folder).manifest.reference == reference


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"thresholds": {"other": 0.5}}, "one a label"),
        ({"thresholds": dict.fromkeys(("computer-vision", "mlops", "natural-language-processing", "other"), 1.5)}, "0 to 1"),
        ({"golden": ()}, "each golden text"),
        ({"golden": ((0.5,),) * 6}, "one score a label"),
    ],
)
def test_half_of_the_option_multilabel_is_refused(folder: Path, tiny: Bundle, changes: dict[str, Any], rule: str) -> None:
    """A bundle with only part of the option is refused at start-up."""
    labels = tiny.manifest.labels
    whole = Multilabel(
        thresholds=dict.fromkeys(labels, 0.5),
        golden=((0.5,) * len(labels),) * len(tiny.manifest.golden),
        metrics={},
        training={},
    )
    rewrite(folder, tiny, multilabel=whole)
    assert bundle.read(folder).manifest.multilabel == whole
    rewrite(folder, tiny, multilabel=msgspec.structs.replace(whole, **changes))
    with pytest.raises(BundleError, match=rf"{rule}.*Next:"):
        bundle.read(folder)


def certificate(**changes: object) -> LabelThreshold:
    """A sound certificate with these changes."""
    sound = LabelThreshold(
        confidence=0.9,
        target_precision=0.95,
        precision=0.99,
        precision_lower_bound=0.96,
        bound_level=0.9875,
        rows=300,
        label_rows=400,
        certified=True,
    )
    return msgspec.structs.replace(sound, **changes)


UNCERTIFIED = {"certified": False, "precision_lower_bound": 0.9, "labels_needed": 12}
ALWAYS = {"confidence": ALWAYS_ASK, "precision": None, "rows": 0, "certified": False, "precision_lower_bound": 0.0}


@pytest.mark.parametrize("changes", [{}, UNCERTIFIED, ALWAYS])
def test_thresholds_are_read_as_they_were_written(folder: Path, tiny: Bundle, changes: dict[str, object]) -> None:
    """Certified thresholds, refused ones and labels that always go to review are read back unchanged."""
    given = dict.fromkeys(tiny.manifest.labels, certificate(**changes))
    rewrite(folder, tiny, thresholds=given)
    found = bundle.read(folder).manifest
    assert found.thresholds == given
    assert found.asked_below() == dict.fromkeys(tiny.manifest.labels, given[tiny.manifest.labels[0]].confidence)


def test_prices_are_read_as_they_were_written_and_add_nothing_to_other_bundles(folder: Path, tiny: Bundle) -> None:
    """A cost below 0 is refused."""
    assert (b"priced" in manifests.render(tiny.manifest), b"dear" in manifests.render(tiny.manifest)) == (False, False)
    money = Money(value=2.0, low=1.0, high=3.0)
    given = Priced(
        wrong_publication={"mlops": {"other": 3.0}, "other": 1.0},
        item=0.5,
        currency="EUR",
        rows=9,
        published=0.5,
        cost=money,
        mistakes=money,
        people=money,
        everything=5000.0,
        nothing=money,
    )
    asked = dict.fromkeys(tiny.manifest.labels, certificate(**ALWAYS, dear=True))
    rewrite(folder, tiny, priced=given, thresholds=asked)
    found = bundle.read(folder).manifest
    assert (found.priced, found.thresholds) == (given, asked)
    rewrite(folder, tiny, priced=msgspec.structs.replace(given, item=-0.5))
    with pytest.raises(BundleError, match=r"item.*Next:"):
        bundle.read(folder)


def test_one_judgement_is_that_of_bundles_with_other_thresholds_alone(tiny: Bundle) -> None:
    """Name, version, thresholds and measurements change no probability; whatever does is another judgement."""
    manifest = tiny.manifest
    raised = msgspec.structs.replace(manifest.threshold, confidence=0.99)
    shares = dict.fromkeys(manifest.labels, 1 / len(manifest.labels))

    def changed(**changes: Any) -> str:
        return msgspec.structs.replace(manifest, **changes).judgement

    assert manifest.judgement == changed(name="other", version="2", threshold=raised, metrics={"f1": 1.0}, reference={})
    others = [
        changed(temperature=manifest.temperature * 1.01),
        changed(max_length=manifest.max_length + 1),
        changed(labels=manifest.labels[::-1]),
        changed(prior=manifests.Prior(shares=shares, offsets=dict.fromkeys(manifest.labels, 0.1), source="balanced")),
        *(changed(files={**manifest.files, name: "0" * 64}) for name in (MODEL, TOKENIZER)),
    ]
    assert len({manifest.judgement, *others}) == 1 + len(others)


def test_a_bundle_without_label_thresholds_uses_one_threshold_for_every_label(folder: Path, tiny: Bundle) -> None:
    """It is canonical without the field."""
    rewrite(folder, tiny, thresholds={})
    assert b'"thresholds"' not in (folder / MANIFEST).read_bytes()
    found = bundle.read(folder).manifest
    assert found.asked_below() == dict.fromkeys(tiny.manifest.labels, tiny.manifest.threshold.confidence)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"precision_lower_bound": 0.9499}, "borne out by its own bound"),
        ({"labels_needed": 5}, "borne out by its own bound"),
        ({"rows": 0}, "borne out by its own bound"),
        ({"rows": 401}, "borne out by its own bound"),
        (ALWAYS | {"certified": True, "precision_lower_bound": 0.96}, "borne out by its own bound"),
        ({"confidence": 1.00005}, "must lie in 0 to 1, or be 1.0001"),
        ({"confidence": 1.5}, "does not say what a bundle must say"),
        ({"precision": -0.1}, "does not say what a bundle must say"),
        (UNCERTIFIED | {"labels_needed": 0}, "does not say what a bundle must say"),
    ],
)
def test_a_certificate_that_contradicts_its_own_numbers_is_refused(
    folder: Path, tiny: Bundle, changes: dict[str, object], why: str
) -> None:
    """A certificate must follow from its own counts, and its threshold must be comparable with a confidence."""
    rewrite(folder, tiny, thresholds=dict.fromkeys(tiny.manifest.labels, certificate(**changes)))
    with pytest.raises(BundleError, match=why):
        bundle.read(folder)


@pytest.mark.parametrize("drop", [True, False])
def test_thresholds_name_every_label_and_no_other(folder: Path, tiny: Bundle, drop: bool) -> None:
    """A bundle with a missing or an extra label among its thresholds is refused."""
    given = dict.fromkeys(tiny.manifest.labels[1:] if drop else (*tiny.manifest.labels, "stranger"), certificate())
    rewrite(folder, tiny, thresholds=given)
    with pytest.raises(BundleError, match="none, or one a label"):
        bundle.read(folder)
