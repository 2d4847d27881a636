"""Trajectory diffusion with CVaR guidance: imagine short trajectories that the policy should fear.

Each kind of network, solver and rule is a frozen dataclass of settings, which builds it.
"""

from rrl.diffusion.causal import CausalGRU
from rrl.diffusion.denoiser import Denoiser, DenoiserSettings
from rrl.diffusion.guidance_rules import (
    GuidanceSettings,
    NoGuidance,
    NoiseConditional,
    PaperGuidance,
    QuantileConditional,
    ReleasedGuidance,
    TransitionGradient,
    WorstOfM,
    select_worst,
)
from rrl.diffusion.guidance_strength import GuidanceStrength
from rrl.diffusion.models import TrajectoryModels
from rrl.diffusion.normalizer import TrajectoryNormalizer
from rrl.diffusion.policy_guidance import PolicyGuidanceSettings, Reparameterized, Score
from rrl.diffusion.residual_mlp import ResidualMLP, ResidualSizes
from rrl.diffusion.returns import window_returns
from rrl.diffusion.rowwise import RowwiseGRU, RowwiseSampler
from rrl.diffusion.sampler import ImaginedTrajectories, TrajectorySampler
from rrl.diffusion.scheduler import DDPM, FewStep, SolverSettings
from rrl.diffusion.unet import TemporalUNet

__all__ = [
    "DDPM",
    "CausalGRU",
    "Denoiser",
    "DenoiserSettings",
    "FewStep",
    "GuidanceSettings",
    "GuidanceStrength",
    "ImaginedTrajectories",
    "NoGuidance",
    "NoiseConditional",
    "PaperGuidance",
    "PolicyGuidanceSettings",
    "QuantileConditional",
    "ReleasedGuidance",
    "Reparameterized",
    "ResidualMLP",
    "ResidualSizes",
    "RowwiseGRU",
    "RowwiseSampler",
    "Score",
    "SolverSettings",
    "TemporalUNet",
    "TrajectoryModels",
    "TrajectoryNormalizer",
    "TrajectorySampler",
    "TransitionGradient",
    "WorstOfM",
    "select_worst",
    "window_returns",
]
