"""Evaluations that belong to a training run."""
