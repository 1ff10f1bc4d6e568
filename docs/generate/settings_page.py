"""`docs/settings.md`, made from the settings themselves, so that page and code agree."""

import itertools
import re
from pathlib import Path

from tagstream.stream.settings.loading import known_keys
from tagstream.stream.settings.reference import Entry, entries
from tagstream.stream.settings.settings import Settings

ROOT = Path(__file__).parents[2]
ROOMS = ("stream", "model_export", "monitoring")
# Defaults that are made from other settings or from the machine.
DEFAULTS = {
    "bundle": "the bundle in the package",
    "inference_threads": "2, or 1 on a single processor",
    "topics.dlq": "the name of `content`, then `.dlq`",
    "rollout.topic": "the name of `group`, then `.rollout`",
    "rollout.workers_topic": "the name of `rollout.topic`, then `.workers`",
    "topics.replays": "the name of `dlq`, then `.replays`",
}
# Ranges that the head of the page says once.
PLAIN = ("not empty", "a topic's name", "true, false", "a JSON pointer, or a list of them")
HEAD = """# Settings

Every setting, made from the code by `python -m docs.generate`. `tagstream config show --sources` prints those in use and
where each comes from. A value comes from the first of these that has it:

1. a flag of the command, such as `--brokers`
2. an environment variable: `TAGSTREAM_` and the name in capitals, with `__` for the dot. `group` is `TAGSTREAM_GROUP`,
   `topics.content` is `TAGSTREAM_TOPICS__CONTENT`
3. the file `tagstream.toml` in the working directory, or the file that `TAGSTREAM_CONFIG` names
4. the default

A name that is not on this page is an error (exit code 2). Settings are read once, when a command starts. Below, the default stands
behind the name, and the range in square brackets; without them a value is a text, a path, a topic's name, true or false, or of
`fields` a JSON pointer or a list of them. A topic's name has 1 to 249 of the characters `a-z A-Z 0-9 . _ -`, and no two topics have
the same name.

## tagstream.toml

```toml
brokers = "kafka-1.example.com:9093,kafka-2.example.com:9093"
group = "tagstream"
metrics_host = "0.0.0.0"
confidence_threshold = 0.9              # one for all tags; without this line the bundle's own for each tag

[topics]
content = "papers"                      # dead letters then go to papers.dlq
tagged = "papers-tagged"
review = "papers-review"

[fields]
title = ["/payload/subject", "/title"]  # the first that finds something (docs/producers.md)

[security]
protocol = "SASL_SSL"
username = "tagstream-worker"
password_file = "/run/secrets/tagstream-worker"
ca_file = "/etc/tagstream/ca.pem"
```

Settings without a dot stand above the first table. [Security](security.md) explains `[security]`.
"""


def page() -> str:
    """The whole page."""
    defaults = Settings()
    parts = [HEAD]
    for subject, found in itertools.groupby(entries(), key=lambda entry: entry.subject):
        rows = "\n".join(_row(entry, defaults) for entry in found)
        parts.append(f"\n## {subject}\n\n{rows}\n")
    return "".join(parts)


def unplaced() -> list[str]:
    """A sentence for each setting that stands under no subject, and so on no page."""
    placed = {entry.key for entry in entries()}
    return [
        f"the setting {key} stands under no subject. Next: SUBJECTS in stream/settings/reference.py"
        for key in known_keys()
        if key not in placed
    ]


def unread() -> list[str]:
    """A sentence for each setting that no code reads: a person would set it, and nothing would change."""
    code = (path.read_text(encoding="utf-8") for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    read = {name for text in code for name in re.findall(r"\.(\w+)", text)}
    return [
        f"the setting {name} is read nowhere. Next: read it where it counts, or remove it from stream/settings/settings.py"
        for name in Settings.model_fields
        if name not in read
    ]


def _row(entry: Entry, defaults: Settings) -> str:
    in_range = f" [{entry.range}]" if entry.range and entry.range not in PLAIN else ""
    default = DEFAULTS.get(entry.key) or _default(entry.value_in(defaults))
    return f"- `{entry.key}` ({default}): {entry.meaning}{in_range}"


def _default(value: object) -> str:
    if value is None:
        return "unset"
    if value == "":
        return "empty"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
