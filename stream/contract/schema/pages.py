"""
`docs/contract/`, made from the code, so that the schemas and the code agree.

python -m tagstream.stream.contract.schema.pages docs/contract
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tagstream.stream.contract.schema.asyncapi import document
from tagstream.stream.contract.schema.topics import schemas


def pages() -> dict[str, str]:
    """The text of each file of the folder by its name."""
    made = {"asyncapi.json": rendered(document())}
    return made | {f"{name}.json": rendered(schema) for name, schema in schemas().items()}


def rendered(value: Any) -> str:
    """JSON for people and programs, with a line end."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Write the files into the folder of the first argument, and remove the files of schemas that are gone."""
    [folder] = map(Path, arguments)
    folder.mkdir(parents=True, exist_ok=True)
    made = pages()
    for old in folder.glob("*.json"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
