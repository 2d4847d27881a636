"""Policies under conditions: every cell of a suite, with the same random numbers for all."""
