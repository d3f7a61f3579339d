"""The patch makes of a model server's Deployment the one that is written out beside it; and so does kubectl."""

import copy
import json
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate.utils
import manifests
import pytest
import yaml

SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema/v1.37.0-local-strict/_definitions.json"
DEFINITIONS = json.loads(SCHEMAS.read_text())["$defs"]
DEPLOYMENT = {"$ref": "#/$defs/io.k8s.api.apps.v1.Deployment"}
BASE = manifests.one(manifests.documents(manifests.FOLDER / "model-server/deployment.yaml"))
PATCH = manifests.one(manifests.documents(manifests.PATCH))
FULL = manifests.one(manifests.documents(manifests.FULL))


def schema_of(reference):
    return DEFINITIONS[reference["$ref"].rsplit("/", 1)[1]] if "$ref" in reference else reference


def merged(base, patch, schema):
    """Kubernetes' strategic merge: objects field by field, lists whole, but for those whose schema names a key to merge by."""
    if not (isinstance(base, dict) and isinstance(patch, dict)):
        return copy.deepcopy(patch)
    result = copy.deepcopy(base)
    for field, value in patch.items():
        part = schema_of(schema).get("properties", {}).get(field, {})
        key = part.get("x-kubernetes-patch-merge-key")
        if field in base and key and "merge" in part["x-kubernetes-patch-strategy"].split(","):
            result[field] = list(base[field])
            for one in value:
                at = next((n for n, other in enumerate(result[field]) if other[key] == one[key]), None)
                if at is None:
                    result[field].append(copy.deepcopy(one))
                else:
                    result[field][at] = merged(result[field][at], one, part["items"])
        else:
            result[field] = merged(base[field], value, part) if field in base else copy.deepcopy(value)
    return result


def in_order(deployment):
    """The order of volumes says nothing."""
    deployment = copy.deepcopy(deployment)
    manifests.pod(deployment)["volumes"].sort(key=lambda volume: volume["name"])
    return deployment


def test_the_patch_puts_outrigger_beside_the_model_server():
    result = merged(BASE, PATCH, DEPLOYMENT)
    assert in_order(result) == in_order(FULL), "full.yaml is what comes of the patch"
    names = [container["name"] for container in manifests.containers(manifests.pod(result))]
    assert names == ["vllm", "outrigger"]


def test_what_the_model_server_had_is_still_there():
    base, full = manifests.pod(BASE), manifests.pod(merged(BASE, PATCH, DEPLOYMENT))
    before, after = base["containers"][0], full["containers"][0]
    assert {field: after[field] for field in before} == before
    assert [volume for volume in full["volumes"] if volume in base["volumes"]] == base["volumes"]


def test_the_patch_alone_says_nothing_else_of_the_model_server():
    assert manifests.pod(PATCH)["containers"] == [
        {"name": "vllm", "lifecycle": manifests.pod(PATCH)["containers"][0]["lifecycle"]}
    ]


@pytest.mark.parametrize("folder", ["gateway", "sidecar", "model-server", "redis", "keda", "hpa", "vpa"])
def test_kustomize_builds_it(folder):
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("there is no kubectl here; the merge above is the same")
    built = subprocess.run([kubectl, "kustomize", manifests.FOLDER / folder], capture_output=True, text=True)
    if "patches" in built.stderr and built.returncode != 0:
        pytest.skip(f"this kubectl is too old: {built.stderr}")
    assert built.returncode == 0, built.stderr
    documents = list(yaml.safe_load_all(built.stdout))
    assert documents
    if folder == "sidecar":
        deployment = next(document for document in documents if document["kind"] == "Deployment")
        assert in_order(deployment) == in_order(FULL), "kubectl makes the same of it"
