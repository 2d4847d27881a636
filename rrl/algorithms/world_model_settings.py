"""What a user chooses of AD-RRL's world model."""

from __future__ import annotations

from dataclasses import dataclass, field

from rrl.checks import require_positive, require_within
from rrl.diffusion import (
    DenoiserSettings,
    FewStep,
    GuidanceSettings,
    PolicyGuidanceSettings,
    Reparameterized,
    ResidualSizes,
    RowwiseGRU,
    Score,
    SolverSettings,
    TemporalUNet,
    TransitionGradient,
    WorstOfM,
)
from rrl.diffusion.guidance_rules import GradientGuidance


@dataclass(frozen=True, kw_only=True)
class WorldModelSettings:
    """Which models imagine, how, and what they learn."""

    denoiser: DenoiserSettings = field(default_factory=TemporalUNet)
    """The network that tells what actions lead to."""
    return_model: ResidualSizes = field(default_factory=ResidualSizes)
    """Sizes of the network that judges returns, where the guidance needs one: a residual perceptron."""
    guidance: GuidanceSettings = field(default_factory=WorstOfM)
    """How trajectories are tilted towards low returns."""
    solver: SolverSettings = field(default_factory=FewStep)
    """In which steps noise becomes a trajectory."""
    policy_guidance: PolicyGuidanceSettings = field(default_factory=Reparameterized)
    """How imagined actions are kept on-policy."""
    bootstrap: bool = True
    """Continue the return of a window by the value of its last state, and let the return model predict by how much it
    beats the value of its first. False in the paper."""
    learning_rate: float = 1e-3
    """Adam's step size for denoiser and return model; ``3e-4`` in the paper."""
    ema_decay: float = 0.995
    """Decay of the moving averages of both models, which imagine; ``0.99`` every 10 steps in the paper."""

    def __post_init__(self) -> None:
        require_positive(learning_rate=self.learning_rate)
        require_within("[0, 1)", ema_decay=self.ema_decay)
        if isinstance(self.guidance, TransitionGradient) and not isinstance(self.denoiser, RowwiseGRU):
            raise ValueError(
                f"`guidance` TransitionGradient shifts single transitions, which `denoiser` "
                f"{type(self.denoiser).__name__} never sees: choose RowwiseGRU, or PaperGuidance."
            )
        if isinstance(self.denoiser, RowwiseGRU):
            for name, setting, kind in (
                ("guidance", self.guidance, GradientGuidance),
                ("policy_guidance", self.policy_guidance, Score),
            ):
                if isinstance(setting, kind):
                    raise ValueError(
                        f"`{name}` {type(setting).__name__} revises whole trajectories, which RowwiseGRU never sees: "
                        f"choose another, or another `denoiser`."
                    )
