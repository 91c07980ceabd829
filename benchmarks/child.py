"""The process in which one measurement is taken: runs `module:function` and prints what it took as JSON."""

import importlib
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.measure import Stopwatch, peak_bytes


def _run(function: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    module, _, name = function.partition(":")
    action: Callable[..., dict[str, Any]] = getattr(importlib.import_module(module), name)
    watch = Stopwatch()
    detail = action(watch, **parameters)
    return {"wall": watch.wall, "cpu": watch.cpu, "peak_bytes": peak_bytes(), "detail": detail}


if __name__ == "__main__":
    print(json.dumps(_run(sys.argv[1], json.loads(sys.argv[2]))))
