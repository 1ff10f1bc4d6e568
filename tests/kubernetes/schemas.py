"""The manifests that a Kubernetes API server takes: its own schemas, KEDA's and those of the Prometheus operator, with every unknown field refused.

The schemas of Kubernetes come with the package kubernetes-validate (`make .kubernetes/.installed`), the others with their Go modules.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from tests.go.programs import ROOT, module_folder

SCHEMAS = ROOT / ".kubernetes" / "kubernetes_validate" / "kubernetes-json-schema"
# The oldest minor version that its makers still repair, and the newest that the package has.
VERSIONS = ("1.34.0", "1.37.0")
KEDA_MODULE, KEDA_VERSION = "github.com/kedacore/keda/v2", "v2.21.0"
# Group of objects -> the Go module with their definitions, its version, and their folder in it.
DEFINITIONS = {
    "keda.sh": (KEDA_MODULE, KEDA_VERSION, "config/crd/bases"),
    "monitoring.coreos.com": (
        "github.com/prometheus-operator/prometheus-operator",
        "v0.85.0",
        "example/prometheus-operator-crd",
    ),
}

# An amount of memory or processor time as an API server takes it: the schemas say that it is a string, and no more.
QUANTITY = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]+)?")
OBJECT_META = "#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
# How the schemas of one version name what they share: a file beside them, here a part of each.
SHARED = "/api/_definitions.json#"


def problems(manifest: Mapping[str, Any], version: str) -> list[str]:
    """
    Why an API server would refuse an object, each with its place; empty where it would take it.

    Args:
        manifest: One object.
        version: One of `VERSIONS`.
    """
    group, _, _ = manifest["apiVersion"].rpartition("/")
    if group in DEFINITIONS:
        validator = _defined(group, manifest["kind"], version)
    else:
        validator = _kubernetes(manifest["kind"], manifest["apiVersion"], version)
    if validator is None:
        return [f"no schema for {manifest['apiVersion']} {manifest['kind']}"]
    wrong = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(manifest)]
    return wrong + [
        f"{place}: {amount!r} is no quantity" for place, amount in _amounts(manifest) if not QUANTITY.fullmatch(amount)
    ]


def _amounts(value: Any, place: str = "$") -> Iterator[tuple[str, str]]:
    """Every amount of a resource: requests and limits of containers, and the size of folders."""
    if isinstance(value, dict):
        for key, below in value.items():
            where = f"{place}.{key}"
            if key in {"requests", "limits"} and isinstance(below, dict):
                yield from ((f"{where}.{name}", str(amount)) for name, amount in below.items())
            elif key == "sizeLimit":
                yield where, str(below)
            else:
                yield from _amounts(below, where)
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from _amounts(below, f"{place}[{number}]")


@cache
def _kubernetes(kind: str, api_version: str, version: str) -> jsonschema.Draft202012Validator | None:
    group, _, name = api_version.rpartition("/")
    parts = (kind.lower(), group.partition(".")[0], f"{name}.json")
    path = _folder(version) / "-".join(part for part in parts if part)
    if not path.is_file():
        return None
    return _validator(_read(path), version)


@cache
def _defined(group: str, kind: str, version: str) -> jsonschema.Draft202012Validator | None:
    module, module_version, folder = DEFINITIONS[group]
    path = module_folder(module, module_version) / folder / f"{group}_{kind.lower()}s.yaml"
    if not path.is_file():
        return None
    definition = yaml.safe_load(path.read_text(encoding="utf-8"))
    (schema,) = (each["schema"]["openAPIV3Schema"] for each in definition["spec"]["versions"] if each["storage"])
    # An API server checks an object's own metadata by itself, and refuses fields that a definition does not name.
    schema = _closed(schema)
    schema["properties"]["metadata"] = {"$ref": OBJECT_META}
    return _validator(schema, version)


def _validator(schema: dict[str, Any], version: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema | {"$defs": _definitions(version)})


@cache
def _definitions(version: str) -> Any:
    return _read(_folder(version) / "_definitions.json")["$defs"]


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8").replace(SHARED, "#"))


def _folder(version: str) -> Path:
    return SCHEMAS / f"v{version}-local-strict"


def _closed(schema: Any) -> Any:
    """The schema with every object closed that names its fields, unless it says that it keeps unknown ones."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _closed(value) for key, value in schema.items()}
    named = isinstance(made.get("properties"), dict) and made.get("type") == "object"
    if named and "additionalProperties" not in made and not made.get("x-kubernetes-preserve-unknown-fields"):
        made["additionalProperties"] = False
    return made


def keda_kafka_names() -> set[str]:
    """The names that KEDA's Kafka trigger takes as metadata, as its source declares them."""
    source = (module_folder(KEDA_MODULE, KEDA_VERSION) / "pkg" / "scalers" / "kafka_scaler.go").read_text(encoding="utf-8")
    names = set()
    for tag in re.findall(r'keda:"([^"]+)"', source):
        parts = dict(part.strip().split("=", 1) for part in tag.split(",") if "=" in part)
        if "triggerMetadata" in parts["order"]:
            names.add(parts["name"])
        if "resolvedEnv" in parts["order"]:
            names.add(f"{parts['name']}FromEnv")
    return names
