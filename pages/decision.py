"""Decision."""

from pages.shared import header

project = header("Decision")
