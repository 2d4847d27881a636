"""Where imagination begins: real states chosen by their calibrated failure risk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rrl.checks import require_one_of, require_within


@dataclass(frozen=True, kw_only=True)
class Starts:
    """In which states imagined trajectories begin."""

    choose: Literal["at_risk", "riskiest", "uniform"] = "at_risk"
    r"""``at_risk`` draws states with a probability proportional to :math:`r (1 - r)`, the variance of the failure of
    calibrated risk :math:`r`: what the policy does there still decides. ``riskiest`` takes the highest risks, where it
    may be too late; with ``uniform`` this is AD-RRL. The latter two are controls."""
    share: float = 0.5
    """Share of the imagined trajectories that begin in chosen states, in ``[0, 1]``; the others begin uniformly."""

    def __post_init__(self) -> None:
        require_one_of(("at_risk", "riskiest", "uniform"), choose=self.choose)
        require_within("[0, 1]", share=self.share)

    def count(self, num_trajectories: int) -> int:
        """Return how many of so many trajectories begin in chosen states."""
        return 0 if self.choose == "uniform" else round(self.share * num_trajectories)

    def pick(self, risk: Tensor, count: int, *, generator: torch.Generator) -> Tensor:
        """Choose ``B`` candidates without replacement; return their indices ``[..., B]``, ascending.

        ``risk`` ``[..., C]`` in ``[0, 1]`` is that of the candidates, ``C >= B``. States of certain outcome are drawn
        at risk only where there are no others.

        Example:
            >>> risk = torch.tensor([0.0, 0.9, 0.5, 1.0])
            >>> Starts(choose="at_risk").pick(risk, 2, generator=torch.Generator())
            tensor([1, 2])
            >>> Starts(choose="riskiest").pick(risk, 2, generator=torch.Generator())
            tensor([1, 3])

        References:
            Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006: the highest of exponential
            clocks, here on a logarithmic scale.
        """
        keys = risk if self.choose == "riskiest" else _race(risk * (1.0 - risk), generator)
        # In their order, which says nothing of the risk: who takes the first of them must not take the riskiest.
        return keys.topk(count, dim=-1).indices.sort(dim=-1).values


def _race(weights: Tensor, generator: torch.Generator) -> Tensor:
    """Draw keys of which the highest win with probabilities proportional to the weights (Gumbel)."""
    smallest = torch.finfo(weights.dtype).tiny
    uniforms = torch.rand(weights.shape, generator=generator, dtype=weights.dtype, device=weights.device)
    return weights.clamp(min=smallest).log() - (-uniforms.clamp(min=smallest).log()).log()


def mix_starts(uniform: Tensor, chosen: Tensor) -> Tensor:
    """Put chosen start states ``[U, K, O]`` in the places of uniform ones ``[U, B, O]``, spread evenly over them.

    Every part of the trajectories, the guided one and the nominal one, so begins in its share of chosen states.

    Example:
        >>> mix_starts(torch.zeros(1, 4, 1), torch.ones(1, 2, 1)).flatten()
        tensor([1., 0., 1., 0.])
    """
    places = torch.arange(chosen.shape[1], device=chosen.device) * uniform.shape[1] // max(chosen.shape[1], 1)
    return uniform.index_copy(1, places, chosen)
