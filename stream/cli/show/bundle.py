"""Prints a bundle: name, labels, training data, thresholds and limits, all from the manifest."""

from collections.abc import Iterator, Mapping
from typing import Any

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.manifest import ALWAYS_ASK, Manifest
from tagstream.model_export.bundle.model import NO_LIMITS, limits_in
from tagstream.model_export.bundle.promise.promise import FOR_TEXTS
from tagstream.model_export.make import parent, priced_words
from tagstream.monitoring.vocabulary import few
from tagstream.stream.terminal import console

KB, MB = 1e3, 1e6
SHORT_DIGEST = 12
# The number of precisions that are listed, the highest ones, so that the whole text fits a screen of thirty lines.
MOST_TRADES = 5
# The parts of the rows and their uses, in the order of use.
USES = {
    "train": "learned from",
    "unlabelled": "without labels",
    "calibration": "to calibrate",
    "corpus_test": "of the corpus to test",
    "holdout": "held out",
}

# The calibration rows by origin, as `measure.bundle_metrics` names them.
ORIGINS = {
    "calibration_real": "calibration rows that are real titles",
    "calibration_others": "other calibration rows, authored or Made With ML's",
}

PRIORS = {
    "balanced": "every label equally often",
    "rows": "as often as its rows have them",
    "given": "as the user has given them",
    "labels": "by labelled rows of a stream",
    "decisions": "by decisions on a stream",
}


def print_bundle(bundle: Bundle, events_a_day: int = 10_000) -> None:
    """Print a bundle as a short text, with the number of reviews a day for `events_a_day` events. `--json` prints the whole manifest."""
    for line in (*_lines(bundle), *_trade(bundle.manifest, events_a_day)):
        console.show(console.visible(line, limit=len(line)))


def _lines(bundle: Bundle) -> Iterator[str]:
    manifest = bundle.manifest
    model, tokenizer = len(bundle.model), len(bundle.tokenizer)
    yield f"{manifest.name} {manifest.version}, in {bundle.path}"
    yield _named("digest", bundle.digest)
    yield _named("labels", ", ".join(manifest.labels))
    yield _named(
        "size",
        f"{_size(model + tokenizer)}: network {_size(model)}, tokenizer {_size(tokenizer)}; reads "
        + (f"up to {manifest.windows} windows of " if manifest.windows > 1 else "up to ")
        + f"{manifest.max_length} tokens of a text",
    )
    for number, what in enumerate(_made(manifest.training)):
        yield _named("" if number else "made", what)
    if manifest.multilabel is not None:
        scores = ", ".join(f"{label} {score}" for label, score in manifest.multilabel.thresholds.items())
        yield _named("tags", f"says what else a text is about, from these scores on: {scores}")
    if manifest.prior is not None:
        shares = ", ".join(f"{label} {share:.1%}" for label, share in manifest.prior.shares.items())
        yield _named("expects", f"{shares} ({PRIORS[manifest.prior.source]})")
    if manifest.threshold.promise is not None:
        yield _named("promises", manifest.threshold.sentence())
        yield from (_named("", line) for line in _by_origin(manifest.metrics))
    yield _named("asks", "a person below this confidence in the label that the model gives:")
    for label, confidence in manifest.asked_below().items():
        shown = "always" if confidence == ALWAYS_ASK else f"{confidence}"
        own = manifest.thresholds.get(label)
        why = own.sentence(label) if own is not None else f"{label}: no certificate; this is the threshold of all labels"
        yield f"  {shown:<8}{why}"
    if manifest.priced is not None:
        for number, line in enumerate(priced_words.lines(manifest.priced)):
            yield _named("" if number else "costs", line)
    yield from _ood(manifest)


def _by_origin(metrics: Mapping[str, Any]) -> Iterator[str]:
    """State what is published, and how right it is, apart for the calibration rows that are real titles and for the others."""
    for part, named in ORIGINS.items():
        if found := _part(metrics, part):
            yield (
                f"of the {found['rows']:,} {named}, {found['coverage']:.1%} published, {found['precision_at_threshold']:.4f} of these right"
            )


def _trade(manifest: Manifest, events_a_day: int) -> Iterator[str]:
    """List precisions that could be promised for all published decisions together, and the number of events a day that people would see."""
    if not manifest.trade:
        return
    proved = [each for each in manifest.trade if each.confidence is not None]
    if not proved:
        yield _named("trade", "no precision of all published decisions together can be certified with these calibration rows")
        return
    yield _named(
        "trade",
        f"other precisions of all published decisions, {FOR_TEXTS}, at {events_a_day:,} events a day; the rows certify none above "
        f"{proved[-1].target_precision}:",
    )
    for each in proved[-MOST_TRADES:]:
        reviews = f"{round((1.0 - each.published) * events_a_day):,} reviews a day"
        chosen = " (chosen)" if manifest.priced is None and each.target_precision == manifest.threshold.target_precision else ""
        yield f"  {each.target_precision:<8}published {each.published:6.1%} from confidence {each.confidence} on, {reviews}{chosen}"


