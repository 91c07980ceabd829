"""Python runs this when it starts, if the folder is on its path: a test's children are guarded too."""

import os
from pathlib import Path

from refuse_network import REPORT, install

if REPORT in os.environ:
    install(Path(os.environ[REPORT]))
