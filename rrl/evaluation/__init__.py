"""How good a policy is.

- ``episodes``, ``rows``, ``store``: whole episodes, the row that sums them up, a folder of rows that is resumed
- ``cells``, ``attacks``: a policy in every cell of a suite, and under every attack
- ``training``: evaluations that belong to a training run
- ``policies``, ``policies_sb3``: policies from anywhere
- ``command``, ``settings``, ``run``, ``tasks``: an evaluation from its configuration to its report, piece by piece
- ``intervals``, ``report``, ``video``: what the rows say
"""

from rrl.evaluation.cells.evaluate import evaluate_cells
from rrl.evaluation.cells.suites import Cell, load_suite
from rrl.evaluation.episodes import EpisodeReturns, run_episodes
from rrl.evaluation.intervals import summarize_returns
from rrl.evaluation.training.callbacks import AttackEvaluation, NominalEvaluation
from rrl.evaluation.training.imagination import ImaginationDiagnostics

__all__ = [
    "AttackEvaluation",
    "Cell",
    "EpisodeReturns",
    "ImaginationDiagnostics",
    "NominalEvaluation",
    "evaluate_cells",
    "load_suite",
    "run_episodes",
    "summarize_returns",
]
