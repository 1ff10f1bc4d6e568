"""
Makes the alerts of Prometheus, the recorded distances, the heads of the runbooks and their index from the records.

It says which parts an alarm lacks.
"""

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tagstream.monitoring.alarms import ALERTS, GROUPS, Alert
from tagstream.monitoring.signals import DISTRIBUTIONS, JUDGED, Signal
from tagstream.monitoring.vocabulary import DriftScore

HEAD = """\
# Made from monitoring/alarms.py by `python -m docs.generate`; `make check` fails where it is not current.
#
# Three tiers. `page`: users are affected now and someone is woken. `ticket`: look at it in working hours. `info`: nothing is wrong, and
# it is good to know.
#
# Every alert covers all workers of a job together, tests the size of an effect rather than a p-value, needs a least number of events
# for a share, and has a runbook of the same name in docs/runbooks. Comparisons with the reference are silent while the group learns
# it, and if two bundles decided within the window.
groups:
"""
OPERATOR_HEAD = """\
# Made from the rules of monitoring/prometheus by `python -m docs.generate`; `make check` fails where it is not current.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: tagstream
spec:
  groups:
"""
DISTANCES_HEAD = "  - name: tagstream_distributions\n    interval: 1m\n    rules:\n"
INDEX_HEAD = "| alert | tier | in a word |\n|---|---|---|\n"
# Behind it a runbook has text of its own, which a run keeps.
RUNBOOK_MARK = "<!-- /monitoring/alarms.py -->"
MODEL_FIRST = (
    "Did the model change? `tagstream rollout log` says when. If it is worse since then: `tagstream rollout rollback` "
    "([what consumers get](../wrong-tag.md#what-consumers-get))."
)
WIDTH = 128


def rules() -> str:
    """The content of `alerts.yml`."""
    parts = [HEAD]
    for group in GROUPS:
        parts.append(_comment(group.about, 2) + f"  - name: {group.name}\n    interval: {group.interval}\n    rules:\n")
        parts.append("\n".join(_rule(alert) for alert in group.alerts))
        parts.append("\n" if group is not GROUPS[-1] else "")
    return "".join(parts)


def _rule(alert: Alert) -> str:
    expr = alert.expr.strip()
    labels = {"tier": alert.tier.value, **(alert.labels or {})}
    lines = [
        f"- alert: {alert.name}",
        *(["  expr: |", *textwrap.indent(expr, " " * 4).splitlines()] if "\n" in expr else [f"  expr: {expr}"]),
        *([f"  for: {alert.wait}"] if alert.wait else []),
        "  labels:",
        *(f"    {name}: {value}" for name, value in labels.items()),
        "  annotations:",
        # The braces of a template would begin a mapping.
        f"    summary: {json.dumps(alert.summary) if '{' in alert.summary else alert.summary}",
        "    description: >-",
        *(f"      {line}" for line in _wrapped(alert.description, 12)),
        f"    runbook_url: {alert.runbook}",
        f"    dashboard: /d/{alert.board.uid}",
    ]
    return _comment(alert.because, 6) + textwrap.indent("\n".join(lines) + "\n", " " * 6)


def _comment(words: str, indent: int) -> str:
    return "".join(f"{' ' * indent}# {line}\n" for line in _wrapped(words, indent + 2))


def _wrapped(words: str, indent: int) -> list[str]:
    return textwrap.wrap(words, WIDTH - indent, break_long_words=False, break_on_hyphens=False)


def recording(file: str) -> str:
    """
    The file `recording.yml` with the distances of the judged signals made anew.

    Raises:
        ValueError: The file has no group for them.
    """
    before, found, after = file.partition(DISTANCES_HEAD)
    if not found:
        message = f"monitoring/prometheus/recording.yml has no group of distances. Next: put its head where it shall stand: {DISTANCES_HEAD!r}"
        raise ValueError(message)
    # The group ends before the next one, or the comment on it.
    rest = re.sub(r"\A.*?(?=\n\n  \S|\n\Z)", "", after, flags=re.DOTALL)
    return before + DISTANCES_HEAD + "\n\n".join(map(_distance, JUDGED)) + rest


def operator(*files: str) -> str:
    """The groups of files of rules as an object of the Prometheus operator."""
    groups = (file.partition("\ngroups:\n")[2] for file in files)
    return OPERATOR_HEAD + textwrap.indent("\n".join(groups), " " * 2)


def _distance(signal: Signal) -> str:
    counted = DISTRIBUTIONS[signal]
    return textwrap.indent(
        f"""\
- record: {signal.distance}
  expr: |
    max by (job) (abs(
      label_join(sum by (job, le) (increase({counted.metric}_bucket[1h])), "at_most", "", "le")
        / on (job) group_left ()
      (sum by (job) (increase({counted.metric}_count[1h])) > 0)
        - on (job, at_most)
      max by (job, at_most) ({counted.reference})
    ))""",
        " " * 6,
    )


