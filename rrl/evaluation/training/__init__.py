"""Evaluations that belong to a training run.

- ``nominal``: in unchanged worlds, while the run goes on
- ``under_attack``: the protagonist of a game against fixed and learned adversaries
- ``imagination``: imagined trajectories against their replays in the simulator
- ``checkpoint``: what a run has left, in unchanged worlds
"""
