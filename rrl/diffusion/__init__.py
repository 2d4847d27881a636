"""Trajectory diffusion with CVaR guidance: imagine short trajectories that the policy should fear.

- ``normalizer``: to and from the scale of the model
- ``conditioning``: pin the start state
- ``denoiser``: what a denoiser is, and its loss
- ``unet``, ``residual_mlp``, ``causal_gru``: the denoisers
- ``causal``: any denoiser, made to respect the arrow of time
- ``scheduler``: noise levels and reverse steps
- ``returns``: the return model Z, its targets, and moving averages of weights
- ``policy_guidance``: keep imagined actions on-policy
- ``guidance``, ``guidance_strength``: the CVaR guidance, and how hard it pushes
- ``path_divergence``: relative entropy and likelihood ratio of guided paths, and their budget
- ``sampler``: the denoising loop
"""

from rrl.diffusion.causal import CausalDenoiser
from rrl.diffusion.causal_gru import CausalGRUDenoiser
from rrl.diffusion.conditioning import apply_conditioning
from rrl.diffusion.denoiser import Denoiser, TrainableDenoiser, add_noise
from rrl.diffusion.guidance import (
    Guidance,
    NoiseConditionalGuidance,
    PaperGuidance,
    ReleasedGuidance,
    ReverseStep,
    select_worst,
)
from rrl.diffusion.guidance_strength import GuidanceStrength
from rrl.diffusion.normalizer import DecodedTrajectories, TrajectoryNormalizer
from rrl.diffusion.path_divergence import kl_budget
from rrl.diffusion.policy_guidance import PolicyGuidance, ReparameterizedGuidance, ScoreGuidance
from rrl.diffusion.residual_mlp import ResidualMLPDenoiser
from rrl.diffusion.returns import ReturnModel, ema_update, window_returns
from rrl.diffusion.sampler import ImaginedTrajectories, TrajectorySampler
from rrl.diffusion.scheduler import NoiseSchedule, ddpm_schedule, few_step_schedule, posterior_variance
from rrl.diffusion.unet import TemporalUNet

__all__ = [
    "CausalDenoiser",
    "CausalGRUDenoiser",
    "DecodedTrajectories",
    "Denoiser",
    "Guidance",
    "GuidanceStrength",
    "ImaginedTrajectories",
    "NoiseConditionalGuidance",
    "NoiseSchedule",
    "PaperGuidance",
    "PolicyGuidance",
    "ReleasedGuidance",
    "ReparameterizedGuidance",
    "ResidualMLPDenoiser",
    "ReturnModel",
    "ReverseStep",
    "ScoreGuidance",
    "TemporalUNet",
    "TrainableDenoiser",
    "TrajectoryNormalizer",
    "TrajectorySampler",
    "add_noise",
    "apply_conditioning",
    "ddpm_schedule",
    "ema_update",
    "few_step_schedule",
    "kl_budget",
    "posterior_variance",
    "select_worst",
    "window_returns",
]
