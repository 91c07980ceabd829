"""What a steward decides on is drawn from the signed package, never from what Dagster stores."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from secure_platform.gate.records import ReleaseRecord
from secure_platform.orchestration.steps.behind import Reached
from secure_platform.orchestration.steps.deploy import signed_package, verified_package
from secure_platform.release.diff import ReleaseDiff, diff_manifests
from secure_platform.services import Services


@dataclass(frozen=True)
class Checked:
    """What the stages decided about one snapshot.

    Attributes:
        snapshot: `<zone>/<dataset>`.
        left_out: Rows that were set aside, invalid or orphans; None where no stage sets any aside.
        stayed_behind: Rows that contract or profile keep in raw; None where all of them leave.
    """

    snapshot: str
    left_out: int | None
    stayed_behind: int | None
    failed: tuple[str, ...]
    passed: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """A finding and its column's transform; in a protected table or mart there is none any more."""

    snapshot: str
    column: str
    info_type: str
    count: int
    transform: str

    @property
    def place(self) -> str:
        """As shown in tables."""
        return f"{self.snapshot}.{self.column}"


def verified_manifest(services: Services, record: ReleaseRecord) -> Mapping[str, Any]:
    """The manifest of a release, after everything in the package was verified.

    Raises:
        IntegrityError: If the package is not what was signed.
        GateRefusedError: If it is not the package that was registered.
    """
    with verified_package(services, record) as release:
        return release.manifest


def difference(services: Services, record: ReleaseRecord, manifest: Mapping[str, Any]) -> ReleaseDiff:
    """The difference to what is in production now."""
    base = services.target.base(record.product)
    return compared(
        record, manifest, base, lambda digest: signed_package(services, services.gate.get(digest)).manifest
    )


def compared(
    record: ReleaseRecord,
    manifest: Mapping[str, Any],
    base: str | None,
    read: Callable[[str], Mapping[str, Any]],
) -> ReleaseDiff:
    """The difference to a base, whose manifest is read if it is another release."""
    if base is None or base == record.digest:
        return diff_manifests(None if base is None else manifest, manifest)
    return diff_manifests(read(base), manifest)


def checks(manifest: Mapping[str, Any]) -> Iterator[Checked]:
    """What was decided about every snapshot that the release comes from."""
    for snapshot, stages in manifest["verdicts"].items():
        counts = [
            stages[stage]["detail"].get(name)
            for stage, name in (("validate", "invalid_rows"), ("rows", "orphans"))
            if stage in stages
        ]
        yield Checked(
            snapshot,
            counts[0] if counts else None,
            stages["rows"]["detail"].get("stayed_behind") if "rows" in stages else None,
            tuple(stage for stage, verdict in stages.items() if not verdict["passed"]),
            tuple(stage for stage, verdict in stages.items() if verdict["passed"]),
        )


def reached(manifest: Mapping[str, Any]) -> Iterator[Reached]:
    """k, l, t and the information lost of every dataset that was to have k or l."""
    for snapshot, stages in manifest["verdicts"].items():
        if "rows" in stages:
            told = Reached.told(snapshot.partition("/")[2], stages["rows"]["detail"])
            if told is not None:
                yield told


def findings(manifest: Mapping[str, Any]) -> Iterator[Found]:
    """Every finding of every zone."""
    plan = {
        (f"raw/{dataset}", column["column"]): column["transform"]
        for dataset, columns in manifest["plan"]["document"]["datasets"].items()
        for column in columns
    }
    for snapshot, stages in manifest["verdicts"].items():
        for verdict in stages.values():
            for finding in verdict["detail"].get("findings", []):
                column = finding["column"]
                transform = plan.get((snapshot, column), "")
                yield Found(snapshot, column, finding["info_type"], finding["count"], transform)
