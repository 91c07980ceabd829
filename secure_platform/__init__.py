"""CI/CD for sensitive data, on Dagster.

Importing the package closes Polars' disk spill, which would write plaintext outside the home, and switches
off the telemetry of the programs it starts. Both are read from the environment when those libraries load.
"""

import os

os.environ["POLARS_OOC_DISK_BUDGET_MB"] = "0"
os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
