"""What Kubernetes would say of a manifest, without a cluster, and strictly: a field that it does not know is an error.

- Kubernetes' own kinds: the package kubernetes-validate, which brings the schemas of Kubernetes' API.
- ScaledObject and PodMonitor: the packages cloudcoil-models-keda and cloudcoil-models-prometheus-operator, made of the CRDs.
- VerticalPodAutoscaler and the metadata of KEDA's triggers: no package has them. They are written down in `schemas/` from the
  public documentation, which each file names.
"""

import copy
import functools
import json
from pathlib import Path

import jsonschema
import kubernetes_validate.utils
from cloudcoil.models.keda import v1alpha1 as keda
from cloudcoil.models.prometheus_operator import v1 as monitoring

# The newest that the package has, and the oldest that the manifests are for: `sleep` as a preStop came on by default with 1.30.
VERSIONS = ["1.37", "1.30"]
# A version's definitions are megabytes, and would be read anew for every manifest.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)
OWN = Path(__file__).parent / "schemas"
CUSTOM = {
    ("keda.sh/v1alpha1", "ScaledObject"): lambda: closed(keda.ScaledObject.model_json_schema(by_alias=True)),
    ("monitoring.coreos.com/v1", "PodMonitor"): lambda: closed(monitoring.PodMonitor.model_json_schema(by_alias=True)),
    ("autoscaling.k8s.io/v1", "VerticalPodAutoscaler"): lambda: own("vertical-pod-autoscaler"),
}


def own(name):
    return json.loads((OWN / f"{name}.json").read_text())


def closed(schema):
    """The same, with every object that lists its fields closed to others."""
    schema = copy.deepcopy(schema)

    def close(part):
        if isinstance(part, dict):
            if "properties" in part and part.get("additionalProperties") is not True:
                part.setdefault("additionalProperties", False)
            for each in part.values():
                close(each)
        elif isinstance(part, list):
            for each in part:
                close(each)

    close(schema)
    return schema


@functools.cache
def custom(version, kind):
    schema = CUSTOM[version, kind]()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def faults(document):
    """What is wrong with it, in words."""
    kind = document["apiVersion"], document["kind"]
    if kind in CUSTOM:
        found = list(custom(*kind).iter_errors(document))
    else:
        found = [fault for version in VERSIONS if (fault := of_kubernetes(document, version))]
    if kind == ("keda.sh/v1alpha1", "ScaledObject"):
        found += of_triggers(document)
    return [f"{'/'.join(map(str, fault.absolute_path))}: {fault.message}" for fault in found]


def of_kubernetes(document, version):
    try:
        kubernetes_validate.utils.validate(document, version, strict=True)
    except jsonschema.ValidationError as fault:
        return fault
    return None


def of_triggers(document):
    """The metadata of a trigger are text to the CRD: what stands in them is the trigger's own affair."""
    triggers = own("keda-triggers")
    for trigger in document["spec"]["triggers"]:
        yield from jsonschema.Draft202012Validator(triggers).iter_errors(trigger)
