"""A validator that others wrote, Ajv of the JavaScript world, says the same of our schemas as Python's."""

import json
import subprocess
from typing import Any

import pytest

from tagstream.stream.contract.schema.topics import schemas
from tests.lacking import ASYNCAPI, program
from tests.unit.stream.contract.schema.test_schemas import BAD, GOOD

# Against hanging: it takes a second.
SECONDS = 300
# Ajv's strict mode refuses keywords of others, as `x-known-values`; all else of it stays on.
JUDGE = """
const Ajv = require("ajv");
const {schemas, values} = JSON.parse(require("fs").readFileSync(0, "utf8"));
const ajv = new Ajv({strictSchema: "log", strictTypes: false, logger: false, allErrors: true});
const judges = Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, ajv.compile(schema)]));
console.log(JSON.stringify(values.map(([name, value]) => judges[name](value))));
"""


def verdicts(values: list[tuple[str, Any]]) -> list[bool]:
    """Ajv's verdict on each value by the schema of this name."""
    program("asyncapi")
    given = json.dumps({"schemas": schemas(), "values": values})
    modules = ASYNCAPI.parents[1]
    done = subprocess.run(
        ["node", "-e", JUDGE], input=given, cwd=modules.parent, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    found: list[bool] = json.loads(done.stdout)
    return found


@pytest.mark.needs("asyncapi")
def test_ajv_takes_the_good_records_and_refuses_the_spoilt_ones() -> None:
    """Each good record agrees and each spoilt one does not, by another validator and another language's patterns."""
    good = [(name, value) for name, values in GOOD.items() for value in values]
    bad = [(name, spoil(GOOD[name][0])) for name, spoil in BAD]
    found = verdicts([*good, *bad])
    assert [pair for pair, agrees in zip(good, found, strict=False) if not agrees] == []
    assert [pair for pair, agrees in zip(bad, found[len(good) :], strict=True) if agrees] == []
