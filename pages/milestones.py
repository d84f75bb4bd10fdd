"""Milestones."""

from pages.shared import header

project = header("Milestones")
