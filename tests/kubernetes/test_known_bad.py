"""The check of manifests finds what an API server would refuse, and what would never work."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.kubernetes.rendered import MONITORED, objects
from tests.kubernetes.schemas import VERSIONS, keda_kafka_names, problems

pytestmark = pytest.mark.kubernetes

WORKER, JOB, SCALED = "Deployment tagstream-worker", "Job tagstream-topics", "ScaledObject tagstream-worker"
SCALER, MONITOR, RULES = "HorizontalPodAutoscaler tagstream-serve", "PodMonitor tagstream", "PrometheusRule tagstream"
BUDGET, POLICY, USER = "PodDisruptionBudget tagstream-worker", "NetworkPolicy tagstream", "TriggerAuthentication tagstream-keda"


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    """The container of an object that makes pods."""
    found: dict[str, Any] = manifest["spec"]["template"]["spec"]["containers"][0]
    return found


BAD: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "a field in the wrong case": (WORKER, lambda it: container(it).update(imagepullPolicy="Always")),
    "a field one level too high": (WORKER, lambda it: it["spec"].update(terminationGracePeriodSeconds=20)),
    "a number as text": (WORKER, lambda it: it["spec"].update(replicas="2")),
    "no selector": (WORKER, lambda it: it["spec"].pop("selector")),
    "a container without a name": (WORKER, lambda it: container(it).pop("name")),
    "an amount with a unit of its own": (WORKER, lambda it: container(it)["resources"]["limits"].update(memory="768MiB")),
    "a limit that is no list of amounts": (WORKER, lambda it: container(it)["resources"].update(limits="768Mi")),
    "a variable that is a number": (WORKER, lambda it: container(it).update(env=[{"name": "TAGSTREAM_GROUP", "value": 1}])),
    "an unknown probe": (WORKER, lambda it: container(it).update(readyProbe={"httpGet": {"port": 9108}})),
    "a probe without a port": (WORKER, lambda it: container(it)["livenessProbe"]["httpGet"].pop("port")),
    "an unknown security setting": (WORKER, lambda it: container(it)["securityContext"].update(readOnlyRootFileSystem=True)),
    "a version that is gone": (BUDGET, lambda it: it.update(apiVersion="policy/v1beta1")),
    "a kind that does not exist": (WORKER, lambda it: it.update(kind="Deploymnet")),
    "a bound of the wrong object": (JOB, lambda it: it["spec"].update(progressDeadlineSeconds=600)),
    "a misspelt rule": (POLICY, lambda it: it["spec"].update(egres=[])),
    "a policy for no pod": (POLICY, lambda it: it["spec"].update(podSelector=["tagstream"])),
    "an unknown field of KEDA": (SCALED, lambda it: it["spec"].update(maxReplicas=6)),
    "an unknown field deep in KEDA": (SCALED, lambda it: it["spec"]["fallback"].update(replica=2)),
    "an unknown field of the scaler's rules": (
        SCALED,
        lambda it: it["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"].update(window=600),
    ),
    "metadata of a trigger that is a number": (SCALED, lambda it: it["spec"]["triggers"][0]["metadata"].update(lagThreshold=9)),
    "no trigger": (SCALED, lambda it: it["spec"].pop("triggers")),
    "a scaled object without a name": (SCALED, lambda it: it["metadata"].update(nam=it["metadata"].pop("name"))),
    "a scaler without a bound": (SCALER, lambda it: it["spec"].pop("maxReplicas")),
    "a share in the wrong place": (SCALER, lambda it: it["spec"]["metrics"][0]["resource"].update(averageUtilization=80)),
    "an unknown field of a rule": (RULES, lambda it: it["spec"]["groups"][0]["rules"][0].update(expression="up")),
    "a rule without an expression": (RULES, lambda it: it["spec"]["groups"][0]["rules"][0].pop("expr")),
    "a group without a name": (RULES, lambda it: it["spec"]["groups"][0].pop("name")),
    "an interval with a unit of its own": (MONITOR, lambda it: it["spec"]["podMetricsEndpoints"][0].update(interval="15sec")),
    "an endpoint of a ServiceMonitor": (MONITOR, lambda it: it["spec"].update(endpoints=it["spec"]["podMetricsEndpoints"])),
    "a monitor of no pods": (MONITOR, lambda it: it["spec"].pop("selector")),
    "a secret without a key": (USER, lambda it: it["spec"]["secretTargetRef"][0].pop("key")),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("fault", BAD)
def test_a_bad_manifest_is_found(fault: str, version: str) -> None:
    """One fault in a good object, and the check has something to say."""
    name, spoil = BAD[fault]
    known = (
        *objects("overlays/example"),
        *(each for each in objects(MONITORED) if each["kind"] in {"PodMonitor", "PrometheusRule"}),
    )
    (good,) = (each for each in known if f"{each['kind']} {each['metadata']['name']}" == name)
    bad = copy.deepcopy(good)
    spoil(bad)
    assert problems(good, version) == []
    assert problems(bad, version) != []


def test_the_names_of_kedas_trigger_are_read_from_its_source() -> None:
    """Known names are among them, and one that is misspelt is not."""
    names = keda_kafka_names()
    assert {"lagThreshold", "bootstrapServersFromEnv", "topicFromEnv", "sasl", "tls"} <= names
    assert names.isdisjoint({"lagTreshold", "password", "bootstrapServerFromEnv"})
