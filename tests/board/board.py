"""The board as it is written: its panels, their expressions with the variables put in, and what is wrong with its form."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FILE = ROOT / "docker/grafana/dashboards/outrigger.json"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24
# What Grafana puts in for itself, as it is here: scrapes of a second, and a run of less than half a minute.
BUILT_IN = {"$__rate_interval": "5s", "$__interval": "1s", "$__range": "30s"}


def load():
    return json.loads(FILE.read_text())


def panels(board):
    """Those that show something; rows come apart."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def variables(board):
    return {variable["name"]: variable for variable in board["templating"]["list"]}


def filled(expression, board):
    """With every variable at All."""
    for name, value in BUILT_IN.items():
        expression = expression.replace(name, value)
    for name, variable in variables(board).items():
        expression = re.sub(rf"\$\{{{name}\}}|\${name}\b", variable.get("allValue", ""), expression)
    return expression


def questions(board):
    """All that Prometheus is asked: (panel's title, refId, expression, whether at one moment only)."""
    for panel in panels(board):
        for target in panel["targets"]:
            yield panel["title"], target["refId"], filled(target["expr"], board), target["instant"]
    for annotation in board["annotations"]["list"]:
        if "expr" in annotation:
            yield annotation["name"], "annotation", filled(annotation["expr"], board), False


def metrics(board):
    """Names of metrics that the board reads, its variables' too."""
    texts = [expression for _, _, expression, _ in questions(board)]
    texts += [variable.get("definition", "") for variable in variables(board).values()]
    # A name stands before its labels, or first in label_values().
    found = [pair for text in texts for pair in re.findall(r"\b([A-Za-z_]+)\{|\blabel_values\(([a-z_]+)", text)]
    return {before or first for before, first in found}


def documented():
    """Names of metrics in the README's table; a histogram's parts are not told apart there."""
    lines = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `")]
    return {name for line in lines for name in re.findall(r"`((?:outrigger|gen_ai)_[a-z_]+)`", line.split("|")[1])}


def family(name):
    return re.sub(r"_(bucket|sum|count)$", "", name)


def faults(board):
    """What is wrong with the board's form, in words."""
    found = []
    if board.get("uid") != "outrigger" or "__inputs" in board:
        found.append("the board's uid is outrigger, and it has no __inputs")
    wanted = {"datasource", "instance", "model", "backend"}
    if set(variables(board)) != wanted:
        found.append(f"the variables are {sorted(wanted)}")
    for name in wanted - {"datasource"}:
        variable = variables(board).get(name, {})
        if not (variable.get("includeAll") and variable.get("multi") and variable.get("datasource") == SOURCE):
            found.append(f"the variable {name} takes several values and All, of the data source")
    titles = [panel["title"] for panel in panels(board)]
    found += [
        f"two panels are called {title}" for title in sorted({title for title in titles if titles.count(title) > 1})
    ]
    ids = [panel["id"] for panel in board["panels"]]
    found += [
        f"two panels have the id {number}" for number in sorted({number for number in ids if ids.count(number) > 1})
    ]
    for panel in panels(board):
        found += [f"{panel['title'] or panel['id']}: {fault}" for fault in faults_of(panel, board)]
    return found + list(overlaps(board))


def faults_of(panel, board):
    if not panel.get("title"):
        yield "has no title"
    if not panel.get("description", "").endswith("."):
        yield "has no description that is a sentence"
    if panel.get("datasource") != SOURCE:
        yield "is not of ${datasource}"
    config = panel["fieldConfig"]["defaults"]
    if not (config.get("unit") or panel["options"].get("yAxis", {}).get("unit")):
        yield "has no unit"
    if panel["type"] == "timeseries" and not panel["options"]["legend"]["showLegend"]:
        yield "has no legend"
    references = [target["refId"] for target in panel["targets"]]
    if not references or len(set(references)) != len(references):
        yield "has no target, or two of one refId"
    for target in panel["targets"]:
        if target.get("datasource") != SOURCE:
            yield f"{target['refId']} is not of ${{datasource}}"
        if not target.get("legendFormat"):
            yield f"{target['refId']} has no legend"
        if "$" in filled(target["expr"], board):
            yield f"{target['refId']} has an unknown variable"
        if "$instance" not in target["expr"]:
            yield f"{target['refId']} does not heed the variable instance"


def overlaps(board):
    taken = {}
    for panel in board["panels"]:
        at = panel["gridPos"]
        name = panel["title"]
        if at["x"] < 0 or at["w"] < 1 or at["h"] < 1 or at["x"] + at["w"] > WIDTH:
            yield f"{name}: stands outside of the grid"
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                if taken.setdefault((x, y), name) != name:
                    yield f"{name}: lies on {taken[x, y]}"
                    return
