"""The objects that `kubectl apply -k` would send, as kustomize builds them from `deploy/kubernetes`."""

import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.go.programs import ASK_SECONDS, ROOT, GoProgram, built, cache_folder, run_to_end

MANIFESTS = ROOT / "deploy" / "kubernetes"
# Everything that has metrics, and those who look at them.
_MONITORED = "serve+review+rollout+shadow+monitoring"
MONITORED = f"base+{_MONITORED}"
# The manifests that can be applied: folders as they are, and the base with some components, in the order in which an overlay lists them.
CHOICES = (
    "scaling",
    "review",
    "review+answer-keys",
    "serve",
    "serve+serve-scaling",
    _MONITORED,
    "user",
    "scaling+user+scaling-user",
    "schema-registry",
    "tracing",
    "serve+serve-table+user+schema-registry+tracing",
    "rollout",
    "serve+rollout+shadow+answer-keys+user",
)
WHOLE = (
    "base",
    *(f"base+{choice}" for choice in CHOICES),
    *sorted(f"overlays/{path.name}" for path in (MANIFESTS / "overlays").iterdir()),
)
KUSTOMIZE = GoProgram(
    name="kustomize",
    module="sigs.k8s.io/kustomize/kustomize/v5",
    version="v5.8.1",
    package="sigs.k8s.io/kustomize/kustomize/v5",
    imported="sigs.k8s.io/kustomize/kustomize/v5/commands",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """
    The template that an object makes pods of.

    Attributes:
        owner: The object: a Deployment or a Job.
        labels: The labels of its pods.
        spec: The `spec` of its pods.
        environ: The environment of its container; a value that a Secret would give is `secret`.
    """

    owner: dict[str, Any]
    labels: dict[str, str]
    spec: dict[str, Any]
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The owner's name."""
        return str(self.owner["metadata"]["name"])

    @property
    def container(self) -> dict[str, Any]:
        """Its one container."""
        (container,) = self.spec["containers"]
        return dict(container)

    @property
    def words(self) -> list[str]:
        """The command line of tagstream in it, its variables filled in; a shell that begins it ends with `exec tagstream "$@"`."""
        command = self.container.get("command", [])
        assert not command or (
            command[:2] == ["sh", "-c"] and command[2].endswith(' exec tagstream "$@"') and len(command) == 4
        )
        return [re.sub(r"\$\((\w+)\)", lambda name: self.environ[name[1]], word) for word in self.container["args"]]


@cache
def objects(folder: str) -> tuple[dict[str, Any], ...]:
    """
    The objects of one of `WHOLE`, as kustomize builds them.

    Raises:
        EngineError: kustomize cannot be had, or does not build them.
    """
    program = built(KUSTOMIZE, cache_folder("kubernetes"))
    base, *components = folder.split("+")
    with tempfile.TemporaryDirectory(prefix="tagstream-kubernetes-") as overlay:
        # kustomize takes no absolute path.
        above = os.path.relpath(MANIFESTS, Path(overlay).resolve())
        chosen = {"resources": [f"{above}/{base}"], "components": [f"{above}/components/{name}" for name in components]}
        (Path(overlay) / "kustomization.yaml").write_text(yaml.safe_dump(chosen), encoding="utf-8")
        text = run_to_end((str(program), "build", overlay), {}, ASK_SECONDS, folder=Path(overlay))
    return tuple(yaml.safe_load_all(text))


def of_kind(folder: str, kind: str) -> list[dict[str, Any]]:
    """The objects of one kind."""
    return [each for each in objects(folder) if each["kind"] == kind]


def pods(folder: str) -> Iterator[Pod]:
    """Everything that makes pods."""
    maps = {each["metadata"]["name"]: each["data"] for each in of_kind(folder, "ConfigMap")}
    for owner in (*of_kind(folder, "Deployment"), *of_kind(folder, "Job")):
        template = owner["spec"]["template"]
        (container,) = template["spec"]["containers"]
        # As Kubernetes fills it: maps first, then single variables.
        environ: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            environ |= maps[source["configMapRef"]["name"]]
        environ |= {each["name"]: each.get("value", "secret") for each in container.get("env", ())}
        yield Pod(owner=owner, labels=template["metadata"]["labels"], spec=template["spec"], environ=environ)
