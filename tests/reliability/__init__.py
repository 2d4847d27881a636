"""Faults on purpose, counted: what is lost, and what the user sees. ``python -m tests.reliability --help``."""
