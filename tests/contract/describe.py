"""Writes a copy of the API description whose paths begin with /v1, as they do on a model server.

The mock leaves the path of `servers[0].url` out, and the proxy knows its held routes under /v1: without
this the whole comparison would run over passed routes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(source: Path, target: Path) -> None:
    description = json.loads(source.read_text(encoding="utf-8"))
    description["paths"] = {f"/v1{path}": item for path, item in description["paths"].items()}
    target.write_text(json.dumps(description), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
