"""How far imagined data are to be trusted: what the diagnoses have found, against what the settings ask."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from rrl.algorithms.mixture import Imagination
from rrl.distributed import all_reduce_mean

AGREEMENT_WEIGHT = 0.2
"""Least weight of the newest diagnosis in the running mean of the agreement: single ones stray by 0.2."""


class ModelTrust(nn.Module):
    """Remembers the diagnoses of a world model, and tells whether its data are used and how far a step on them goes.

    Args:
        settings: Of which ``max_replay_error`` decides the former and ``shorten_steps`` the latter.
    """

    replay_error_ratio: Tensor
    """The newest replay error in units of that of persistence; infinite before there is one. Scalar."""
    gradient_agreement: Tensor
    """Running mean of the cosine of imagined and real policy gradients. Scalar."""
    diagnoses: Tensor
    """Number of diagnoses so far. Scalar."""

    def __init__(self, settings: Imagination) -> None:
        super().__init__()
        self.most, self.shortens = settings.max_replay_error, settings.shorten_steps
        # In checkpoints only where they decide something, so that all others stay as they are.
        for name, value in (("replay_error_ratio", math.inf), ("gradient_agreement", 0.0), ("diagnoses", 0.0)):
            self.register_buffer(name, torch.tensor(value), persistent=self.needs_diagnoses)

    @property
    def needs_diagnoses(self) -> bool:
        """Whether anything depends on what diagnoses find."""
        return self.most is not None or self.shortens

    def holds(self) -> bool:
        """Tell whether the model is within the bound; where there is one, not so before the first diagnosis."""
        return self.most is None or bool(self.replay_error_ratio < self.most)

    def kl_scale(self) -> float:
        """Return the factor of the trust region's bound for a step on imagined data alone, in ``[0, 1]``."""
        return float(self.gradient_agreement.clamp(0.0, 1.0).square()) if self.shortens else 1.0

    def take_in(self, metrics: Mapping[str, float]) -> None:
        """Take in a diagnosis by log key, nothing where it holds no replay; warn where the verdict has changed."""
        if not self.needs_diagnoses or "model/replay_error" not in metrics:
            return
        refused = bool(self.diagnoses > 0.0) and not self.holds()
        ratio = metrics["model/replay_error"] / max(metrics["model/persistence_error"], 1e-8)
        agreement = metrics.get("model/gradient_agreement", 0.0)  # missing where no imagined action is on-policy
        ratio, agreement = all_reduce_mean(self.diagnoses.new_tensor([ratio, agreement]))
        self.diagnoses += 1.0
        self.replay_error_ratio.copy_(ratio)
        self.gradient_agreement.lerp_(agreement, (1.0 / self.diagnoses).clamp(min=AGREEMENT_WEIGHT))
        if self.holds() == refused:
            verdict = "good enough again: imagined data are used" if refused else "too bad: real data alone are used"
            rank_zero_warn(
                f"The world model is {verdict}. Its replay error is {float(self.replay_error_ratio):.2f} of that of "
                f"persistence, `imagination.max_replay_error` is {self.most:g}."
            )
