"""A bundle's model card (`README.md`, in the form of Hugging Face) and its bill of materials (CycloneDX), both made from the manifest alone.

Neither is part of the bundle: `bundle.json` does not name them, no digest covers them, and a worker does not read them.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tagstream.model_export.bundle import manifest as manifests
from tagstream.model_export.bundle.manifest import ALWAYS_ASK, MANIFEST, NAME, Manifest
from tagstream.model_export.bundle.promise.promise import FOR_TEXTS
from tagstream.model_export.bundle.signature import DESCRIPTIONS
from tagstream.model_export.data import multilingual
from tagstream.model_export.make import parent, priced_words
from tagstream.model_export.measure.parts import CALIBRATION, PARTS

README, BOM = DESCRIPTIONS
# A README without this line is somebody's own, and stays.
MARK = "<!-- tagstream made this file from bundle.json, and makes it anew with the bundle. Without this line it is yours. -->"
HUB = "hf://"
TASK = "text-classification"
# Licence and language of the encoders that training starts from; see NOTICE.
BASES = {
    "sentence-transformers/all-MiniLM-L6-v2": ("apache-2.0", "en"),
    multilingual.NAME: ("mit", "multilingual"),
}
LICENCES = {"apache-2.0": "Apache-2.0", "mit": "MIT"}
UNKNOWN = "unknown"
ROWS_OF = {
    "holdout": "rows that training and calibration have not used",
    "corpus_test": "authored rows on topics that training has not seen",
    CALIBRATION: "rows that the thresholds were chosen on",
}
# By the name of a figure in `metrics`: its kind at Hugging Face, and its name.
FIGURES = {
    "weighted_f1": ("f1", "weighted F1"),
    "macro_f1": ("f1", "macro F1"),
    "accuracy": ("accuracy", "accuracy"),
    "precision_at_threshold": ("precision", "precision of published decisions"),
    "coverage": ("coverage", "share of rows that are published"),
    "calibration_error": ("expected_calibration_error", "expected calibration error"),
}
# A sentence for each entry of the manifest's `training`. The entries' names cannot be imported: the modules that write them need torch,
# or import this one.
IMPORTED, STRANGERS = "imported", "strangers"
STEPS = {
    IMPORTED: "A trained classifier was imported.",
    "labels": "People described the labels in words, and the network learned from these words.",
    "quick": "The encoder was kept, and a head was fitted to its vectors.",
    "teacher": "A teacher network was tuned on the rows.",
    "advisor": "A larger encoder advised the training.",
    "student": "The encoder was tuned on the rows, and on what a teacher or an adviser said about them.",
    "head": "The encoder of another bundle was kept, and a new head was fitted to its vectors.",
    "ngrams": "Words and pairs of words have weights of their own beside the network.",
    STRANGERS: "A gate learned to detect texts of none of the labels.",
    "calibrated": "Temperature and thresholds were chosen anew, with the same network.",
    "earned": "Answers of people about decisions moved the thresholds.",
}
USE = """With tagstream installed, and its extra `worker` for the last line:

