"""The failure risk as the adversary's dense signal: a reward that leaves the game's solution where it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from rrl.checks import require_one_of, require_positive


@dataclass(frozen=True, kw_only=True)
class Shaping:
    r"""What the adversary earns beside the protagonist's loss, since failures are rare and late.

    With the potential :math:`\Phi = w\, r`, the risk times a weight, it is :math:`\gamma \Phi(s') - \Phi(s)`. Over an
    episode this sums up to a constant of its first state, so that no policy becomes better or worse by it.

    References:
        Ng, Harada and Russell, "Policy invariance under reward transformations", ICML 1999. The risk as the potential
        is ours.
    """

    weight: float = 100.0
    """Value of certain failure, in units of reward."""
    signal: Literal["calibrated", "raw"] = "calibrated"
    """Which risk; ``raw`` is a control that tells what calibration contributes."""

    def __post_init__(self) -> None:
        require_positive(weight=self.weight)
        require_one_of(("calibrated", "raw"), signal=self.signal)


def potential_shaping(risk: Tensor, next_risk: Tensor, terminated: Tensor, *, gamma: float) -> Tensor:
    r"""Compute :math:`\gamma r(s') - r(s)`, of any shape; where an episode ended for good the potential is 0.

    At a time limit the value continues, and the potential with it.

    Example:
        >>> import torch
        >>> risk, after = torch.tensor([0.2, 0.6]), torch.tensor([0.6, 1.0])
        >>> potential_shaping(risk, after, torch.tensor([False, True]), gamma=1.0)
        tensor([ 0.4000, -0.6000])
    """
    return gamma * next_risk * ~terminated - risk
