"""What was released stays visible: history, comparison, proof, and the way back."""

from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from secure_platform.access.resources import Action
from secure_platform.errors import SecurePlatformError, UsageError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.standing import Position
from secure_platform.orchestration.steps.deploy import rollback, signed_package
from secure_platform.orchestration.steps.payload import erased
from secure_platform.orchestration.steps.review import verified_manifest
from secure_platform.release.diff import diff_manifests
from secure_platform.release.layout import CHECKPOINT, SIGNATURE
from secure_platform.release.manifest import MANIFEST
from secure_platform.services import Services
from secure_platform.web.authentication import principal_of
from secure_platform.web.forms import form_of
from secure_platform.web.pages.desk import Desk, download
from secure_platform.web.pages.review import rows_plot
from secure_platform.web.problems import status_of
from secure_platform.web.rendering import go
from secure_platform.web.routes import OwnRoute

_FILES: Final[Mapping[str, str]] = {
    MANIFEST: "application/json",
    SIGNATURE: "application/vnd.dev.sigstore.bundle.v0.3+json",
    CHECKPOINT: "text/plain; charset=utf-8",
}


class Releases(Desk):
    """The history of every product."""

    def products(self, request: Request) -> Response:
        """Every product with its newest release and the one in production."""
        principal = principal_of(request)
        newest: dict[str, ReleaseRecord] = {}
        for record in self.services.gate.list():
            if self.may_with(principal, Action.RELEASE_READ, record):
                newest[record.product] = record
        return self.show(
            request,
            "releases.html",
            newest=newest,
            live={name: self._live(name) for name in newest},
            unreleased=sorted(self.services.products.keys() - newest.keys()),
        )

    def product(self, request: Request) -> Response:
        """The history of one product, newest first."""
        return self._history(request, request.path_params["product"])

    def one(self, request: Request) -> Response:
        """How one release is verified, here or elsewhere."""
        record = self._record(request)
        gone = erased(self.services, record)
        return self.show(request, "proof.html", record=record, verified=None, erased=gone)

    def verify(self, request: Request) -> Response:
        """Derive everything again from the package's bytes, and say what came out."""
        form_of(request)
        record = self._record(request)
        manifest = verified_manifest(self.services, record)
        return self.show(request, "proof.html", record=record, verified=manifest, erased=None)

    def file(self, request: Request) -> Response:
        """The very bytes that were checked, to be verified with other tools."""
        name = request.path_params["file"]
        if name not in _FILES:
            raise UsageError("A release has no such file", f"It has: {', '.join(_FILES)}.")
        record = self._record(request)
        content = signed_package(self.services, record).files[name]
        return download(content, f"{record.product}-{record.number}-{name}", _FILES[name])

    def compare(self, request: Request) -> Response:
        """The difference of any two releases of a product."""
        product = request.path_params["product"]
        old, new = (self._numbered(request, product, request.query_params.get(k, "")) for k in ("old", "new"))
        before, after = (signed_package(self.services, record).manifest for record in (old, new))
        diff = diff_manifests(before, after)
        return self.show(request, "compare.html", old=old, new=new, diff=diff, rows=rows_plot(diff))

    def roll_back(self, request: Request) -> Response:
        """Put the release before the one in production back, for a reason."""
        product, form = request.path_params["product"], form_of(request)
        try:
            seen = self.services.gate.get(form.get("digest", ""))
            if seen.product != product:
                raise UsageError(f"The release is not one of {product}", "Open the page again.")
            rollback(self.services, seen, principal_of(request), reason=form.get("reason", ""))
        except SecurePlatformError as error:
            return self._history(request, product, error=error, reason=form.get("reason", ""))
        return go(request, f"/releases/{product}?done=rollback")

    def _history(
        self,
        request: Request,
        product: str,
        *,
        error: SecurePlatformError | None = None,
        reason: str = "",
    ) -> Response:
        principal = principal_of(request)
        records = [
            record
            for record in self.services.gate.list(product)
            if self.may_with(principal, Action.RELEASE_READ, record)
        ]
        if not records and product not in self.services.products:
            raise UsageError("There is no product of this name that you may see", "See the list of releases.")
        live = self._live(product)
        history = self.services.target.history(product) if live else []
        return self.show(
            request,
            "history.html",
            status=status_of(error) if error else 200,
            error=error,
            reason=reason,
            done=request.query_params.get("done", "") if not error else "",
            product=product,
            records=records[::-1],
            live=live,
            previous=next((r for r in records if history and r.digest == history[0].previous), None),
            may_roll_back=live is not None and self.may_with(principal, Action.RELEASE_ROLLBACK, live),
            deployments=history,
            numbers={record.digest: record.number for record in records},
        )

    def _record(self, request: Request) -> ReleaseRecord:
        return self._numbered(request, request.path_params["product"], request.path_params["number"])

    def _numbered(self, request: Request, product: str, number: str) -> ReleaseRecord:
        for record in self.services.gate.list(product):
            if str(record.number) == number:
                asked = Position(record, (), ()).resource
                self.services.policy.require(principal_of(request), Action.RELEASE_READ, asked)
                return record
        raise UsageError("There is no release of this number", "See the releases of the product.")

    def _live(self, product: str) -> ReleaseRecord | None:
        base = self.services.target.base(product)
        return None if base is None else self.services.gate.get(base)


def routes(services: Services) -> list[OwnRoute]:
    """The pages of this room."""
    room = Releases(services)
    return [
        room.get("/releases", room.products, Action.UI_READ),
        room.get("/releases/{product}", room.product, Action.UI_READ),
        room.get("/releases/{product}/compare", room.compare, Action.UI_READ),
        room.post("/releases/{product}/rollback", room.roll_back, Action.UI_READ),
        room.get("/releases/{product}/{number}", room.one, Action.UI_READ),
        room.post("/releases/{product}/{number}/verify", room.verify, Action.UI_READ),
        room.get("/releases/{product}/{number}/{file}", room.file, Action.UI_READ),
    ]
