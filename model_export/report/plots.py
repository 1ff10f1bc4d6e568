"""
The pictures of a report: rivals, confusion, reliability, risk by coverage, the price of a promise, slices.

The pictures have the width of a phone, so they are readable without zoom. The same record gives the same bytes.
"""

from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tagstream.model_export.bundle.promise.promise import FOR_TEXTS
from tagstream.model_export.compare.evaluation_record import Measured, PartReport, title
from tagstream.model_export.measure.evaluate import MOST_COLUMNS, mistakes
from tagstream.model_export.measure.slices import FEW_ROWS
from tagstream.model_export.report.picture import (
    LIGHT,
    Picture,
    axes_of,
    dot,
    dress,
    figure_of,
    house_style,
    name_rows,
    picture_of,
    series,
)

STRONGEST_CELL = 0.45
# The number of mistakes in the picture that replaces a confusion matrix of too many labels, whose cells would be too small to read.
MOST_MISTAKES = 15


def draw(measured: Measured) -> dict[str, Picture]:
    """Return the pictures of a report by name."""
    with house_style():
        pictures = [picture for part in measured.bundle.parts for picture in _of_part(measured, part)]
        if measured.certified_trade:
            pictures.append(_trade(measured))
    return {picture.name: picture for picture in pictures}


def _of_part(measured: Measured, part: str) -> list[Picture]:
    found = measured.bundle.parts[part]
    return [
        *([_rivals(measured, part)] if measured.others else []),
        _confusion(measured, part),
        _reliability(found, part),
        _risk_coverage(measured, part),
        _slices(found, part),
    ]


def _rivals(measured: Measured, part: str) -> Picture:
    """Draw the weighted F1 of every model, with its interval."""
    figure, axes = axes_of(0.8 + 0.36 * len(measured.models))
    for place, model in enumerate(measured.models):
        evaluation = model.parts[part].evaluation
        dot(axes, place, evaluation.weighted_f1, evaluation.weighted_f1_interval, LIGHT["quiet" if place else "ours"])
        axes.annotate(
            f"{evaluation.weighted_f1:.3f}",
            (evaluation.weighted_f1, place),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=LIGHT["ink"],
        )
    name_rows(axes, [model.name for model in measured.models])
    axes.set_xlabel("weighted F1, 95 % interval")
    best = max(measured.models, key=lambda model: model.parts[part].evaluation.weighted_f1)
    figures = "; ".join(f"{model.name} {model.parts[part].evaluation.weighted_f1:.3f}" for model in measured.models)
    return picture_of(
        figure, f"rivals-{part}", f"Weighted F1 on the {title(part)} with 95 % intervals: {figures}. Highest: {best.name}."
    )


def _reliability(found: PartReport, part: str) -> Picture:
    """Draw the share of right rows by confidence, and the number of rows by confidence."""
    figure = figure_of(3.9)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for axes in (upper, lower):
        dress(axes)
    upper.plot([0, 1], [0, 1], color=LIGHT["quiet"], linewidth=1, linestyle="--")
    for each in found.reliability:
        low, high = each.interval
        upper.plot([each.confidence] * 2, [low, high], color=LIGHT["ours"], linewidth=1.6, alpha=0.55)
        upper.plot(each.confidence, each.right, "o", color=LIGHT["ours"], markersize=5.5)
        lower.bar(each.low, each.rows, width=each.high - each.low, align="edge", color=LIGHT["ours"], edgecolor=LIGHT["card"])
    upper.set_ylim(-0.02, 1.02)
    upper.set_xlim(0, 1)
    upper.set_ylabel("share right")
    lower.set_ylabel("rows")
    lower.set_xlabel("confidence")
    error = found.evaluation.calibration_error
    return picture_of(
        figure,
        f"reliability-{part}",
        f"Reliability on the {title(part)}: share right by confidence, with 95 % intervals; on the dashed line a confidence is what it says. "
        f"Expected calibration error {error:.3f}.",
    )