```bash
tagstream model verify FOLDER
tagstream classify "A title" --bundle FOLDER
TAGSTREAM_BUNDLE=FOLDER tagstream worker
```"""
_MARKUP = re.compile(r"[\\`*_\[\]<>|~&$!]")
# These are markup at the start of a line or of an entry in a list.
_START = re.compile(r"^(\s*\d*)([-+#=.):])")


def files(manifest: Manifest) -> dict[str, str]:
    """Return the contents of the card and of the bill of materials, by file name. The same manifest always gives the same contents."""
    digest = hashlib.sha256(manifests.render(manifest)).hexdigest()
    return {
        README: f"---\n{_front_matter(manifest)}\n---\n\n{MARK}\n\n{_body(manifest, digest)}",
        BOM: json.dumps(_bill(manifest, digest), indent=2) + "\n",
    }


def is_ours(readme: Path) -> bool:
    """Whether a file may be replaced by a card: it is missing, or is a card."""
    return not readme.exists() or MARK.encode() in readme.read_bytes()


def _front_matter(manifest: Manifest) -> str:
    # The import takes a fifth of a second, and most commands write no bundle.
    from huggingface_hub import EvalResult, ModelCardData

    name, (base, _), language = plain(manifest.name), _base(manifest), _language(manifest)
    results = [
        EvalResult(
            task_type=TASK,
            dataset_type=part,
            dataset_name=f"{part}: {ROWS_OF[part]}",
            metric_type=FIGURES[figure][0],
            metric_name=FIGURES[figure][1],
            metric_value=value,
        )
        for part, found in measured(manifest)
        for figure, value in found.items()
    ]
    data = ModelCardData(
        license=_licence(manifest),
        language=language,
        library_name="tagstream",
        pipeline_tag=TASK,
        tags=["tagstream", "onnx", TASK],
        base_model=base if base in BASES or _is_of_hub(manifest) else None,
        metrics=sorted({kind for kind, _ in FIGURES.values()}) if results else None,
        model_name=name,
        eval_results=results or None,
    )
    if not results:
        data.pop("model_name")
    return data.to_yaml()


def _body(manifest: Manifest, digest: str) -> str:
    sections = {
        f"# {_text(f'{manifest.name} {manifest.version}')}": [
            f"A bundle of tagstream: a classifier of short texts with {len(manifest.labels)} labels. It sends unsure texts to people.",
            f"Digest: `{digest}`.",
        ],
        "## What it is for": [
            "It gives a title, with or without a description, one of the labels and a probability of each label"
            + (", and the further labels of the text." if manifest.multilabel is not None else "."),
            "Decisions below the threshold of their label are for people.",
        ],
        "## Labels": [_label_table(manifest)],
        "## How it was trained": [_bullets(_history(manifest))],
        "## Figures": [_figure_table(manifest)],
        "## Thresholds and what is promised": [
            _bullets(
                [
                    manifest.threshold.sentence() + ".",
                    *(found.sentence(_text(label)) + "." for label, found in sorted(manifest.thresholds.items())),
                    *(
                        _text(line) + "."
                        for line in (priced_words.lines(manifest.priced) if manifest.priced is not None else ())
                    ),
                ]
            )
        ],
        "## Limits": [_bullets(map(_text, _limits(manifest)))],
        "## How to use": [
            USE,
            f"`{BOM}` lists the files, their SHA-256 and the origin of the model (CycloneDX). `{MANIFEST}` has everything that is said here.",
        ],
    }
    return "\n\n".join(part for heading, parts in sections.items() for part in (heading, *parts)) + "\n"


def _label_table(manifest: Manifest) -> str:
    asked = manifest.asked_below()
    shares = {} if manifest.prior is None else manifest.prior.shares
    rows = [
        (
            _text(label),
            f"{shares[label]:.1%}" if label in shares else "as in training",
            "never" if asked[label] == ALWAYS_ASK else f"{asked[label]:g}",
        )
        for label in manifest.labels
    ]
    return _table(("label", "expected share", "published from confidence"), rows)


def _figure_table(manifest: Manifest) -> str:
    found_in = dict(measured(manifest))
    if not found_in:
        return "Nothing was measured."
    heading = ("rows", "number", *(name for _, name in FIGURES.values()))
    rows = [
        (
            f"{part.replace('_', ' ')}: {ROWS_OF[part]}",
            f"{_dict(manifest.metrics[part]).get('rows', '-')}",
            *(f"{found[figure]:.4f}" if figure in found else "-" for figure in FIGURES),
        )
        for part, found in found_in.items()
    ]
    return _table(heading, rows)


def _history(manifest: Manifest) -> list[str]:
    training = manifest.training
    base, revision = _base(manifest)
    said = [f"Base model: {_text(base)}{f', revision {_text(revision)}' if revision else ''}."] if base else []
    before = parent.of(training)
    said += (
        [f"Parent: {_text(f'{before.name} {before.version}')}, digest `{before.digest}`. Changed: {_text(before.changes())}."]
        if before
        else []
    )
    said += _steps(manifest)
    data = _dict(training.get("data"))
    counted, version = _dict(data.get("rows")), str(data.get("version", ""))
    rows = ", ".join(
        f"{_text(part.replace('_', ' '))} {count:,}"
        for part, count in sorted(counted.items())
        if isinstance(count, int) and count
    )
    said += [f"Rows{f' (version {_text(version)})' if version else ''}: {rows}."] if rows else []
    quantised = _dict(manifest.parity.get("quantised")).get("agreement")
    if isinstance(quantised, float):
        said.append(f"The network in this bundle and the network before rounding give {quantised:.1%} of rows the same label.")
    return said or ["The manifest has no record of it."]


def _limits(manifest: Manifest) -> list[str]:
    windows = f", or in {manifest.windows} windows of that length" if manifest.windows > 1 else ""
    said = [
        f"Confidences and promises hold {FOR_TEXTS}, and for a stream that resembles the calibration rows.",
        f"A text is read to {manifest.max_length} tokens{windows}.",
        "Nobody has measured whether it treats texts by or about different groups of people alike.",
    ]
    if _language(manifest) == "en":
        said.append("The encoder knows English.")
    every = _dict(_dict(_dict(manifest.training.get(STRANGERS)).get("published")).get("all"))
    hits, rows = every.get("hits"), every.get("rows")
    if isinstance(hits, int) and isinstance(rows, int) and rows:
        said.append(f"Of {rows:,} texts of none of the labels, {hits / rows:.1%} are published.")
    return said


def _bill(manifest: Manifest, digest: str) -> dict[str, Any]:
    """The list, by version 1.6 of the schema of CycloneDX. It has the same bytes each time, so there is no date in it."""
    base, revision = _base(manifest)
    data = _dict(manifest.training.get("data"))
    version = [{"name": "version", "value": str(data["version"])}] if "version" in data else []
    model: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": "bundle",
        "name": manifest.name,
        "version": manifest.version,
        **_licences(_licence(manifest)),
        "components": [
            {"type": "file", "name": name, "hashes": _sha256(found)}
            for name, found in sorted({**manifest.files, MANIFEST: digest}.items())
        ],
        "pedigree": {"notes": " ".join(_steps(manifest))},
        "modelCard": {
            "modelParameters": {
                "approach": {"type": "supervised"},
                "task": TASK,
                "datasets": [
                    {
                        "type": "dataset",
                        "name": name,
                        "contents": {"properties": [{"name": "SHA-256", "value": str(found)}, *version]},
                    }
                    for name, found in sorted(_dict(data.get("sha256")).items())
                ],
                "inputs": [{"format": "text"}],
                "outputs": [{"format": f"one probability a label: {', '.join(manifest.labels)}"}],
            },
            "quantitativeAnalysis": {
                "performanceMetrics": [
                    {"type": FIGURES[figure][1], "value": str(value), "slice": part}
                    for part, found in measured(manifest)
                    for figure, value in found.items()
                ]
            },
            "considerations": {"technicalLimitations": _limits(manifest)},
        },
    }
    before = parent.of(manifest.training)
    ancestors = [_parent(before)] if before else []
    ancestors += [_ancestor(manifest, base, revision)] if base else []
    if ancestors:
        model["pedigree"]["ancestors"] = ancestors
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": model},
    }


def _parent(before: parent.Parent) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "name": before.name,
        "version": before.version,
        "components": [{"type": "file", "name": MANIFEST, "hashes": _sha256(before.digest)}],
    }


def _ancestor(manifest: Manifest, base: str, revision: str) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "machine-learning-model", "name": base}
    if revision:
        found["version"] = revision
    if re.fullmatch("[0-9a-f]{40}", revision):
        found["purl"] = f"pkg:huggingface/{base}@{revision}"
    if base in BASES:
        found |= _licences(BASES[base][0])
    # A model has one file of weights; the sums of its tokenizer and its configuration are in the manifest.
    sums = [
        found for name, found in _dict(_base_record(manifest).get("sha256")).items() if name.endswith((".safetensors", ".bin"))
    ]
    return found | ({"hashes": _sha256(sums[0])} if sums else {})


def _steps(manifest: Manifest) -> list[str]:
    return [sentence for entry, sentence in STEPS.items() if entry in manifest.training]


def measured(manifest: Manifest) -> Iterator[tuple[str, dict[str, float]]]:
    """The figures of each part that was measured. A bundle with older figures may lack some."""
    for part in PARTS:
        found = _dict(manifest.metrics.get(part))
        figures = {figure: found[figure] for figure in FIGURES if isinstance(found.get(figure), float)}
        if figures:
            yield part, figures


def _base_record(manifest: Manifest) -> dict[str, Any]:
    """The entry of the encoder. A head that was fitted anew keeps the record of its encoder, which may have another in it."""
    training = manifest.training
    while training:
        found = _dict(training.get("base_model"))
        if found:
            return found
        training = _dict(training.get("encoder"))
    return {}


def _base(manifest: Manifest) -> tuple[str, str]:
    """Name and revision of the base model; empty where the manifest does not say them. Of an imported classifier's path, the last name."""
    found = _base_record(manifest)
    if found:
        return str(found.get("name", "")), str(found.get("revision", ""))
    place = str(_dict(manifest.training.get(IMPORTED)).get("from", ""))
    if place.startswith(HUB):
        name, _, revision = place.removeprefix(HUB).partition("@")
        return name, revision
    return Path(place).name, ""


def _is_of_hub(manifest: Manifest) -> bool:
    return str(_dict(manifest.training.get(IMPORTED)).get("from", "")).startswith(HUB)


def _licence(manifest: Manifest) -> str:
    """The licence of the shipped model. A manifest does not say the licence of its owner's rows, so another bundle has none."""
    return "apache-2.0" if manifest.name == NAME else UNKNOWN


def _language(manifest: Manifest) -> str | None:
    base, _ = _base(manifest)
    return BASES[base][1] if base in BASES else None


def _licences(found: str) -> dict[str, Any]:
    return {"licenses": [{"license": {"id": LICENCES[found]}}]} if found in LICENCES else {}


def _sha256(digest: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digest}]


def _dict(found: object) -> dict[str, Any]:
    """A record of the manifest; empty where there is none."""
    return found if isinstance(found, dict) else {}


def plain(text: str) -> str:
    """A text on one line, with what is not visible written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _text(text: str) -> str:
    """A text that Markdown shows as it is."""
    return _START.sub(r"\1\\\2", _MARKUP.sub(r"\\\g<0>", plain(text)))


def _bullets(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _table(heading: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [heading, tuple("---" for _ in heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
