"""Pages are rendered on the server, everything in them escaped, and they need nothing from elsewhere."""

from functools import partial
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse

from secure_platform.web.authentication import principal_of, session_of
from secure_platform.web.forms import csrf_token, keep_form_cookie
from secure_platform.web.words import FILTERS

TEMPLATES: Final = Path(__file__).parent / "templates"
SEE_OTHER: Final = 303
STATIC: Final = Path(__file__).parent / "static"
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
}
_environment: Final = Environment(
    loader=FileSystemLoader(TEMPLATES),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters.update(FILTERS)


def go(request: Request, path: str) -> RedirectResponse:
    """Send the browser to one of our own pages."""
    return RedirectResponse(request.scope.get("root_path", "") + path, status_code=SEE_OTHER)


def loaded(template: str) -> Template:
    """A file in `templates/`."""
    return _environment.get_template(template)


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Render a page for who is calling.

    Args:
        request: Gives the path prefix (`root_path`), the principal and the session.
        template: File in `templates/`.
        status: HTTP status.
        values: What the template needs besides `principal`, `session`, `root`, `path` and `csrf()`.
    """
    text = loaded(template).render(
        principal=principal_of(request),
        session=session_of(request),
        root=request.scope.get("root_path", ""),
        path=request.url.path,
        csrf=partial(csrf_token, request),
        **values,
    )
    response = HTMLResponse(text, status_code=status, headers=HEADERS)
    keep_form_cookie(request, response)
    return response
