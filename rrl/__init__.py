"""Train control policies that survive a world which differs from the one they were trained in."""

__version__ = "0.1.0"
