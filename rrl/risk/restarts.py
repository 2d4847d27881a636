"""Where episodes of training begin: in states that were seen, chosen by their calibrated failure risk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from rrl.checks import require_one_of, require_within

RISKIEST_SHARE = 0.1
"""Share of the states that count as the riskiest."""


@dataclass(frozen=True, kw_only=True)
class Restarts:
    """In which states a share of the episodes of training begins, among those of the newest rollout.

    Once failures are rare, what comes before one is hardly ever seen. Beginning there practises recoveries; the risk
    tells where they are still possible. Evaluations always begin as the task has it.

    References:
        The idea of practising from chosen states is that of Florensa et al., "Reverse curriculum generation for
        reinforcement learning", CoRL 2017. To choose them by a calibrated risk, for both players, is ours.
    """

    choose: Literal["band", "at_risk", "riskiest", "uniform"] = "band"
    r"""``band`` draws among the states whose risk lies in a band, ``at_risk`` with a probability proportional to
    :math:`r (1 - r)`. Controls: the ``riskiest`` tenth, and all states alike (``uniform``)."""
    share: float = 0.5
    """Share of the episodes, in ``[0, 1]``."""
    band: tuple[float, float] = (0.1, 0.9)
    """Lowest and highest risk of the band, ascending in ``[0, 1]``."""
    signal: Literal["calibrated", "raw"] = "calibrated"
    """Which risk chooses; ``raw`` is a control that tells what calibration contributes."""

    def __post_init__(self) -> None:
        require_one_of(("band", "at_risk", "riskiest", "uniform"), choose=self.choose)
        require_one_of(("calibrated", "raw"), signal=self.signal)
        require_within("[0, 1]", share=self.share)
        low, high = self.band
        if not 0.0 <= low <= high <= 1.0:
            raise ValueError(f"`band` must be ascending within [0, 1], got {self.band}.")

    def weights(self, risk: Tensor) -> Tensor:
        """Weigh states of given risk ``[P]`` in ``[0, 1]``; they are drawn in proportion. Shape ``[P]``.

        Example:
            >>> import torch
            >>> risk = torch.tensor([0.0, 0.5, 1.0])
            >>> Restarts(choose="band").weights(risk)
            tensor([0., 1., 0.])
            >>> Restarts(choose="at_risk").weights(risk)
            tensor([0.0000, 0.2500, 0.0000])
            >>> Restarts(choose="riskiest").weights(risk)
            tensor([0., 0., 1.])
        """
        if self.choose == "at_risk":
            return risk * (1.0 - risk)
        if self.choose == "riskiest":
            return (risk >= risk.quantile(1.0 - RISKIEST_SHARE)).to(risk)
        low, high = self.band if self.choose == "band" else (0.0, 1.0)
        return ((risk >= low) & (risk <= high)).to(risk)
