"""The parts of benchmarks/active_selection.py."""
