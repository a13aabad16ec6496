"""The OpenAPI document as a page: Swagger UI from the assets that BentoML installs, so that no network is needed.

BentoML keeps them for its own page, in a folder that is private by name; where it has none any more, the page is a bare
list of the operations. BentoML itself is not imported for it. The page loads nothing from elsewhere and its
Content-Security-Policy says so; all its addresses are relative, so it works under ``/endpoints/NAME`` too.
"""

from __future__ import annotations

import html
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mlflow_deploy_plugin.serving.codecs.base import JSON, Answer, Call, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FOLDER: Final = Path("_internal", "server", "static_content")
ASSETS: Final = {
    "swagger-ui.css": b"text/css; charset=utf-8",
    "swagger-ui-bundle.js": b"text/javascript; charset=utf-8",
    "favicon-32x32.png": b"image/png",
}
FILES: Final = {"favicon-32x32.png": "favicon-light-32x32.png"}
"""Names in BentoML's folder, where they differ."""
START: Final = b"""addEventListener("load", () => SwaggerUIBundle({
  url: new URL("openapi.json", document.baseURI).href, dom_id: "#page", deepLinking: true, validatorUrl: null,
}));
"""
PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<link rel="stylesheet" href="docs/swagger-ui.css"><link rel="icon" href="docs/favicon-32x32.png"></head>
<body><div id="page"></div><script src="docs/swagger-ui-bundle.js"></script><script src="docs/start.js"></script></body>
</html>
"""
BARE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body><h1>{title}</h1><p>The whole is in <a href="openapi.json">openapi.json</a>.</p><ul>{operations}</ul></body></html>
"""
POLICY: Final = (
    b"content-security-policy",
    b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
)
HTML: Final = b"text/html; charset=utf-8"
KEPT: Final = (b"cache-control", b"max-age=3600")


class SwaggerPage:
    """``/docs`` and what it loads."""

    def __init__(self, title: str, document: Callable[[], Mapping[str, Any]], folder: Path | None = None) -> None:
        self._title = html.escape(title)
        self._document = document
        self._folder = folder or _installed()

    def routes(self) -> tuple[Answer, ...]:
        """The page and its parts."""
        return (Answer(path="/docs", answer=self._page), Answer(path="/docs/{asset}", answer=self._asset))

    def _page(self, call: Call) -> Reply:  # noqa: ARG002  a page is a page
        if self._folder is not None:
            return Reply(200, HTML, PAGE.format(title=self._title).encode(), (POLICY,))
        listed = [
            f"<li><code>{method.upper()} {html.escape(path)}</code> {html.escape(operation['summary'])}</li>"
            for path, item in self._document()["paths"].items()
            for method, operation in item.items()
        ]
        return Reply(200, HTML, BARE.format(title=self._title, operations="".join(listed)).encode(), (POLICY,))

    def _asset(self, call: Call) -> Reply:
        name = call.captures["asset"]
        if name == "start.js":
            return Reply(200, b"text/javascript; charset=utf-8", START, (KEPT,))
        if name not in ASSETS or self._folder is None:
            return Reply(404, JSON, b'{"detail":"Not Found"}')
        return Reply(200, ASSETS[name], _read(self._folder / FILES.get(name, name)), (KEPT,))


def _installed() -> Path | None:
    found = find_spec("bentoml")
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / FOLDER
    return folder if all((folder / FILES.get(name, name)).is_file() for name in ASSETS) else None


@cache
def _read(path: Path) -> bytes:
    return path.read_bytes()
