"""The manifests of `deploy/kubernetes`: an API server takes them, and what they say fits together and fits the code."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tagstream.stream.settings.loading import load
from tests.go.programs import ROOT
from tests.kubernetes.rendered import MONITORED, WHOLE, Pod, objects, of_kind, pods
from tests.kubernetes.schemas import VERSIONS, keda_kafka_names, problems
from tests.unit.stream.cli.command_lines import parse

pytestmark = [pytest.mark.kubernetes, pytest.mark.parametrize("folder", WHOLE)]

PAGE = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
PROMETHEUS = ROOT / "monitoring" / "prometheus"
LABELS = "app.kubernetes.io/"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a selector by labels takes a pod."""
    assert selector.keys() <= {"matchLabels"}
    return selector.get("matchLabels", {}).items() <= labels.items()


@pytest.mark.parametrize("version", VERSIONS)
def test_an_api_server_takes_every_object(folder: str, version: str) -> None:
    """By its own schema and KEDA's, and no field is unknown."""
    assert {f"{each['kind']} {each['metadata']['name']}": problems(each, version) for each in objects(folder)} == {
        f"{each['kind']} {each['metadata']['name']}": [] for each in objects(folder)
    }


def test_every_container_finds_settings_that_it_can_use(folder: str, tmp_path: Path) -> None:
    """A container with a setting that is unknown or out of range does not start."""
    for pod in pods(folder):
        settings = load(pod.environ, folder=tmp_path).settings
        assert settings.log_format == "json"
        assert settings.brokers == pod.environ["TAGSTREAM_BROKERS"]


def test_no_variable_of_a_service_is_taken_for_a_setting(folder: str) -> None:
    """Kubernetes would add TAGSTREAM_REVIEW_PORT and the like for each Service, and an unknown setting ends a container."""
    assert {pod.spec["enableServiceLinks"] for pod in pods(folder)} == {False}


def test_every_container_runs_a_command_that_exists(folder: str) -> None:
    """Verb, options and their values."""
    assert {parse(pod.words) for pod in pods(folder)} >= {"tagstream worker", "tagstream doctor"}


