"""How good a policy is."""

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
