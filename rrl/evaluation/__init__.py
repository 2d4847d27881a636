"""How good a policy is.

- ``episodes``: whole episodes of a policy, without bias towards short ones
- ``rows``, ``store``: the row of a policy and cell; files of rows, and a folder of them that is resumed
- ``cells``: a policy in every cell of a suite
- ``attacks``: a policy under every attack, and the search for the strongest
- ``training``: evaluations that belong to a training run
- ``policies``, ``policies_sb3``: policies from anywhere
- ``command``, ``settings``, ``run``: an evaluation from its configuration to its report
- ``tasks``: its pieces, and the processes that they run in
- ``video``: a film of a policy in one condition
- ``intervals``: mean, tail and worst case with bootstrap intervals
- ``report``: what the rows say, as a page, figures, tables and MLflow runs
"""

from rrl.evaluation.attacks.evaluate import AttackCell, AttackOptions, evaluate_attack
from rrl.evaluation.attacks.trained import train_adversary
from rrl.evaluation.cells.evaluate import evaluate_cells
from rrl.evaluation.cells.suites import Cell, load_suite
from rrl.evaluation.episodes import EpisodeReturns, Trial, run_episodes
from rrl.evaluation.intervals import summarize_returns
from rrl.evaluation.training.imagination import ImaginationDiagnostics
from rrl.evaluation.training.nominal import NominalEvaluation
from rrl.evaluation.training.under_attack import AttackEvaluation

__all__ = [
    "AttackCell",
    "AttackEvaluation",
    "AttackOptions",
    "Cell",
    "EpisodeReturns",
    "ImaginationDiagnostics",
    "NominalEvaluation",
    "Trial",
    "evaluate_attack",
    "evaluate_cells",
    "load_suite",
    "run_episodes",
    "summarize_returns",
    "train_adversary",
]