def _ood(manifest: Manifest) -> Iterator[str]:
    """List the limits above which a text is out of distribution, by their names in the manifest's reference."""
    limits = limits_in(manifest.reference)
    if limits == NO_LIMITS:
        yield _named("limits", "none: the confidence alone says which texts a person is asked about")
        return
    yield _named("limits", "a person is asked at any confidence about a text above one of them:")
    if limits.energy is not None:
        yield _limit("ood_energy", limits.energy, "energy of the logits: the network recognises little in the text")
    if limits.unfamiliar is not None:
        words = len(manifest.reference.get("known_words", ()))
        yield _limit(
            "ood_unfamiliar",
            limits.unfamiliar,
            f"share of words that are not among the {words:,} known ones: another language, or code",
        )
    if limits.strangeness is not None:
        yield _limit("ood_strangeness", limits.strangeness, "more like texts of none of the labels than theirs are")
        yield from (f"    {line}" for line in _strangers(manifest.training))


def _strangers(training: Mapping[str, Any]) -> Iterator[str]:
    """Describe the cost and the benefit of the limit on strangeness, from the training's record of the gate."""
    found = _part(training, "strangers")
    for name, side in _part(found, "lost").items():
        yield f"{side['hits']:,} of {side['rows']:,} texts of the labels lost ({name}), at most {side['upper']:.1%} with {found['level']:.0%} certainty"
    if near := _part(found, "neighbours"):
        yield (
            f"neighbours: {near['hits'] / near['rows']:.1%} of {near['rows']:,} texts of the labels pass it by fits without their label, "
            "before their confidence counts"
        )
    if every := _part(found, "published").get("all"):
        learned = "; the network has learned these texts" if training.get("none") else ""
        yield (
            f"{every['hits'] / every['rows']:.1%} of {every['rows']:,} texts of none of the labels published, judged by fits without their source; "
            f"{every['without']:.1%} without this limit{learned}"
        )


def _limit(name: str, value: float, catches: str) -> str:
    return f"  {name:<15} {value:<8} {catches}"


def _size(count: int) -> str:
    return f"{count / MB:.1f} MB" if count >= MB else f"{count / KB:.1f} kB"


def _named(name: str, what: str) -> str:
    return f"{name:<9}{what}"


def imported(training: Mapping[str, Any]) -> list[str]:
    """Describe an imported classifier: origin, form in the bundle, and accuracy beside the original's. Empty for another bundle."""
    source = _part(training, "imported")
    if not source:
        return []
    found = [f"from {source.get('from')}, {source.get('kind')}; its network is {source.get('form')}"]
    found += [f"not {reason}" for reason in source.get("because", ())]
    for part in source.get("beside", ()):
        came, here, agreement = (float(part.get(name, 0.0)) for name in ("as_it_came", "here", "agreement"))
        found.append(
            f"{part.get('rows', 0):,} rows of {part.get('part')}: right {came:.2%} by {source.get('runtime')}, {here:.2%} here; "
            f"the same label in {agreement:.2%}"
        )
    return found


def published(manifest: Manifest) -> str:
    """Return one sentence on what a bundle publishes."""
    below = manifest.asked_below()
    asked = [label for label, confidence in below.items() if confidence == ALWAYS_ASK]
    if len(asked) == len(below):
        return "it publishes nothing, since no row or answer has certified a label: all events go to people, each with a suggestion"
    if not asked:
        return "it publishes decisions of every label from its certified confidence on; the others go to people"
    others = [label for label in below if label not in asked]
    return f"it publishes decisions of {few(others)} that are sure enough; less sure decisions, and all of {few(asked)}, go to people"


def _made(training: Mapping[str, Any]) -> Iterator[str]:
    """Summarise the record of the training. The record's shape depends on the command that made the bundle; parts may be missing."""
    encoder = _part(training, "encoder")
    base = _part(training, "base_model") or _part(encoder, "base_model")
    found = []
    if base.get("name"):
        found.append(f"of {base['name']}, revision {str(base.get('revision', 'unknown'))[:SHORT_DIGEST]}")
    if encoder.get("bundle"):
        found.append(f"of the encoder of the bundle {str(encoder['bundle'])[:SHORT_DIGEST]}, its head fitted anew")
    if named := parent.of(training):
        found.append(f"parent {named}; changed: {named.changes()}")
    found += imported(training)
    found += rows_of("", training)
    found += rows_of("n-grams: ", _part(training, "ngrams"), but=_part(training, "data"))
    found += rows_of("promises: ", _part(training, "calibrated"), but=_part(training, "data"))
    if earned := _part(training, "earned"):
        before, after = (float(earned.get(f"published_{when}", 0.0)) for when in ("before", "after"))
        found.append(
            f"thresholds: earned from {earned.get('answers', 0):,} answers, published {after:.1%}, {before:.1%} before"
        )
    if training.get("made_by"):
        found.append(f"by {training['made_by']}")
    yield from found or ["of what its manifest does not say"]


def rows_of(before: str, made: Mapping[str, Any], but: Mapping[str, Any] | None = None) -> Iterator[str]:
    """List the number of rows of each part, and the files of the rows. Yield nothing if both are the same as in `but`."""
    data = _part(made, "data")
    if not data or data == but:
        return
    counts, files = _part(data, "rows"), _part(data, "sha256")
    used = [f"{counts[part]:,} {use}" for part, use in USES.items() if counts.get(part)]
    version = data.get("version")
    if used:
        yield f"{before}rows{f' (version {version})' if version else ''}: {', '.join(used)}"
    if files:
        yield f"{before}files: {', '.join(sorted(files))}"


def _part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}
