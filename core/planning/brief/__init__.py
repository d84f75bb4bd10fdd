"""The brief: what the five rooms of planning say about a project, on one page."""
