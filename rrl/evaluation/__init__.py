"""How good a policy is.

- ``episodes``: whole episodes of a policy, without bias towards short ones
- ``statistics``: mean, tail and worst case with bootstrap intervals
- ``callback``: evaluation during training
"""

from rrl.evaluation.callback import NominalEvaluation
from rrl.evaluation.episodes import EpisodeReturns, run_episodes
from rrl.evaluation.statistics import Estimate, ReturnSummary, summarize_returns

__all__ = ["EpisodeReturns", "Estimate", "NominalEvaluation", "ReturnSummary", "run_episodes", "summarize_returns"]
