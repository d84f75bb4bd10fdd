"""Return."""

from pages.shared import header

project = header("Return")
