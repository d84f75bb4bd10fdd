"""Team."""

from pages.shared import header

project = header("Team")
