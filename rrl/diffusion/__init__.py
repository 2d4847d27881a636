"""Trajectory diffusion with CVaR guidance: imagine short trajectories that the policy should fear.

- ``normalizer``: to and from the scale of the model
- ``denoiser``: what a denoiser is, and its loss
- ``causal``: denoisers that respect the arrow of time, the recurrent one among them
- ``unet``, ``residual_mlp``: the other denoisers
- ``scheduler``: noise levels and reverse steps
- ``returns``: the return model Z, its targets, and moving averages of weights
- ``models``: denoiser and return model as they are trained together
- ``policy_guidance``: keep imagined actions on-policy
- ``guidance``, ``guidance_rules``, ``guidance_strength``: the CVaR guidance, its variants, and how hard it pushes
- ``path_divergence``: relative entropy and likelihood ratio of guided paths, and their budget
- ``sampler``: the denoising loop

Each kind of network, solver and rule is a frozen dataclass of settings, which builds it.
"""

from rrl.diffusion.causal import CausalGRU
from rrl.diffusion.denoiser import Denoiser, DenoiserSettings
from rrl.diffusion.guidance_rules import (
    GuidanceSettings,
    NoGuidance,
    NoiseConditional,
    PaperGuidance,
    ReleasedGuidance,
    WorstOfM,
    select_worst,
)
from rrl.diffusion.guidance_strength import GuidanceStrength
from rrl.diffusion.models import TrajectoryModels
from rrl.diffusion.normalizer import TrajectoryNormalizer
from rrl.diffusion.policy_guidance import PolicyGuidanceSettings, Reparameterized, Score
from rrl.diffusion.residual_mlp import ResidualMLP, ResidualSizes
from rrl.diffusion.returns import ReturnModel, window_returns
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
    "ReleasedGuidance",
    "Reparameterized",
    "ResidualMLP",
    "ResidualSizes",
    "ReturnModel",
    "Score",
    "SolverSettings",
    "TemporalUNet",
    "TrajectoryModels",
    "TrajectoryNormalizer",
    "TrajectorySampler",
    "WorstOfM",
    "select_worst",
    "window_returns",
]
