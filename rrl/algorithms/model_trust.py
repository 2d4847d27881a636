"""Whether imagined data are worth using: what the diagnoses have found, against the bounds."""

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
    """Remembers the diagnoses of a world model, and tells whether they are within the bounds.

    Args:
        settings: Of which ``max_replay_error`` and ``min_gradient_agreement`` decide whether the model is trusted, and
            ``shorten_steps`` how far.
    """

    replay_error_ratio: Tensor
    """The newest replay error in units of that of persistence; infinite before there is one. Scalar."""
    gradient_agreement: Tensor
    """Running mean of the cosine of imagined and real policy gradients. Scalar."""
    diagnoses: Tensor
    """Number of diagnoses so far. Scalar."""

    def __init__(self, settings: Imagination) -> None:
        super().__init__()
        self.most, self.least = settings.max_replay_error, settings.min_gradient_agreement
        self.shortens = settings.shorten_steps
        # In checkpoints only where they decide something, so that all others stay as they are.
        for name, value in (("replay_error_ratio", math.inf), ("gradient_agreement", 0.0), ("diagnoses", 0.0)):
            self.register_buffer(name, torch.tensor(value), persistent=self.needs_diagnoses)

    @property
    def needs_diagnoses(self) -> bool:
        """Whether anything depends on what diagnoses find."""
        return self.most is not None or self.least is not None or self.shortens

    def holds(self) -> bool:
        """Tell whether the model is within the bounds; where there is one, not so before the first diagnosis."""
        exact = self.most is None or bool(self.replay_error_ratio < self.most)
        agrees = self.least is None or bool((self.gradient_agreement >= self.least) & (self.diagnoses > 0.0))
        return exact and agrees

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
            rank_zero_warn(f"The world model is {verdict}. {self._findings()}")

    def _findings(self) -> str:
        """Say what the diagnoses have found, beside each bound."""
        parts = []
        if self.most is not None:
            parts.append(
                f"Its replay error is {float(self.replay_error_ratio):.2f} of that of persistence, "
                f"`imagination.max_replay_error` is {self.most:g}."
            )
        if self.least is not None:
            parts.append(
                f"Its policy gradients have a cosine of {float(self.gradient_agreement):.2f} with real ones, "
                f"`imagination.min_gradient_agreement` is {self.least:g}."
            )
        return " ".join(parts)
