"""Reads a source in a process of its own under a hard memory limit, and says what became of it."""

import json
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ADDRESS_SPACE = 4 << 30

PROGRAM = """
import json, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2)
from secure_platform.contract.model import Column, Contract
from secure_platform.errors import DataRefusedError
from secure_platform.source.dataset import open_source
from secure_platform.taxonomy.classification import Classification
place = Path(sys.argv[1])
contract = Contract(dataset="d", version="1.0.0", description="", owner="team:x", columns=(), digest="",
                    source_file="d.csv")
def peaks():
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index("VmHWM:") + 1]) << 10
before = peaks()
rows, malformed, columns, error = 0, 0, 0, None
try:
    source = open_source(place, contract)
    columns = len(source.header)
    for batch in source.batches():
        rows, malformed = rows + batch.frame.height, malformed + len(batch.malformed)
        del batch
except DataRefusedError as refused:
    error = str(refused)
print(json.dumps({"rows": rows, "malformed": malformed, "columns": columns, "error": error,
                  "grown": peaks() - before,
                  "reader": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10}))
"""


@dataclass(frozen=True)
class Outcome:
    """What reading came to.

    Attributes:
        grown: Peak memory of the reading process beyond that of its imports, in bytes.
        reader: Peak memory of the process that decoded for it, if there was one.
    """

    rows: int
    malformed: int
    columns: int
    error: str | None
    grown: int
    reader: int


def outcome(place: Path) -> Outcome:
    """Read the dataset `d.csv` of a folder or zip file to its end."""
    assert resource.getrlimit(resource.RLIMIT_AS)[1] == resource.RLIM_INFINITY
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(place), str(ADDRESS_SPACE)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return Outcome(**json.loads(done.stdout))
