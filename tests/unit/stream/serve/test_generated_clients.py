"""Clients that generators of others make of the OpenAPI document, in two languages, call a running service."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.lacking import OPENAPI_PYTHON, OPENAPI_TYPESCRIPT, program
from tests.serving.running import service
from tests.waiting import HANG_SECONDS

PYTHON = """
import json, sys
from tagstream_serve_client import Client
from tagstream_serve_client.api.default import classify, healthz
from tagstream_serve_client.models import Event, Problem

client = Client(base_url=sys.argv[1])
event = Event(id="a", title="Deploying models")
many = classify.sync_detailed(client=client, body=[event] * 2000)
assert isinstance(many.parsed, Problem)
print(json.dumps({
    "one": classify.sync(client=client, body=event).to_dict(),
    "two": [one.to_dict() for one in classify.sync(client=client, body=[event, Event(title="A walk")])],
    "alive": healthz.sync(client=client),
    "refused": [many.status_code, many.parsed.status, many.parsed.detail],
}))
"""
TYPESCRIPT = """
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

declare const process: { argv: string[] };
const client = createClient<paths>({ baseUrl: process.argv[2]! });
const event: components["schemas"]["Event"] = { id: "a", title: "Deploying models" };
const many = await client.POST("/classify", { body: Array(2000).fill(event) });
const one = (await client.POST("/classify", { body: event })).data;
const two = (await client.POST("/classify", { body: [event, { title: "A walk" }], params: { query: { publish: false } } })).data;
if (one === undefined || Array.isArray(one) || !Array.isArray(two)) throw new Error("one answer or several");
const problem: components["schemas"]["Problem"] | components["schemas"]["Answer"] | undefined = many.error;
if (problem === undefined || !("detail" in problem)) throw new Error("a problem");
console.log(JSON.stringify({
  one,
  two,
  alive: (await client.GET("/healthz", { parseAs: "text" })).data,
  refused: [many.response.status, problem.status, problem.detail],
}));
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a running service."""
    with service(tmp_path_factory.mktemp("serve")) as running:
        yield running.url


def done(words: list[str], folder: Path, **environ: str) -> str:
    """The standard output of a command that must succeed."""
    found = subprocess.run(
        words, cwd=folder, env=os.environ | environ, capture_output=True, text=True, timeout=HANG_SECONDS, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def check(seen: dict[str, Any], url: str) -> None:
    """What a generated client saw is what a plain one sees."""
    event = {"id": "a", "title": "Deploying models"}
    plain = httpx.post(f"{url}/classify", json=event, timeout=HANG_SECONDS).json()
    for answer in (seen["one"], seen["two"][0]):
        assert answer | {"tagged_at": plain["tagged_at"]} == plain
    assert seen["two"][1]["title"] == "A walk"
    assert seen["alive"] == "alive\n"
    assert seen["refused"][:2] == [413, 413]
    assert "Next: " in seen["refused"][2]


@pytest.mark.needs("openapi-python-client")
def test_a_generated_client_in_python_reaches_every_path(url: str, tmp_path: Path) -> None:
    """The generator warns of none, and its types hold what is answered."""
    generator = program("openapi-python-client")
    document, made = tmp_path / "openapi.json", tmp_path / "made"
    document.write_bytes(httpx.get(f"{url}/openapi.json").content)
    words = [generator, "generate", "--fail-on-warning", "--path", str(document), "--output-path", str(made)]
    # It formats what it makes with the ruff of its environment.
    done(words, tmp_path, PATH=f"{OPENAPI_PYTHON.parent}:{os.environ['PATH']}")
    check(json.loads(done([str(OPENAPI_PYTHON.with_name("python")), "-c", PYTHON, url], made, PYTHONPATH=str(made))), url)


@pytest.mark.needs("openapi-typescript")
def test_a_generated_client_in_typescript_reaches_every_path(url: str, tmp_path: Path) -> None:
    """Its compiler checks each call and each answer against the document."""
    generator = program("openapi-typescript")
    (tmp_path / "node_modules").symlink_to(OPENAPI_TYPESCRIPT.parents[1])
    (tmp_path / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    (tmp_path / "openapi.json").write_bytes(httpx.get(f"{url}/openapi.json").content)
    (tmp_path / "client.ts").write_text(TYPESCRIPT, encoding="utf-8")
    done([generator, "openapi.json", "-o", "api.d.ts"], tmp_path)
    done(["node_modules/.bin/tsc", "--strict", "--module", "nodenext", "--target", "es2022", "client.ts"], tmp_path)
    check(json.loads(done(["node", "client.js", url], tmp_path)), url)
