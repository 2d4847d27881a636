"""How good a policy is.

- ``episodes``: whole episodes of a policy, without bias towards short ones
- ``intervals``: mean, tail and worst case with bootstrap intervals
- ``callback``: evaluation during training
- ``conditions``: how one world differs from the nominal one
- ``suites``, ``suite_files``, ``sweep_axes``: named lists of sweeps over conditions, and the files that hold them
- ``grids``: a policy in every cell of a suite
- ``episode_queue``, ``disturbances``, ``draws``: the native worlds behind it, what disturbs them, common random numbers
- ``results``: one row for each policy and cell
- ``attacks``: the protagonist against fixed and learned adversaries
- ``strongest_attack``: the search for the strongest attack on a policy
- ``fresh_adversaries``: a new adversary trained against a policy from anywhere
- ``attack_cells``: a policy under every attack
- ``policies``, ``policy_files``, ``sb3_policies``: policies from anywhere
- ``command``, ``settings``, ``run``: an evaluation from its configuration to its report
- ``tasks``, ``workers``: its pieces, and the processes that they run in
- ``video``: a film of a policy in one condition
- ``replay``: given actions in the simulator, under many draws of its randomness
- ``imagination``: imagined trajectories against their replays
- ``results``, ``result_files``, ``result_store``: the row of a policy and cell; its files; a folder that is resumed
- ``training.checkpoint``: the nominal evaluation of a checkpoint
- ``report``: what the rows say, as a page, figures, tables and MLflow runs
"""

from rrl.evaluation.attack_cells import AttackCell, AttackOptions, AttackResult, attack_cells, evaluate_attack
from rrl.evaluation.attacks import AttackEvaluation
from rrl.evaluation.callback import NominalEvaluation
from rrl.evaluation.conditions import Condition
from rrl.evaluation.episodes import EpisodeReturns, run_episodes
from rrl.evaluation.fresh_adversaries import FreshAdversary, train_adversary
from rrl.evaluation.grids import PolicyLabel, evaluate_cells
from rrl.evaluation.imagination import ImaginationDiagnostics
from rrl.evaluation.intervals import Estimate, ReturnSummary, summarize_returns
from rrl.evaluation.replay import Replays, replay
from rrl.evaluation.results import CellResult
from rrl.evaluation.suite_files import suite_names
from rrl.evaluation.suites import Cell, Suite, load_suite

__all__ = [
    "AttackCell",
    "AttackEvaluation",
    "AttackOptions",
    "AttackResult",
    "Cell",
    "CellResult",
    "Condition",
    "EpisodeReturns",
    "Estimate",
    "FreshAdversary",
    "ImaginationDiagnostics",
    "NominalEvaluation",
    "PolicyLabel",
    "Replays",
    "ReturnSummary",
    "Suite",
    "attack_cells",
    "evaluate_attack",
    "evaluate_cells",
    "load_suite",
    "replay",
    "run_episodes",
    "suite_names",
    "summarize_returns",
    "train_adversary",
]
