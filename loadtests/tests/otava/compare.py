"""Which series have the same change points, found by apache-otava and by outrigger-load."""

import json
import sys

from otava.series import AnalysisOptions, Metric, Series

AGREEING = 0.95
APART = 1


def otava(name, values):
    """With the options it has by itself: a window of 50, p < 0.001, any magnitude."""
    history = Series(
        test_name=name,
        branch=None,
        time=list(range(len(values))),
        metrics={"figure": Metric()},
        data={"figure": list(values)},
        attributes={},
    )
    analyzed = history.analyze(AnalysisOptions())
    return [int(point.index) for point in analyzed.change_points["figure"]]


def agree(ours, theirs):
    return len(ours) == len(theirs) and all(abs(one - other) <= APART for one, other in zip(ours, theirs))


def main():
    with open(sys.argv[1]) as file:
        series = json.load(file)
    with open(sys.argv[2]) as file:
        ours = {found["name"]: [change["index"] for change in found["changes"]] for found in json.load(file)}
    agreeing = exact = points = 0
    for name, values in series.items():
        theirs = otava(name, values)
        points += len(theirs)
        exact += ours[name] == theirs
        if agree(ours[name], theirs):
            agreeing += 1
        else:
            print(f"  {name}: {ours[name]}, otava {theirs}")
    share = agreeing / len(series)
    print(f"{agreeing} of {len(series)} series agree with otava, {exact} to the run; it finds {points} points")
    sys.exit(0 if share >= AGREEING else 1)


if __name__ == "__main__":
    main()
