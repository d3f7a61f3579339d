"""Every question that the manifests ask Prometheus: KEDA's triggers, and the rules of prometheus-adapter that the HPA reads."""

import re
from dataclasses import dataclass

import manifests
import yaml

@dataclass
class Question:
    name: str
    query: str
    threshold: float
    job: str
    #: Who asks: keda or hpa.
    by: str


def keda():
    for _, scaler in manifests.of_kind("ScaledObject"):
        for trigger in scaler["spec"]["triggers"]:
            if trigger["type"] == "prometheus":
                metadata, target = trigger["metadata"], scaler["spec"]["scaleTargetRef"]["name"]
                yield Question(trigger["name"], metadata["query"], float(metadata["threshold"]), target, "keda")


def hpa():
    """Of the HPA's metrics, each with the rule that makes it; as the adapter writes it out for pods."""
    rules = {}
    for _, document in manifests.of_kind("ConfigMap"):
        for rule in yaml.safe_load(document["data"].get("config.yaml", "{}")).get("rules", []):
            rules[rule["name"]["as"]] = rule
    for name, scaler in manifests.of_kind("HorizontalPodAutoscaler"):
        for metric in scaler["spec"]["metrics"]:
            if metric["type"] == "Pods":
                rule = rules[metric["pods"]["metric"]["name"]]
                series = rule["seriesQuery"].split("{")[0]
                query = rule["metricsQuery"].replace("<<.Series>>", series).replace("<<.GroupBy>>", "pod")
                query = query.replace("<<.LabelMatchers>>", 'job="outrigger"')
                kind = {"outrigger_requests_per_second": "requests", "outrigger_held_requests": "queue"}
                called = kind.get(metric["pods"]["metric"]["name"], "p95")
                threshold = float(metric["pods"]["target"]["averageValue"])
                yield Question(called, query, threshold, "outrigger", "hpa")


def all_of_them():
    return [*keda(), *hpa()]


def metrics(query):
    """The names in it: what stands before braces."""
    return set(re.findall(r"\b([a-z_][a-z0-9_]*)\{", query))


def labels(query):
    """Of each metric in it the labels that it is chosen by."""
    for name, matchers in re.findall(r"\b([a-z_][a-z0-9_]*)\{([^}]*)\}", query):
        for label, value in re.findall(r'([a-z_]+)="([^"]*)"', matchers):
            yield name, label, value
