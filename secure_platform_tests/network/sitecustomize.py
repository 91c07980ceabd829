"""Python runs this when it starts, if the folder is on its path: a test's children are guarded too."""

import os
from pathlib import Path

import warm_start
from refuse_network import REPORT, install

if REPORT in os.environ:
    install(Path(os.environ[REPORT]))
if warm_start.WARM_DBT in os.environ:
    warm_start.install()
