"""How good a policy is.

- ``episodes``: whole episodes of a policy, without bias towards short ones
- ``statistics``: mean, tail and worst case with bootstrap intervals
- ``callback``: evaluation during training
- ``conditions``: how one world differs from the nominal one
- ``suites``, ``suite_files``, ``sweep_axes``: named lists of sweeps over conditions, and the files that hold them
- ``grids``: a policy in every cell of a suite
- ``episode_queue``, ``disturbances``, ``draws``: the native worlds behind it, what disturbs them, common random numbers
- ``results``: one row for each policy and cell
- ``attacks``: the protagonist against fixed and learned adversaries
- ``replay``: given actions in the simulator, under many draws of its randomness
- ``imagination``: imagined trajectories against their replays
"""

from rrl.evaluation.attacks import AttackEvaluation
from rrl.evaluation.callback import NominalEvaluation
from rrl.evaluation.conditions import Condition
from rrl.evaluation.episodes import EpisodeReturns, run_episodes
from rrl.evaluation.grids import PolicyLabel, evaluate_cells
from rrl.evaluation.imagination import ImaginationDiagnostics
from rrl.evaluation.replay import Replays, replay
from rrl.evaluation.results import CellResult
from rrl.evaluation.statistics import Estimate, ReturnSummary, summarize_returns
from rrl.evaluation.suite_files import suite_names
from rrl.evaluation.suites import Cell, Suite, load_suite

__all__ = [
    "AttackEvaluation",
    "Cell",
    "CellResult",
    "Condition",
    "EpisodeReturns",
    "Estimate",
    "ImaginationDiagnostics",
    "NominalEvaluation",
    "PolicyLabel",
    "Replays",
    "ReturnSummary",
    "Suite",
    "evaluate_cells",
    "load_suite",
    "replay",
    "run_episodes",
    "suite_names",
    "summarize_returns",
]
