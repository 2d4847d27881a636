"""Evaluations that belong to a training run: while it goes on, and of the checkpoint that it has left."""
