"""Where everything is: settings come from the environment, then `platform.yaml`, then embedded defaults.

The project is the nearest folder at or above the current one that is a dg project (`[tool.dg]` in its
`pyproject.toml`) or holds a `platform.yaml`; else the folder this package is installed from. The home is
below the project unless it is named, never below an arbitrary current directory.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from secure_platform.access.windows import read_window
from secure_platform.errors import UsageError
from secure_platform.key_settings import (
    AWS,
    VAULT,
    AwsSettings,
    KeySettings,
    RevealSettings,
    SecretSettings,
    VaultSettings,
)
from secure_platform.secret_reference import SCHEME, SecretReference
from secure_platform.site import (
    AlertSettings,
    ChannelSettings,
    IdentitySettings,
    LineageSettings,
    ServerSettings,
    TraceSettings,
)

PREFIX: Final = "SECURE_PLATFORM_"
CONFIG_NAME: Final = "platform.yaml"
PACKAGE: Final = Path(__file__).resolve().parent
TEXTS: Final = frozenset({"environment", "memory_limit"})
PATHS: Final = frozenset(
    {"home", "defs", "dbt_project", "policies", "token_file", "deployer_token_file", "budget_checkpoint"}
)
FILES: Final = frozenset({"certificate", "key", "client_ca", "ca", "file"})
DOCUMENTS: Final = frozenset(
    {
        *("server", "identity", "channels", "alerts", "lineage", "traces"),
        *("keys", "secrets", "vault", "aws", "reveal"),
    }
)


class Settings(BaseModel):
    """The settings of one environment; every field can be overridden by `SECURE_PLATFORM_<FIELD>`.

    A field that holds several values is overridden as a whole, by JSON.

    Attributes:
        project: Folder that holds the dbt project and, in a foreign project, the product folders.
        home: Where state, keys, snapshots, releases and databases live (mode 0700).
        defs: Folder with one subfolder per data product.
        dbt_project: The dbt project.
        environment: Name of the environment releases are approved for.
        sources: Product name → folder with its source files; default `<home>/sources/<product>`.
        policies: Folder with further Cedar policies.
        token_file: 0600 file with the token of the calling principal.
        deployer_token_file: 0600 file with the token of the service that deploys approved releases.
        server: How the web server is reached.
        identity: Who may log in, and how.
        channels: Where notices go.
        alerts: Which incidents are told, and when.
        lineage: Where events of OpenLineage go; None for nowhere.
        traces: Where traces go; None for nowhere.
        keys: Who wraps our keys.
        secrets: Where secrets are looked up.
        vault: A Vault server.
        aws: An AWS account.
        reveal: How much one person may reveal.
        budget_checkpoint: File outside the home that gets a signed checkpoint of the audit log with all that
            is spent of a privacy budget; a home that is older than it tells nothing more.
        memory_limit: Most memory DuckDB uses to build marts, such as `4GB`; beyond it, it spills, encrypted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    project: Path
    home: Path
    defs: Path
    dbt_project: Path
    environment: str = "production"
    sources: dict[str, Path] = {}
    policies: Path | None = None
    token_file: Path | None = None
    deployer_token_file: Path
    server: ServerSettings = ServerSettings()
    identity: IdentitySettings = IdentitySettings()
    channels: tuple[ChannelSettings, ...] = ()
    alerts: AlertSettings = AlertSettings()
    lineage: LineageSettings | None = None
    traces: TraceSettings | None = None
    keys: KeySettings = KeySettings()
    secrets: SecretSettings = SecretSettings()
    vault: VaultSettings | None = None
    aws: AwsSettings | None = None
    reveal: RevealSettings = RevealSettings()
    budget_checkpoint: Path | None = None
    memory_limit: Annotated[str, Field(pattern=r"^[1-9][0-9]*(KB|MB|GB|TB|KiB|MiB|GiB|TiB)$")] | None = None

    @model_validator(mode="after")
    def _provided(self) -> Self:
        """The chosen key provider has what it needs."""
        ready = {VAULT: self.vault is not None, AWS: bool(self.aws and self.aws.key_id)}
        if not ready.get(self.keys.provider, True):
            raise ValueError(self.keys.provider)
        return self

    @model_validator(mode="after")
    def _understood(self) -> Self:
        """Quiet hours are times of the week."""
        for text in (text for channel in self.channels for text in channel.quiet):
            try:
                read_window(text)
            except UsageError as error:
                raise ValueError(error.fix) from None
        return self

    def source_directory(self, product: str) -> Path:
        """The folder this product's source files are pulled from."""
        default = self.home / "sources" / product
        return self.sources.get(product, default)


