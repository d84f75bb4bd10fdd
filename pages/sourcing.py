"""Build or buy."""

from pages.shared import header

project = header("Build or buy")