def test_no_pod_can_do_more_than_it_must(folder: str) -> None:
    """Not root, nothing to be gained, nothing to be written, no token of Kubernetes, a bound on memory."""
    for pod in pods(folder):
        assert pod.spec["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert pod.container["securityContext"] == {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod.spec["automountServiceAccountToken"] is False
        assert pod.container["resources"]["limits"].keys() == {"memory"}


def test_a_container_has_the_memory_that_it_has_under_compose(folder: str) -> None:
    """One figure for both: the tests with images run with Compose's."""
    for pod in pods(folder):
        service = COMPOSE[pod.name.removeprefix("tagstream-")]
        assert pod.container["resources"]["limits"]["memory"].removesuffix("i") == service["mem_limit"].upper()


def test_a_pod_is_killed_only_after_its_own_bound(folder: str, tmp_path: Path) -> None:
    """As Compose does it; what stops first is the worker itself, which says what it waited for."""
    for pod in pods(folder):
        if pod.owner["kind"] == "Deployment":
            service = COMPOSE[pod.name.removeprefix("tagstream-")]
            before = pod.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            assert f"{pod.spec['terminationGracePeriodSeconds'] - before}s" == service["stop_grace_period"]
        if pod.words[0] == "worker":
            own = load(pod.environ, folder=tmp_path).settings.shutdown_timeout_seconds
            assert pod.spec["terminationGracePeriodSeconds"] >= own + 5


def test_there_are_no_more_workers_than_partitions(folder: str, tmp_path: Path) -> None:
    """A worker more would have nothing to read; and the number has one owner."""
    (worker,) = (pod for pod in pods(folder) if pod.name == "tagstream-worker")
    partitions = load(worker.environ, folder=tmp_path).settings.topic_partitions
    scaled = of_kind(folder, "ScaledObject")
    for each in scaled:
        assert each["spec"]["scaleTargetRef"]["name"] == worker.name
        assert 1 <= each["spec"]["minReplicaCount"] <= each["spec"]["maxReplicaCount"] == partitions
    assert ("replicas" in worker.owner["spec"]) == (not scaled)
    assert worker.owner["spec"].get("replicas", 0) <= partitions


def test_keda_asks_for_the_lag_of_the_workers_group(folder: str, tmp_path: Path) -> None:
    """Every name is one that KEDA's source declares, and every variable is in the worker's environment."""
    (worker,) = (pod for pod in pods(folder) if pod.name == "tagstream-worker")
    for each in of_kind(folder, "ScaledObject"):
        (trigger,) = each["spec"]["triggers"]
        assert trigger["metadata"].keys() - keda_kafka_names() == set()
        named = {key: name for key, name in trigger["metadata"].items() if key.endswith("FromEnv")}
        settings = load({name: worker.environ[name] for name in named.values()}, folder=tmp_path).settings
        assert named.keys() == {"bootstrapServersFromEnv", "consumerGroupFromEnv", "topicFromEnv"}
        assert settings == load({}, folder=tmp_path).settings.model_copy(update={"brokers": settings.brokers})


def test_every_selector_takes_the_pods_that_it_means(folder: str) -> None:
    """A budget, a rule or a service for pods that do not exist protects nothing."""
    labels = {pod.name: pod.labels for pod in pods(folder)}
    for each in (*of_kind(folder, "Deployment"), *of_kind(folder, "PodDisruptionBudget")):
        taken = [name for name, found in labels.items() if selects(each["spec"]["selector"], found)]
        assert taken == [each["metadata"]["name"]]
    for each in of_kind(folder, "Service"):
        assert each["spec"]["selector"].keys() == {"app.kubernetes.io/name"}
        (pod,) = (pod for pod in pods(folder) if selects({"matchLabels": each["spec"]["selector"]}, pod.labels))
        assert {port["targetPort"] for port in each["spec"]["ports"]} <= {port["name"] for port in pod.container["ports"]}
    for each in of_kind(folder, "NetworkPolicy"):
        assert [name for name, found in labels.items() if selects(each["spec"]["podSelector"], found)]


def test_no_selector_depends_on_an_installation_or_its_version(folder: str) -> None:
    """A Deployment's selector cannot be changed, so it has only the label that never changes."""
    for each in of_kind(folder, "Deployment"):
        assert each["spec"]["selector"] == {"matchLabels": {"app.kubernetes.io/name": each["metadata"]["name"]}}
    for each in objects(folder):
        for selector in ("selector", "podSelector"):
            assert not {f"{LABELS}version", f"{LABELS}instance"} & set(
                re.findall(r"[\w./-]+", str(each.get("spec", {}).get(selector)))
            )


def test_every_object_says_what_it_belongs_to(folder: str) -> None:
    """Every object by the recommended labels, pods too; the overlay adds the installation and the version of its image."""
    everywhere = {f"{LABELS}part-of": "tagstream", f"{LABELS}managed-by": "kustomize"}
    if folder.startswith("overlays/"):
        everywhere |= {f"{LABELS}instance": "tagstream", f"{LABELS}version": VERSION}
    for each in objects(folder):
        if each["kind"] != "Namespace":
            assert everywhere.items() <= each["metadata"]["labels"].items(), each["metadata"]["name"]
    for pod in pods(folder):
        own = {f"{LABELS}name": pod.name, f"{LABELS}component": pod.name.removeprefix("tagstream-")}
        assert (own | everywhere).items() <= pod.labels.items()
        assert (own | everywhere).items() <= pod.owner["metadata"]["labels"].items()


def test_prometheus_has_the_rules_of_the_files(folder: str) -> None:
    """The object has the groups that promtool tests, none more, none changed."""
    for each in of_kind(folder, "PrometheusRule"):
        files = (yaml.safe_load((PROMETHEUS / name).read_text(encoding="utf-8")) for name in ("recording.yml", "alerts.yml"))
        assert each["spec"]["groups"] == [group for file in files for group in file["groups"]]


def test_prometheus_scrapes_every_pod_that_has_metrics(folder: str) -> None:
    """Under the job by which rules and boards look for it, as often as their windows expect."""
    compose = yaml.safe_load((PROMETHEUS / "compose.yml").read_text(encoding="utf-8"))
    jobs = {scrape["job_name"]: scrape["dns_sd_configs"][0]["port"] for scrape in compose["scrape_configs"]}
    for each in of_kind(folder, "PodMonitor"):
        spec = each["spec"]
        endpoints = {endpoint["port"]: endpoint for endpoint in spec["podMetricsEndpoints"]}
        found = {}
        for pod in pods(folder):
            for port in pod.container.get("ports", ()):
                assert selects(spec["selector"], pod.labels)
                endpoint = endpoints[port["name"]]
                assert endpoint["interval"] == compose["global"]["scrape_interval"]
                job = pod.labels[spec["jobLabel"]]
                for rule in endpoint.get("relabelings", ()):
                    assert rule.keys() == {"sourceLabels", "regex", "targetLabel", "replacement"}
                    assert (rule["sourceLabels"], rule["targetLabel"]) == (["job"], "job")
                    job = rule["replacement"] if re.fullmatch(rule["regex"], job) else job
                found[job] = port["containerPort"]
        assert found.items() <= jobs.items()
        assert (folder == MONITORED) == (found == jobs)


def test_the_number_of_a_scaled_deployment_has_one_owner(folder: str) -> None:
    """A later `kubectl apply` does not set back what an autoscaler chose, and the share that it watches is of a request."""
    for each in of_kind(folder, "HorizontalPodAutoscaler"):
        (pod,) = (pod for pod in pods(folder) if pod.name == each["spec"]["scaleTargetRef"]["name"])
        assert "replicas" not in pod.owner["spec"]
        assert 2 <= each["spec"]["minReplicas"] < each["spec"]["maxReplicas"]
        assert {metric["resource"]["name"] for metric in each["spec"]["metrics"]} <= pod.container["resources"][
            "requests"
        ].keys()


def test_what_is_not_allowed_is_refused_by_the_network(folder: str) -> None:
    """Every pod is under the rule that forbids both ways, and what listens has a rule that says who may ask."""
    (closed,) = (each for each in of_kind(folder, "NetworkPolicy") if each["metadata"]["name"] == "tagstream")
    assert closed["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in closed["spec"]
    for pod in pods(folder):
        assert selects(closed["spec"]["podSelector"], pod.labels)
        assert {port["containerPort"] for port in pod.container.get("ports", ())} == opened(folder, pod)


def test_every_address_that_a_pod_is_given_is_let_out(folder: str, tmp_path: Path) -> None:
    """A rule for each port; else the pod waits for answers that never come, and looks as if the other side were down."""
    for pod in pods(folder):
        settings = load(pod.environ, folder=tmp_path).settings
        asked = {int(broker.rpartition(":")[2]) for broker in settings.brokers.split(",")}
        asked |= {urlsplit(url).port or 443 for url in settings.schema_registry.urls}
        asked |= {443} if settings.rollout.bundles.startswith("s3://") else set()
        asked |= {urlsplit(settings.tracing.endpoint).port or 80} if settings.tracing.endpoint else set()
        asked |= {urlsplit(word.partition("=")[2]).port or 5432 for word in pod.words if "postgresql://" in word}
        policies = [
            each["spec"] for each in of_kind(folder, "NetworkPolicy") if selects(each["spec"]["podSelector"], pod.labels)
        ]
        rules = [rule for policy in policies for rule in policy.get("egress", ()) if "to" not in rule]
        assert asked <= {port["port"] for rule in rules for port in rule["ports"]}


def test_keda_finds_the_brokers_from_its_own_namespace(folder: str) -> None:
    """A name without its namespace is found in one alone, and the workers would never be more."""
    for pod in pods(folder):
        for broker in pod.environ["TAGSTREAM_BROKERS"].split(","):
            assert broker.partition(":")[0].endswith(".svc.cluster.local")


def opened(folder: str, pod: Pod) -> set[int]:
    """The ports of a pod at which others may ask: those of pods that a rule names, never everybody."""
    policies = [each["spec"] for each in of_kind(folder, "NetworkPolicy") if selects(each["spec"]["podSelector"], pod.labels)]
    rules = [rule for policy in policies for rule in policy.get("ingress", ())]
    assert all(rule["from"] and all("podSelector" in peer for peer in rule["from"]) for rule in rules)
    return {port["port"] for rule in rules for port in rule["ports"]}


def test_every_probe_asks_a_port_that_is_named(folder: str) -> None:
    """A probe by an unknown name fails for ever; and liveness never depends on Kafka."""
    for pod in pods(folder):
        names = {port["name"] for port in pod.container.get("ports", ())}
        probes = {key: pod.container[key]["httpGet"] for key in pod.container if key.endswith("Probe")}
        assert {probe["port"] for probe in probes.values()} <= names
        assert {key: probe["path"] for key, probe in probes.items()} == (
            {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"} if names else {}
        )


def test_secrets_are_named_and_never_shipped(folder: str) -> None:
    """None is in the manifests, and docs/kubernetes.md has the command that makes each with all its keys."""
    assert of_kind(folder, "Secret") == []
    for name, keys in asked_secrets(objects(folder)).items():
        (command,) = re.findall(rf"kubectl -n tagstream create secret generic {name} (.+)", PAGE.replace("\\\n", ""))
        assert set(re.findall(r"--from-(?:file|literal)=([\w.-]+)=", command)) == keys


def test_no_file_of_a_secret_may_be_read_by_all(folder: str) -> None:
    """The password of a user is no secret then, and tagstream warns of it."""
    for pod in pods(folder):
        assert {volume["secret"]["defaultMode"] for volume in pod.spec["volumes"] if "secret" in volume} <= {0o440}


def asked_secrets(value: Any) -> dict[str, set[str]]:
    """Secret -> the keys of it that a part of a manifest asks for."""
    found: dict[str, set[str]] = {}
    match value:
        case {"secretKeyRef": {"name": name, "key": key}} | {"parameter": _, "name": name, "key": key}:
            return {name: {key}}
        case {"secret": {"secretName": name, "items": items}}:
            return {name: {item["key"] for item in items}}
        case dict():
            below = value.values()
        case list() | tuple():
            below = value
        case _:
            return found
    for each in below:
        for name, keys in asked_secrets(each).items():
            found[name] = found.get(name, set()) | keys
    return found
