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
from tagstream_serve_client.api.default import classify, healthz, infer, infer_version, live, model, model_version, ready, ready_version, server
from tagstream_serve_client.models import Event, InferRequest, InputTensor, InputTensorDatatype, InputTensorName, Problem, ProtocolError

client = Client(base_url=sys.argv[1])
event = Event(id="a", title="Deploying models")
titles = InputTensor(InputTensorName.TITLE, InputTensorDatatype.BYTES, [1], ["Deploying models"])
asked = InferRequest(inputs=[titles])
many = classify.sync_detailed(client=client, body=[event] * 2000)
other = model.sync(name="other", client=client)
assert isinstance(many.parsed, Problem) and isinstance(other, ProtocolError)
print(json.dumps({
    "one": classify.sync(client=client, body=event).to_dict(),
    "two": [one.to_dict() for one in classify.sync(client=client, body=[event, Event(title="A walk")])],
    "tag": infer.sync(name="tiny", client=client, body=asked).outputs[0].data,
    "tag_of_version": infer_version.sync(name="tiny", version="1", client=client, body=asked).outputs[0].data,
    "models": [model.sync(name="tiny", client=client).to_dict(), model_version.sync(name="tiny", version="1", client=client).to_dict()],
    "ready": [one.to_dict()["ready"] for one in (ready.sync(name="tiny", client=client), ready_version.sync("tiny", "1", client=client))],
    "server": server.sync(client=client).to_dict()["name"],
    "alive": [healthz.sync(client=client), live.sync(client=client).to_dict()["live"]],
    "refused": [many.status_code, many.parsed.status, many.parsed.detail, other.error],
}))
"""
TYPESCRIPT = """
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

declare const process: { argv: string[] };
const client = createClient<paths>({ baseUrl: process.argv[2]! });
const event: components["schemas"]["Event"] = { id: "a", title: "Deploying models" };
const asked: components["schemas"]["InferRequest"] = {
  inputs: [{ name: "title", datatype: "BYTES", shape: [1], data: ["Deploying models"] }],
};
const of = { name: "tiny" };
const ofVersion = { name: "tiny", version: "1" };
const many = await client.POST("/classify", { body: Array(2000).fill(event) });
const other = await client.GET("/v2/models/{name}", { params: { path: { name: "other" } } });
const one = (await client.POST("/classify", { body: event })).data;
const two = (await client.POST("/classify", { body: [event, { title: "A walk" }], params: { query: { publish: false } } })).data;
if (one === undefined || Array.isArray(one) || !Array.isArray(two)) throw new Error("one answer or several");
const problem: components["schemas"]["Problem"] | components["schemas"]["Answer"] | undefined = many.error;
if (problem === undefined || !("detail" in problem)) throw new Error("a problem");
console.log(JSON.stringify({
  one,
  two,
  tag: (await client.POST("/v2/models/{name}/infer", { params: { path: of }, body: asked })).data?.outputs[0]?.data,
  tag_of_version: (await client.POST("/v2/models/{name}/versions/{version}/infer", { params: { path: ofVersion }, body: asked })).data?.outputs[0]?.data,
  models: [
    (await client.GET("/v2/models/{name}", { params: { path: of } })).data,
    (await client.GET("/v2/models/{name}/versions/{version}", { params: { path: ofVersion } })).data,
  ],
  ready: [
    (await client.GET("/v2/models/{name}/ready", { params: { path: of } })).data?.ready,
    (await client.GET("/v2/models/{name}/versions/{version}/ready", { params: { path: ofVersion } })).data?.ready,
  ],
  server: (await client.GET("/v2")).data?.name,
  alive: [(await client.GET("/healthz", { parseAs: "text" })).data, (await client.GET("/v2/health/live")).data?.live],
  refused: [many.response.status, problem.status, problem.detail, other.error?.error],
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
    assert seen["tag"] == seen["tag_of_version"] == [plain["tag"]]
    assert seen["models"] == [httpx.get(f"{url}/v2/models/tiny").json()] * 2
    assert (seen["ready"], seen["server"], seen["alive"]) == ([True, True], "tagstream", ["alive\n", True])
    assert seen["refused"][:2] == [413, 413]
    assert all("Next: " in sentence for sentence in seen["refused"][2:])


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
