"""`/docs`: Swagger UI for `/openapi.json`, with its files from a wheel, so that it works off-line.

FastAPI's own page loads the files from another host, and has an inline script, which the content
security policy forbids.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

# Swagger UI sets inline styles and has pictures inside its style sheet (data: URLs).
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
START = """window.ui = SwaggerUIBundle({
  url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null,
});
"""
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="docs/favicon.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
TYPES = {
    "favicon.png": "image/png",
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "start.js": "text/javascript",
}


@cache
def _file(name: str) -> bytes:
    if name == "start.js":
        return START.encode()
    spec = find_spec("fastapi_offline")  # not imported: only its files are needed
    assert spec is not None  # noqa: S101 - it is a requirement
    assert spec.origin is not None  # noqa: S101
    return (Path(spec.origin).parent / "static" / name).read_bytes()


def add_docs(app: FastAPI) -> None:
    """Serve the page and its files; for an app without `docs_url`."""
    router = APIRouter(include_in_schema=False)

    @router.api_route("/docs", methods=["GET", "HEAD"])
    async def docs() -> HTMLResponse:
        return HTMLResponse(PAGE.format(title=app.title), headers=HEADERS)

    @router.api_route("/docs/{name}", methods=["GET", "HEAD"])
    async def file(name: str) -> Response:
        if name not in TYPES:
            raise HTTPException(404)
        headers = {**HEADERS, "Cache-Control": "public, max-age=86400"}
        return Response(_file(name), headers=headers, media_type=TYPES[name])

    app.include_router(router)