def index(page: str) -> str:
    """
    The page `docs/runbooks/README.md` with its table made anew.

    Raises:
        ValueError: The page has no such table.
    """
    rows = "".join(f"| [{alert.name}]({alert.name}.md) | {alert.tier.value} | {_in_a_word(alert)} |\n" for alert in ALERTS)
    before, found, after = page.partition(INDEX_HEAD)
    if not found:
        message = f"docs/runbooks/README.md has no table of alerts. Next: put its head where it shall stand: {INDEX_HEAD!r}"
        raise ValueError(message)
    return before + INDEX_HEAD + rows + re.sub(r"\A(\|.*\n)+", "", after)


def _in_a_word(alert: Alert) -> str:
    """The summary as the rest of a sentence."""
    said = plain(alert.summary)
    return said[0].lower() + said[1:]


def runbook(alert: Alert, page: str) -> str:
    """
    The runbook of an alert with its head made anew, and the page's own text behind it; `page` is empty where there is no page yet.

    Raises:
        ValueError: The page has no mark, so where its own text begins is not known.
    """
    _, found, own = page.partition(RUNBOOK_MARK)
    if page and not found:
        message = f"{alert.runbook} has no mark. Next: put it above the page's own text, below the steps that are made: {RUNBOOK_MARK!r}"
        raise ValueError(message)
    # A branch of a template may go from the fact into the step.
    fact, _, step = plain(alert.description).partition(" Next: ")
    steps = [*([MODEL_FIRST] if alert.of_model else []), step[0].upper() + step[1:]]
    numbered = "".join(f"{number}. {one}\n" for number, one in enumerate(steps, 1))
    head = f"# {alert.name}\n\n{alert.tier.value.capitalize()}. {fact}\n\n## What to do\n\n{numbered}\n"
    return head + RUNBOOK_MARK + (own or "\n")


def plain(template: str) -> str:
    """
    A template of Prometheus as a sentence: the name of a label for its value, N for a figure, and what it says where no query answers.
    The scrape job goes: a page is about any.

    >>> plain("{{ $value | humanizePercentage }} of the events of {{ $labels.job }}{{ with query }} (most: {{ . }}){{ end }} are late.")
    'N % of the events are late.'
    >>> plain("The {{ $labels.signal }} jumped.")
    'The `signal` jumped.'
    """
    said = re.sub(r"\{\{ if .*? \}\}.*?\{\{ else \}\}(.*?)\{\{ end \}\}", r"\1", template)
    said = re.sub(r"\{\{ with .*? \}\}.*?\{\{ end \}\}", "", said)
    said = re.sub(r" (?:of|in|for) \{\{ \$labels\.job \}\}", "", said)
    said = re.sub(r"`?\{\{ \$labels\.(\w+) \}\}`?", r"`\1`", said)
    said = said.replace("{{ $value | humanizePercentage }}", "N %").replace("{{ $value | humanizeDuration }}", "a while")
    return re.sub(r"\{\{ \$value.*? \}\}", "N", said)


def incomplete(root: Path) -> Iterator[str]:
    """
    Sentences on alarms without a case of promtool where they fire and one where they are silent; on limits of a distance and
    comparisons of a window without an alarm; and on runbooks of none.
    """
    pages = {path.stem for path in (root / "docs" / "runbooks").glob("*.md")} - {"README"}
    outcomes = [outcome for path in (root / "monitoring" / "prometheus" / "tests").glob("*.yml") for outcome in expected(path)]
    for alert in ALERTS:
        fires, silent = (
            {case for case, name, fired in outcomes if name == alert.name and fired is how} for how in (True, False)
        )
        for found, missing in ((fires, "fires"), (silent - fires, "is silent")):
            if not found:
                yield f"{alert.name} has no case where it {missing}. Next: add one to a file of monitoring/prometheus/tests."
    for signal in JUDGED:
        if not any(signal.distance in alert.expr for alert in ALERTS):
            yield f"The distance of {signal.name} has a limit and no alarm. Next: add one on it to monitoring/alarms.py."
    for name in sorted(pages - {alert.name for alert in ALERTS}):
        yield f"docs/runbooks/{name}.md belongs to no alarm. Next: remove it, or name the alarm of monitoring/alarms.py like it."


def asks_for(score: DriftScore, expr: str) -> bool:
    """Whether a query is of the workers' figures of this comparison."""
    named = re.findall(r'tagstream_drift_score\{[^}]*signal=~?"([^"]*)"', expr)
    return any(score.value in names.split("|") for names in named)


def expected(path: Path) -> Iterator[tuple[str, str, bool]]:
    """From a file of cases for promtool: the name of the case, an alert in it, and whether it is expected to fire."""
    cases: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
    for case in cases:
        for expectation in case.get("alert_rule_test", ()):
            yield case["name"], expectation["alertname"], bool(expectation.get("exp_alerts"))
        for expectation in case.get("promql_expr_test", ()):
            named = re.match(r'ALERTS\{alertname="(\w+)"', expectation["expr"])
            if named is not None:
                yield case["name"], named[1], bool(expectation["exp_samples"])
            for sample in expectation["exp_samples"]:
                fired = re.match(r'ALERTS\{alertname="(\w+)", alertstate="firing"', sample.get("labels", ""))
                if fired is not None:
                    yield case["name"], fired[1], True
