"""Each manifest is what Kubernetes, KEDA and the others take; and what they would not take is found."""

import copy

import manifests
import pytest
import schemas

ALL = list(manifests.everything())
PATCH = manifests.one(manifests.documents(manifests.PATCH))


@pytest.mark.parametrize("document", [document for _, document in ALL], ids=[name for name, _ in ALL])
def test_a_manifest_has_the_fields_of_its_kind_and_no_others(document):
    assert schemas.faults(document) == []


def test_every_kind_that_is_promised_is_there():
    wanted = {"Deployment", "Service", "ConfigMap", "ScaledObject", "HorizontalPodAutoscaler", "VerticalPodAutoscaler"}
    wanted |= {"PodDisruptionBudget", "NetworkPolicy", "PodMonitor"}
    assert {document["kind"] for _, document in ALL} == wanted


# Of each kind a place, and a field in it that is misspelt.
MISSPELT = [
    ("Deployment", "spec", "template", "spec", "terminationGracePeriod"),
    ("Deployment", "spec", "template", "spec", "containers", 0, "securityContext", "readOnlyRootFileSystem"),
    ("Deployment", "spec", "template", "spec", "containers", 0, "readinessProbe", "failureTreshold"),
    ("Service", "spec", "selectors"),
    ("ConfigMap", "datas"),
    ("PodDisruptionBudget", "spec", "maxUnavailabel"),
    ("NetworkPolicy", "spec", "ingres"),
    ("HorizontalPodAutoscaler", "spec", "behavior", "scaleDown", "stabilizationWindow"),
    ("ScaledObject", "spec", "poolingInterval"),
    ("ScaledObject", "spec", "fallback", "replica"),
    ("ScaledObject", "spec", "advanced", "horizontalPodAutoscalerConfig", "behavior", "scaleUp", "policy"),
    ("ScaledObject", "spec", "triggers", 0, "metadatas"),
    ("ScaledObject", "spec", "triggers", 0, "metadata", "treshold"),
    ("VerticalPodAutoscaler", "spec", "resourcePolicy", "containerPolicies", 0, "controlledValue"),
    ("PodMonitor", "spec", "podMetricsEndpoints", 0, "intervall"),
]


@pytest.mark.parametrize("place", MISSPELT, ids=["/".join(map(str, place)) for place in MISSPELT])
def test_a_misspelt_field_is_found(place):
    kind, *path, field = place
    document = copy.deepcopy(next(document for _, document in ALL if document["kind"] == kind))
    part = document
    for step in path:
        part = part[step]
    part[field] = "1"
    assert schemas.faults(document), "it passed"


@pytest.mark.parametrize(
    "broken",
    [
        lambda spec: spec.pop("scaleTargetRef"),
        lambda spec: spec.update(minReplicaCount="2"),
        lambda spec: spec["triggers"][0]["metadata"].pop("query"),
        lambda spec: spec["triggers"][0]["metadata"].update(threshold=15),
        lambda spec: spec["triggers"][0]["metadata"].update(ignoreNullValues="no"),
    ],
)
def test_a_wrong_or_missing_value_is_found(broken):
    document = copy.deepcopy(next(document for _, document in ALL if document["kind"] == "ScaledObject"))
    broken(document["spec"])
    assert schemas.faults(document), "it passed"
