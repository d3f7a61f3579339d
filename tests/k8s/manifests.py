"""The manifests as they are written: every document of docker/k8s, with the file that it stands in."""

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "docker/k8s"
PATCH = FOLDER / "sidecar/patch.yaml"
FULL = FOLDER / "sidecar/full.yaml"


class Once(yaml.SafeLoader):
    """A key that stands twice is an error: of two values YAML takes the last without a word."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        doubled = {key for key in keys if keys.count(key) > 1}
        assert not doubled, f"{doubled} twice, {node.start_mark}"
        return super().construct_mapping(node, deep)


def documents(file):
    return [document for document in yaml.load_all(file.read_text(), Once) if document is not None]


def files():
    found = sorted(FOLDER.rglob("*.yaml"))
    assert len(found) > 15, f"{FOLDER} has only {found}"
    return [file for file in found if file.name != "kustomization.yaml"]


def everything():
    """Each document with a name to call it by; no kustomization, which no cluster sees, and not the patch, which is a part."""
    for file in files():
        if file != PATCH:
            for document in documents(file):
                yield f"{file.relative_to(FOLDER)}: {document['kind']} {document['metadata']['name']}", document


def of_kind(kind):
    return [(name, document) for name, document in everything() if document["kind"] == kind]


def workloads():
    return of_kind("Deployment")


def pod(workload):
    return workload["spec"]["template"]["spec"]


def labels(workload):
    return workload["spec"]["template"]["metadata"]["labels"]


def containers(pod):
    """Those that run for as long as the pod: a native sidecar is an init container that starts always anew."""
    return [*pod["containers"], *(one for one in pod.get("initContainers", []) if one.get("restartPolicy") == "Always")]


def outriggers():
    """Each container that is Outrigger, with its pod and a name."""
    for name, workload in workloads():
        for container in containers(pod(workload)):
            if container["image"].split(":")[0] == "outrigger":
                yield name, workload, container


def one(found):
    assert len(found) == 1, found
    return found[0]
