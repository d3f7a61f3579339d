"""What one manifest says of another is true: labels, names, ports, times, and the settings."""

import math
import os
import re
import subprocess
import tempfile
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import manifests
import pytest
from manifests import containers, labels, of_kind, one, outriggers, pod, workloads

BIN = Path(os.environ.get("OUTRIGGER_BIN", manifests.ROOT / "target/debug"))
# After drain_secs, what is not written yet: `LAST_SECS` in src/service.rs, and Pingora's last second.
LAST_SECS = 10 + 1
WORKLOADS = {workload["metadata"]["name"]: workload for _, workload in workloads()}
# Beside a workload of each file: both that are called vllm, the one without Outrigger and the one with it.
OF_NAME = {name: [w for _, w in workloads() if w["metadata"]["name"] == name] for name in WORKLOADS}


def chosen(selector):
    """The workloads whose pods have these labels."""
    return [w for _, w in workloads() if selector.items() <= labels(w).items()]


def ports(workload):
    return [port for container in containers(pod(workload)) for port in container.get("ports", [])]


@pytest.mark.parametrize(("name", "workload"), workloads())
def test_a_workload_chooses_its_own_pods_and_no_others(name, workload):
    selector = workload["spec"]["selector"]["matchLabels"]
    assert {w["metadata"]["name"] for w in chosen(selector)} == {workload["metadata"]["name"]}


SELECTING = [
    (name, document)
    for kind in ("Service", "PodDisruptionBudget", "PodMonitor", "NetworkPolicy")
    for name, document in of_kind(kind)
]


@pytest.mark.parametrize(("name", "document"), SELECTING)
def test_a_selector_finds_pods(name, document):
    spec = document["spec"]
    selector = spec["podSelector"] if "podSelector" in spec else spec["selector"]
    assert chosen(selector.get("matchLabels", selector)), f"nothing has {selector}"


@pytest.mark.parametrize(("name", "service"), of_kind("Service"))
def test_a_service_leads_to_ports_that_are_there(name, service):
    for port in service["spec"]["ports"]:
        there = [p["name"] for workload in chosen(service["spec"]["selector"]) for p in ports(workload)]
        assert port["targetPort"] in there


@pytest.mark.parametrize(("name", "monitor"), of_kind("PodMonitor"))
def test_prometheus_finds_the_admin_port_and_names_the_job_as_queries_do(name, monitor):
    spec = monitor["spec"]
    found = [w for w in chosen(spec["selector"]["matchLabels"]) if any(p["name"] == "admin" for p in ports(w))]
    assert found and all(spec["jobLabel"] in labels(workload) for workload in found)
    assert all(endpoint["port"] == "admin" and endpoint["path"] == "/metrics" for endpoint in spec["podMetricsEndpoints"])
    jobs = {labels(workload)[spec["jobLabel"]] for workload in found}
    asked = {job for _, scaler in of_kind("ScaledObject") for job in re.findall(r'job="([^"]*)"', str(scaler))}
    assert jobs <= asked, "a scaler asks for each job that is scraped"


@pytest.mark.parametrize(("name", "scaler"), of_kind("ScaledObject") + of_kind("HorizontalPodAutoscaler"))
def test_a_scaler_scales_what_is_there_by_metrics_of_its_pods(name, scaler):
    spec = scaler["spec"]
    target = WORKLOADS[spec["scaleTargetRef"]["name"]]
    assert "replicas" not in target["spec"], "applying the workload again would undo what the scaler did"
    jobs = re.findall(r'job="([^"]*)"', str(spec))
    assert set(jobs) <= {labels(target)["app.kubernetes.io/name"]}, "its queries are about its own pods"
    kinds = {trigger["type"] for trigger in spec.get("triggers", [])}
    kinds |= {metric["resource"]["name"] for metric in spec.get("metrics", []) if metric["type"] == "Resource"}
    for resource in {"cpu", "memory"} & kinds:
        requested = [container["resources"].get("requests", {}) for container in containers(pod(target))]
        assert all(resource in requests for requests in requested), "shares are of what is requested"


@pytest.mark.parametrize(("name", "scaler"), of_kind("VerticalPodAutoscaler"))
def test_a_size_is_for_containers_that_are_there(name, scaler):
    target = WORKLOADS[scaler["spec"]["targetRef"]["name"]]
    wanted = {policy["containerName"] for policy in scaler["spec"]["resourcePolicy"]["containerPolicies"]}
    assert wanted <= {container["name"] for container in containers(pod(target))}