def _risk_coverage(measured: Measured, part: str) -> Picture:
    """Draw, for each model, the share of wrong rows among its surest rows, by the share of rows that it answers."""
    figure, axes = axes_of(3.9)
    for place, model in enumerate(measured.models):
        points = model.parts[part].risk_coverage.points
        coverage, risk = [point.coverage for point in points], [point.risk for point in points]
        colour, dashes = series(place)
        if not place:
            bounds = [point.interval for point in points]
            axes.fill_between(
                coverage, [low for low, _ in bounds], [high for _, high in bounds], color=colour, alpha=0.13, lw=0
            )
        area = model.parts[part].risk_coverage.area
        axes.plot(
            coverage,
            risk,
            color=colour,
            linestyle=dashes,
            linewidth=1.3 if place else 2.4,
            label=f"{model.name} ({area:.3f})",
            zorder=3,
        )
    published = measured.bundle.parts[part].published
    if published.precision is not None:
        axes.plot(published.share, 1 - published.precision, "o", color=LIGHT["ours"], markersize=7, zorder=4)
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, _headroom(measured, part))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("rows answered, surest first")
    axes.set_ylabel("of them wrong")
    legend = axes.legend(
        loc="upper left", frameon=False, fontsize=8, title="mean risk in brackets", title_fontsize=8, labelcolor=LIGHT["ink"]
    )
    legend.get_title().set_color(LIGHT["quiet"])
    return picture_of(
        figure,
        f"risk-coverage-{part}",
        f"Risk by coverage on the {title(part)}, one confidence for all labels. By its own thresholds the bundle answers "
        f"{published.share:.0%} of rows and {published.kept - published.right} of those {published.kept} are wrong (the dot); the band is "
        f"the 95 % interval of its curve.",
    )


def _trade(measured: Measured) -> Picture:
    """Draw the share of events that people see, by the certified precision of the published events."""
    found = measured.certified_trade
    figure, axes = axes_of(3.4)
    targets, seen = [each.target_precision for each in found], [1.0 - each.published for each in found]
    axes.plot(targets, seen, "-", color=LIGHT["ours"], linewidth=1.6)
    chosen = [each.target_precision == measured.target_precision for each in found]
    for target, share, ours in zip(targets, seen, chosen, strict=True):
        face = LIGHT["ours"] if ours else LIGHT["card"]
        axes.plot(target, share, "o", markersize=7, markeredgecolor=LIGHT["ours"], markerfacecolor=face)
        axes.annotate(
            f"{share:.0%}",
            (target, share),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=LIGHT["ink"],
        )
    axes.set_ylim(0, min(1.1, max(seen) * 1.25 + 0.05))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel(f"certified precision of all published decisions, {FOR_TEXTS}")
    axes.set_ylabel("events that people see")
    figures = "; ".join(f"{target:.1%} costs {share:.0%}" for target, share in zip(targets, seen, strict=True))
    return picture_of(
        figure,
        "trade",
        f"The price of a promise, on the calibration rows: the share of events that people see, by the certified precision, {FOR_TEXTS}. {figures}."
        f"{' The filled dot is the promise of this bundle.' if any(chosen) else ''}",
    )


