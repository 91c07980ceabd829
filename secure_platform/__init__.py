"""CI/CD for sensitive data, on Dagster.

Importing the package closes what would write plaintext outside the home, Polars' disk spill and the core
dump of a process that crashes, and switches off the telemetry of the programs it starts. Spill and telemetry
are read from the environment when those libraries load; a Polars that was loaded before reads it again.
"""

import ctypes
import os
import resource
import sys

resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
if sys.platform == "linux":
    # The limit does not hold back a handler that the kernel pipes the image to. A process that is not
    # dumpable has none made, and other processes of its user read neither its memory nor its environment.
    _PR_SET_DUMPABLE = 4
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)

os.environ["POLARS_OOC_DISK_BUDGET_MB"] = "0"
if "polars" in sys.modules:
    # Loading no options has no other effect than that the environment is read.
    sys.modules["polars"].Config.load("{}")
os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
