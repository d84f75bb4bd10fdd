"""The API's description as a page, at /docs: Swagger UI from files that are installed with
the program. FastAPI's own page loads them from a CDN, and has a script within it, which
the Content-Security-Policy refuses."""

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Prefloop API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="docs/assets/swagger-ui.css">
<link rel="icon" href="docs/assets/favicon.png"></head>
<body><div id="swagger-ui"></div>
<script src="docs/assets/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script></body></html>
"""

_START = """SwaggerUIBundle({
  url: new URL("openapi.json", document.baseURI).href,
  dom_id: "#swagger-ui",
  deepLinking: true,
  persistAuthorization: true,
  displayRequestDuration: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"""


def add_docs(api: FastAPI) -> None:
    @api.get("/docs", include_in_schema=False)
    def page(_request: Request) -> HTMLResponse:
        return HTMLResponse(_PAGE)

    @api.get("/docs/start.js", include_in_schema=False)
    def start() -> Response:
        return Response(_START, media_type="text/javascript")

    # fastapi-offline ships the files of swagger-ui-dist; only those are used.
    api.mount("/docs/assets", StaticFiles(packages=[("fastapi_offline", "static")]), name="docs-assets")
