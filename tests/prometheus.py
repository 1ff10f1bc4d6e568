"""Prometheus' rule files as text: at another pace, and over counters as they stand instead of over a window."""

import re
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[1] / "monitoring" / "prometheus"
# The windows for a stream that lasts a minute or two and is scraped every few seconds, by the seconds up to which a rule's window is one.
QUICK = {120: "15s", 300: "20s", 1800: "30s", 3 * 86_400: "60s", 28 * 86_400: "90s"}
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

# Three looks at a worker: one scrape that a busy machine misses is no alert.
FOR_SECONDS = 15

_WINDOW = re.compile(r"\[(\d+)([smhd])\]")
_INTERVAL = re.compile(r"^( +interval:) \w+$", re.MULTILINE)
_WAIT = re.compile(r"^( +for:) \w+$", re.MULTILINE)
_INCREASE = re.compile(r"increase\((\w+(?:\{[^}]*\})?)\[\w+\]\)")
_RECORDED = re.compile(r"\b(job|job_label):tagstream_")


def quick(text: str) -> str:
    r"""
    The same rules, evaluated every second over shorter windows; names stay.

    >>> quick("    interval: 1m\n    expr: increase(x[1h])\n        for: 30m")
    '    interval: 1s\n    expr: increase(x[60s])\n        for: 15s'
    """
    text = _WINDOW.sub(lambda found: f"[{_shorter(int(found[1]) * _SECONDS[found[2]])}]", text)
    return _WAIT.sub(rf"\1 {FOR_SECONDS}s", _INTERVAL.sub(r"\1 1s", text))


def _shorter(seconds: int) -> str:
    return next(window for most, window in QUICK.items() if seconds <= most)


def final(text: str) -> str:
    r"""
    The same rules over counters as they stand, under names of their own: of workers that began at 0, the whole stream, exactly.

    `increase` estimates what lies between two scrapes, so that its figures are right to a percent and not to the last digit.

    >>> final('record: job:tagstream_x:sum\nexpr: increase(tagstream_x_total{a="b"}[1h]) / job:tagstream_y:sum')
    'record: job:final_tagstream_x:sum\nexpr: tagstream_x_total{a="b"} / job:final_tagstream_y:sum'
    """
    text = re.sub(r"^( +- name:) ", r"\1 final_", text, flags=re.MULTILINE)
    return _RECORDED.sub(r"\1:final_tagstream_", _INCREASE.sub(r"\1", text))


def rules(name: str) -> list[dict[str, Any]]:
    """The rules of a file, whatever their group."""
    groups = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]
