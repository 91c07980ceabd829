"""`scan` on what a home holds: past the policy, audited, with a purpose where a query needs one."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from built_home import PRODUCT
from cli_support import Cli


def found(result: Any) -> set[tuple[str, str, str]]:
    return {(each["source"], each["column"], each["info_type"]) for each in result.json["findings"]}