def load_settings(**overrides: Any) -> Settings:
    """Resolve the settings.

    Args:
        overrides: Fields that win over environment and file; `None` values are ignored.

    Raises:
        UsageError: If a setting is unknown or malformed; the message names it.
    """
    project = _absolute(overrides.get("project") or os.environ.get(f"{PREFIX}PROJECT") or find_project())
    given = {
        **_from_file(project),
        **_from_environment(),
        **{name: value for name, value in overrides.items() if value is not None},
    }
    home = _absolute(given.get("home", project / ".secure_platform"))
    defaults = {
        "defs": _default_defs(project),
        "dbt_project": project / "dbt",
        "deployer_token_file": home / "keys" / "deployer.token",
    }
    try:
        return Settings.model_validate({**defaults, **given, "project": project, "home": home})
    except ValidationError as error:
        names = ", ".join(sorted({_place(problem) for problem in error.errors()}))
        raise UsageError(
            f"These settings cannot be used: {names}", f"Correct them in {CONFIG_NAME} or the environment."
        ) from None


def _place(problem: Mapping[str, Any]) -> str:
    """Where it is, and which fields it lacks: these names are ours, whatever else is said may not be."""
    named = ".".join(map(str, problem["loc"]))
    said = getattr(problem.get("ctx", {}).get("error"), "args", ())
    lacks = said[0] if said and isinstance(said[0], list) else []
    return f"{named} (it lacks {', '.join(lacks)})" if lacks else named


def find_project() -> Path:
    """The project the current directory belongs to, else the one this package is installed from."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if _is_project(folder)), PACKAGE.parent)


def _is_project(folder: Path) -> bool:
    if (folder / CONFIG_NAME).is_file():
        return True
    document = folder / "pyproject.toml"
    return document.is_file() and "dg" in tomllib.loads(document.read_text(encoding="utf-8")).get("tool", {})


def _default_defs(project: Path) -> Path:
    if project == PACKAGE.parent:
        return PACKAGE / "defs"
    document = project / "pyproject.toml"
    if not document.is_file():
        return project / "defs"
    dg = tomllib.loads(document.read_text(encoding="utf-8")).get("tool", {}).get("dg", {})
    module = str(dg.get("project", {}).get("root_module", ""))
    if not module:
        return project / "defs"
    source = project / "src" / module
    return (source if source.is_dir() else project / module) / "defs"


def _from_file(project: Path) -> dict[str, Any]:
    path = Path(os.environ.get(f"{PREFIX}CONFIG", project / CONFIG_NAME))
    if not path.is_file():
        return {}
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError):
        raise UsageError(f"{path} is not YAML", "Correct it; see docs/settings.md for the fields.") from None
    if not isinstance(document, dict):
        raise UsageError(f"{path} is not a mapping", "Correct it; see docs/settings.md for the fields.")
    return {name: _resolve(name, value, path.parent) for name, value in document.items()}


def _resolve(name: str, value: Any, base: Path) -> Any:
    """Paths in the file are relative to the file."""
    if name == "sources" and isinstance(value, dict):
        return {product: base / str(folder) for product, folder in value.items()}
    if name in DOCUMENTS:
        return _resolve_files(value, base)
    is_path = name in PATHS
    return base / value if is_path and isinstance(value, str) else value


def _resolve_files(value: Any, base: Path) -> Any:
    if isinstance(value, list):
        return [_resolve_files(item, base) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: _resolve_file(name, item, base) for name, item in value.items()}


def _resolve_file(name: str, item: Any, base: Path) -> Any:
    if not isinstance(item, str):
        return _resolve_files(item, base)
    if item.startswith(SCHEME):
        return _resolve_reference(item, base)
    return base / item if name in FILES else item


def _resolve_reference(text: str, base: Path) -> str:
    try:
        return str(SecretReference.parse(text).below(base))
    except UsageError:
        # Whoever validates the setting names it.
        return text


def _from_environment() -> dict[str, Any]:
    fields = set(Settings.model_fields) - {"project", "sources"}
    return {
        field: _read(field, value) for field in fields if (value := os.environ.get(PREFIX + field.upper()))
    }


def _read(field: str, value: str) -> Any:
    if field in TEXTS:
        return value
    if field not in DOCUMENTS:
        return _absolute(value)
    try:
        return _resolve_files(json.loads(value), Path.cwd())
    except ValueError:
        raise UsageError(
            f"{PREFIX}{field.upper()} is not JSON", "See docs/settings.md for its form."
        ) from None


def _absolute(path: str | Path) -> Path:
    return Path(path).expanduser().absolute()
