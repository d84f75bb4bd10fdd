"""Untrusted text as safe HTML, for `st.html`: see `core.rendering`."""

from core.rendering.markdown import heading, response_html

__all__ = ["heading", "response_html"]
