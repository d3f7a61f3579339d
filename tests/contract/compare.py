"""Tells which tests pass straight at the mock and not through the proxy; exits 1 if there is one."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path


def outcomes(report: Path) -> dict[str, str]:
    """The outcome of each test in a junit file, by its id."""
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
        outcome = "passed" if not kinds else "skipped" if kinds == {"skipped"} else "failed"
        # A test whose teardown fails has two entries: the worse one counts.
        if found.get(name) != "failed":
            found[name] = outcome
    return found


def summary(found: dict[str, str]) -> str:
    counts = Counter(found.values())
    return f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped"


def passed(found: dict[str, str]) -> set[str]:
    return {name for name, outcome in found.items() if outcome == "passed"}


def failures_by_file(found: dict[str, str]) -> list[tuple[str, int]]:
    files = Counter(name.split("::")[0].rsplit(".", 1)[0] for name, outcome in found.items() if outcome == "failed")
    return sorted(files.items())


def main(arguments: list[str]) -> int:
    direct = outcomes(Path(arguments[0]))
    print(f"direct:  {summary(direct)}")
    if len(arguments) == 1:
        for file, count in failures_by_file(direct):
            print(f"  fails directly: {count:4} in {file}")
        return 0 if passed(direct) else 1
    through = outcomes(Path(arguments[1]))
    print(f"through: {summary(through)}")
    lost = sorted(passed(direct) - passed(through))
    for name in lost:
        print(f"  LOST through the proxy: {name} ({through.get(name, 'did not run')})")
    for name in sorted(passed(through) - passed(direct)):
        print(f"  passes only through the proxy: {name}")
    if not passed(direct):
        print("nothing passed directly: the comparison says nothing")
        return 1
    print(f"contract: {len(lost)} of {len(passed(direct))} lost")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
