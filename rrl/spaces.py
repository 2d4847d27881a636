"""What an algorithm must know of the worlds before it has seen any: one object that the data hands over."""

from __future__ import annotations

from collections.abc import Sequence


class Spaces:
    """Sizes and bounds of a task, in plain types. The command line links it from the data to the algorithm.

    Args:
        obs_dim: Observation size, ``O``.
        action_dim: Action size, ``A``.
        action_low: Lower ends of the action box. Length ``A``.
        action_high: Upper ends of the action box. Length ``A``.
        adversary_dim: Size of the adversary's action, ``F``; 0 where there is none.
        step_seconds: Simulated time of an environment step; None where it is not known.
        can_fail: Whether episodes can terminate.
        healthy_low: Lower bounds of the observations of a running episode. Length ``O``; None where the task has no
            such test.
        healthy_high: Upper bounds of the observations of a running episode.
        horizon: Rows of a trajectory window, ``H``; None where there are no windows.
        start_candidates: Candidates for each start state of imagined trajectories; 0 where there is no choice.
        can_restart: Whether episodes can begin in states that were seen before.
        action_dtype: NumPy's name of the type in which the environment takes its actions.
    """

    # Not a dataclass: the parser would ask the configuration for the fields of one.
    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        action_low: Sequence[float],
        action_high: Sequence[float],
        *,
        adversary_dim: int = 0,
        step_seconds: float | None = None,
        can_fail: bool = True,
        healthy_low: Sequence[float] | None = None,
        healthy_high: Sequence[float] | None = None,
        horizon: int | None = None,
        start_candidates: int = 0,
        can_restart: bool = False,
        action_dtype: str = "float32",
    ) -> None:
        self.obs_dim, self.action_dim, self.adversary_dim = obs_dim, action_dim, adversary_dim
        self.action_low, self.action_high = list(action_low), list(action_high)
        self.step_seconds, self.can_fail = step_seconds, can_fail
        self.healthy_low = None if healthy_low is None else list(healthy_low)
        self.healthy_high = None if healthy_high is None else list(healthy_high)
        self.horizon, self.start_candidates = horizon, start_candidates
        self.can_restart = can_restart
        self.action_dtype = action_dtype
