"""The API's documentation page at `/docs`. It loads nothing from other hosts."""

import base64
import hashlib
import re
from functools import cache

from fastapi import APIRouter, FastAPI, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi_swagger import patch_fastapi

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def show_docs() -> Response:
    content, policy = _page()
    return Response(
        content,
        media_type="text/html",
        headers={"Content-Security-Policy": policy, "Permissions-Policy": "camera=(), geolocation=(), microphone=()"},
    )


def add_to(app: FastAPI) -> None:
    """Serve the page and its assets."""
    # patch_fastapi adds the assets, and a page with absolute URLs that may be wrong behind a proxy. Our page is
    # registered first, so it is the one that is served.
    app.include_router(router)
    patch_fastapi(app, redirect_from_root_to_docs=False)


@cache
def _page() -> tuple[bytes, str]:
    """The page and its Content-Security-Policy."""
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title="Maskery: the API",
        swagger_js_url="swagger/swagger-ui-bundle.js",
        swagger_css_url="swagger/swagger-ui.css",
        swagger_favicon_url="swagger/favicon-32x32.png",
        swagger_ui_parameters={
            "tryItOutEnabled": True,
            "filter": True,
            "displayRequestDuration": True,
            # The default validator is an external service that would receive the server's address.
            "validatorUrl": None,
        },
    )
    content = bytes(page.body)
    (script,) = re.findall(rb"<script>(.*?)</script>", content, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode("ascii")
    policy = {
        "default-src": "'none'",
        "script-src": f"'self' 'sha256-{digest}'",
        # Swagger UI sets inline styles.
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return content, "; ".join(f"{name} {value}" for name, value in policy.items())