def test_the_scalers_have_the_four_triggers():
    by_query = {"requests": "15", "queue": "25", "p95": "1"}
    for _, scaler in of_kind("ScaledObject"):
        found = {t.get("name"): t["metadata"]["threshold"] for t in scaler["spec"]["triggers"] if t["type"] == "prometheus"}
        assert by_query.items() <= found.items()
    gateway = one([s for _, s in of_kind("ScaledObject") if s["spec"]["scaleTargetRef"]["name"] == "outrigger"])
    found = {t["type"]: t["metadata"]["value"] for t in gateway["spec"]["triggers"] if t["type"] != "prometheus"}
    assert found == {"cpu": "70", "memory": "80"}
    sidecar = one([s for _, s in of_kind("ScaledObject") if s["spec"]["scaleTargetRef"]["name"] == "vllm"])
    assert {t["type"] for t in sidecar["spec"]["triggers"]} == {"prometheus"}, "a GPU's pod is not scaled by its processors"


@pytest.mark.parametrize(("name", "workload"), workloads())
def test_volumes_and_what_they_are_made_of_are_there(name, workload):
    volumes = {volume["name"]: volume for volume in pod(workload).get("volumes", [])}
    for container in containers(pod(workload)):
        assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes.keys()
    maps = {volume["configMap"]["name"] for volume in volumes.values() if "configMap" in volume}
    assert maps <= {document["metadata"]["name"] for _, document in of_kind("ConfigMap")}


def test_secrets_are_told_of_with_their_keys():
    told = (manifests.FOLDER / "README.md").read_text()
    for _, workload in workloads():
        for container in containers(pod(workload)):
            for variable in container.get("env", []):
                secret = variable.get("valueFrom", {}).get("secretKeyRef")
                if secret:
                    assert f"generic {secret['name']}" in told and f"{secret['key']}=" in told, secret