def _confusion(measured: Measured, part: str) -> Picture:
    """Draw the confusion matrix: by label of the rows, the labels that the bundle gave."""
    counts, labels = measured.bundle.parts[part].evaluation.confusion, measured.labels
    if len(labels) > MOST_COLUMNS:
        return _mistakes(measured, part)
    figure, axes = axes_of(4.0, grid=False)
    for row, given in enumerate(counts):
        for column, count in enumerate(given):
            share = count / max(1, sum(given))
            colour = LIGHT["ours" if row == column else "other-4"]
            axes.add_patch(
                Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, color=colour, alpha=0.04 + STRONGEST_CELL * share, lw=0)
            )
            axes.text(column, row - 0.1, str(count), ha="center", va="center", fontsize=11, color=LIGHT["ink"])
            axes.text(column, row + 0.24, f"{share:.0%}", ha="center", va="center", fontsize=8, color=LIGHT["ink"])
    places = range(len(labels))
    broken = [broken_label(label) for label in labels]
    axes.set_xticks(places, broken)
    axes.set_yticks(places, broken)
    axes.tick_params(length=0)
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("given as")
    axes.set_ylabel("label")
    right = sum(counts[place][place] for place in places)
    return picture_of(
        figure,
        f"confusion-{part}",
        f"Confusion matrix on the {title(part)}: rows by their label, columns by the label given; {right} of {sum(map(sum, counts))} are on the "
        f"diagonal. Percentages are of the row.",
    )


def _mistakes(measured: Measured, part: str) -> Picture:
    """Draw the most frequent pairs of a label and a wrongly given label, as bars."""
    counts, labels = measured.bundle.parts[part].evaluation.confusion, measured.labels
    wrong = [
        (count, f"{label}, given as {other}")
        for label, given in zip(labels, counts, strict=True)
        for count, other in mistakes(label, labels, given)
    ]
    shown = sorted(wrong, key=lambda each: (-each[0], each[1]))[:MOST_MISTAKES]
    figure, axes = axes_of(0.9 + 0.27 * max(len(shown), 1))
    axes.barh(range(len(shown)), [count for count, _ in shown], height=0.6, color=LIGHT["other-4"])
    if shown:
        name_rows(axes, [said for _, said in shown])
        axes.set_xlim(0, shown[0][0] + 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("rows")
    total = sum(count for count, _ in wrong)
    return picture_of(
        figure,
        f"confusion-{part}",
        f"Mistakes on the {title(part)}: the {len(shown)} most frequent of {len(wrong)} pairs of a label and the label given, "
        f"{sum(count for count, _ in shown)} of {total} rows that are wrong.",
    )


def _slices(found: PartReport, part: str) -> Picture:
    """Draw the share of right rows on every slice, with its interval. Slices with few rows have hollow dots."""
    reports = found.slices
    figure, axes = axes_of(0.9 + 0.27 * (len(reports) + len({report.group for report in reports})))
    axes.axvline(found.evaluation.accuracy, color=LIGHT["quiet"], linewidth=1, linestyle="--")
    places, place = [], 0.0
    for number, report in enumerate(reports):
        place += 1.6 if number and report.group != reports[number - 1].group else 1.0
        places.append(place)
        dot(axes, place, report.accuracy, report.interval, LIGHT["ours"], hollow=report.few)
    name_rows(axes, [f"{report.name} ({report.rows})" for report in reports], places)
    axes.set_xlabel("share right, 95 % interval")
    worst = min((report for report in reports if not report.few), key=lambda report: report.accuracy, default=None)
    lowest = f" Lowest with {FEW_ROWS} rows or more: {worst.name}, {worst.accuracy:.3f}." if worst else ""
    return picture_of(
        figure,
        f"slices-{part}",
        f"Share right by slice on the {title(part)}, rows in brackets; the dashed line is that of all rows, hollow dots have fewer than "
        f"{FEW_ROWS} rows.{lowest}",
    )


def broken_label(label: str) -> str:
    r"""
    Break a label over several lines, for a place next to an axis.

    >>> broken_label("computer-vision")
    'computer-\nvision'
    """
    return label.replace("-", "-\n")


def _headroom(measured: Measured, part: str) -> float:
    """Return the top of the risk axis: the highest risk, with room for the legend. Below a coverage of 10 % single rows decide the risk."""
    risks = [
        point.risk
        for model in measured.models
        for point in model.parts[part].risk_coverage.points
        if point.coverage >= 0.1  # noqa: PLR2004
    ]
    return min(1.0, max(0.05, 1.35 * max(risks)))
