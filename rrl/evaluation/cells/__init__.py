"""Policies under conditions: every cell of a suite, with the same random numbers for all.

- ``conditions``: how one world differs from the nominal one
- ``sweeps``, ``suites``: which conditions, in a suite file; named suites for a task
- ``episode_queue``, ``disturbances``, ``draws``: the native worlds, what disturbs them, common random numbers
- ``evaluate``: a policy in every cell
"""