@pytest.mark.parametrize(("name", "workload", "container"), list(outriggers()))
def test_outrigger_may_do_nothing_that_it_need_not(name, workload, container):
    whole = {**pod(workload).get("securityContext", {}), **container["securityContext"]}
    assert whole["runAsNonRoot"] is True and whole["runAsUser"] == whole["runAsGroup"] == 65532
    assert whole["readOnlyRootFilesystem"] is True and whole["allowPrivilegeEscalation"] is False
    assert whole["capabilities"] == {"drop": ["ALL"]} and whole["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod(workload)["automountServiceAccountToken"] is False
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys() and "memory" in container["resources"]["limits"]


@pytest.mark.parametrize(("name", "workload", "container"), list(outriggers()))
def test_probes_ask_the_admin_port_what_it_answers(name, workload, container):
    asked = {probe: container[f"{probe}Probe"]["httpGet"] for probe in ("startup", "readiness", "liveness")}
    assert {probe: get["path"] for probe, get in asked.items()} == {
        "startup": "/livez",
        "readiness": "/readyz",
        "liveness": "/livez",
    }
    assert {get["port"] for get in asked.values()} == {"admin"}
    # Asked by the pod's address, which no page of a foreign site can have as its name: a `host` would be one.
    assert all("host" not in get and "httpHeaders" not in get for get in asked.values())
    numbers = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert numbers["admin"] == 9090 and 8080 in numbers.values()


def environment(container):
    return {variable["name"]: variable.get("value", "secret") for variable in container.get("env", [])}


def settings(workload, container):
    """What `outrigger` is told, as a file and variables: in `folder`, what a ConfigMap would put into the pod."""
    file = environment(container).get("OUTRIGGER_CONFIG")
    if file is None:
        return None, environment(container)
    mount = one([m for m in container["volumeMounts"] if file.startswith(m["mountPath"] + "/")])
    volume = one([v for v in pod(workload)["volumes"] if v["name"] == mount["name"]])
    document = one([d for _, d in of_kind("ConfigMap") if d["metadata"]["name"] == volume["configMap"]["name"]])
    return document["data"][Path(file).name], environment(container)


@pytest.mark.parametrize(("name", "workload", "container"), list(outriggers()))
def test_the_settings_are_good(name, workload, container):
    text, variables = settings(workload, container)
    with tempfile.TemporaryDirectory() as folder:
        variables = {"PATH": "", **variables}
        if text is not None:
            file = Path(folder) / "outrigger.toml"
            file.write_text(text)
            variables["OUTRIGGER_CONFIG"] = str(file)
        judged = subprocess.run([BIN / "outrigger", "check"], env=variables, capture_output=True, text=True)
        assert judged.returncode == 0, judged.stderr
        variables["OUTRIGGER__SERVER__LISTEM"] = "x"
        wrong = subprocess.run([BIN / "outrigger", "check"], env=variables, capture_output=True, text=True)
        assert wrong.returncode == 1 and "listem" in wrong.stderr.lower(), "a wrong one would have been found"


def drain_secs(workload, container):
    text, variables = settings(workload, container)
    if text is not None:
        return tomllib.loads(text)["server"]["drain_secs"]
    return int(variables["OUTRIGGER__SERVER__DRAIN_SECS"])


def pre_stop_secs(container):
    hook = container.get("lifecycle", {}).get("preStop", {})
    if "sleep" in hook:
        return hook["sleep"]["seconds"]
    if "exec" in hook:
        words = hook["exec"]["command"]
        assert words[0] == "timeout", "a hook without an end takes the time that the rest needs"
        return int(words[1])
    return 0


@pytest.mark.parametrize(("name", "workload", "container"), list(outriggers()))
def test_there_is_time_to_drain(name, workload, container):
    """Hooks run at once and together; a sidecar is told to end when the others have."""
    hooks = max(pre_stop_secs(one_of_them) for one_of_them in containers(pod(workload)))
    needed = hooks + drain_secs(workload, container) + LAST_SECS
    assert hooks > 0, "new connections come until all have heard that the pod is to end"
    assert pod(workload)["terminationGracePeriodSeconds"] > needed


def test_what_the_settings_name_is_there_and_may_be_reached():
    """The backend and the Redis of the gateway are Services here, on these ports, and the policies let it there."""
    name, workload, container = one([o for o in outriggers() if o[1]["metadata"]["name"] == "outrigger"])
    told = tomllib.loads(settings(workload, container)[0])
    services = {service["metadata"]["name"]: service["spec"] for _, service in of_kind("Service")}
    for url in [told["redis"]["url"], *(backend["url"] for backend in told["backends"])]:
        where = urlsplit(url)
        service = services[where.hostname]
        port = one([port for port in service["ports"] if port["port"] == where.port])
        target = chosen(service["selector"])[0]
        number = one([p["containerPort"] for p in ports(target) if p["name"] == port["targetPort"]])
        assert may_go(labels(workload), labels(target), number, "egress", "to"), url
        assert may_go(labels(target), labels(workload), number, "ingress", "from"), url
    for variable in [told["redis"]["password_env"], told["backends"][0]["api_key_env"]]:
        assert variable in environment(container)


def may_go(whose, other, port, direction, word):
    """Whether some policy for pods with the labels `whose` lets traffic with such pods of their own namespace through."""
    for _, policy in of_kind("NetworkPolicy"):
        spec = policy["spec"]
        if spec["podSelector"]["matchLabels"].items() <= whose.items():
            for rule in spec.get(direction, []):
                peers = [peer for peer in rule[word] if "podSelector" in peer and "namespaceSelector" not in peer]
                fits = any(peer["podSelector"]["matchLabels"].items() <= other.items() for peer in peers)
                if fits and port in [allowed["port"] for allowed in rule["ports"]]:
                    return True
    return False


@pytest.mark.parametrize(("name", "workload", "container"), list(outriggers()))
def test_what_no_policy_allows_is_denied(name, workload, container):
    own = [p["spec"] for _, p in of_kind("NetworkPolicy") if p["spec"]["podSelector"]["matchLabels"].items() <= labels(workload).items()]
    denied = [spec for spec in own if "ingress" not in spec and "egress" not in spec]
    assert any(set(spec["policyTypes"]) == {"Ingress", "Egress"} for spec in denied)
    reached = {port["port"] for spec in own for rule in spec.get("ingress", []) for port in rule["ports"]}
    assert {8080, 9090} <= reached
    to_admin = [r["from"] for s in own for r in s.get("ingress", []) if 9090 in [p["port"] for p in r["ports"]]]
    asked_by = [peer.get("podSelector", {}).get("matchLabels") for peers in to_admin for peer in peers]
    assert all(asker == {"app.kubernetes.io/name": "prometheus"} for asker in asked_by), "orders are given there, too"
    resolves = [p for s in own for r in s.get("egress", []) for p in r["ports"] if p["port"] == 53]
    assert {port["protocol"] for port in resolves} == {"TCP", "UDP"}, "names are resolved"


def test_a_budget_lets_a_node_be_emptied():
    for name, budget in of_kind("PodDisruptionBudget"):
        assert budget["spec"].get("maxUnavailable", 0) >= 1, name


def test_a_fallback_is_between_the_bounds_and_something_can_fall_back():
    for name, scaler in of_kind("ScaledObject"):
        spec = scaler["spec"]
        assert spec["minReplicaCount"] <= spec["fallback"]["replicas"] <= spec["maxReplicaCount"], name
        kinds = [t.get("metricType") for t in spec["triggers"] if t["type"] == "prometheus"]
        assert "AverageValue" in kinds, f"{name}: KEDA falls back for triggers of that kind"
        behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        up, down = (behavior[way]["stabilizationWindowSeconds"] for way in ("scaleUp", "scaleDown"))
        assert up < down and math.isfinite(down), f"{name}: sooner up than down"
