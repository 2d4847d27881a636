"""Trained policies that come with the package, each with what is known of it."""
