"""Brief."""

from pages.shared import header

project = header("Brief")
