"""Web server and daemon load the same code location: the one that the project's workspace file names."""

from pathlib import Path

from secure_platform.errors import UsageError
from secure_platform.settings import Settings


def workspace_file(settings: Settings) -> Path:
    """The project's `workspace.yaml`.

    Raises:
        UsageError: If the project has none.
    """
    path = settings.project / "workspace.yaml"
    if not path.is_file():
        raise UsageError(
            f"{path} does not exist",
            "Create it: a list `load_from` with one item `python_module: <your project>.definitions`.",
        )
    return path
