"""Security headers: what a page of ours may load, and who may frame it.

The Content-Security-Policy is the second line of defence around responses of language
models, after the rendering: whatever gets into a page, it cannot load an image, a
script or a style from elsewhere, nor send anything there.

What Streamlit needs beyond 'self', found by looking at a browser's console:
styles within elements (emotion writes them), blob: and data: for images, fonts and
downloads it makes itself, WebAssembly, and the one inline script of its index.html,
which is admitted by its hash. Scripts from blob: are how it runs a component of ours (the
annotators' desk): only a script that runs already can make one, injected HTML cannot. Charts are drawn by Vega's interpreter, so there is no
'unsafe-eval'.
"""

import base64
import hashlib
import re
from functools import lru_cache
from pathlib import Path

import streamlit

_INLINE_SCRIPT = re.compile(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)


@lru_cache
def inline_script_hashes() -> tuple[str, ...]:
    """CSP source expressions for the inline scripts of Streamlit's index.html."""
    page = Path(streamlit.__file__).parent / "static" / "index.html"
    scripts = _INLINE_SCRIPT.findall(page.read_text(encoding="utf-8"))
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    return tuple(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


@lru_cache
def content_security_policy() -> str:
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' blob: 'wasm-unsafe-eval' {' '.join(inline_script_hashes())}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "media-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self' data: blob:",
            "worker-src 'self' blob:",
            "frame-src 'self'",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'self'",
        )
    )


@lru_cache
def security_headers() -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b"content-security-policy", content_security_policy().encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"SAMEORIGIN"),
        (b"referrer-policy", b"same-origin"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    )
