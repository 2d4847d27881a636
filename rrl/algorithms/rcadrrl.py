"""RC-ADRRL: AD-RRL whose imagination begins in states at risk, as a calibrated failure risk tells them."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from rrl.a2c import A2C
from rrl.algorithms.adrrl import ADRRL
from rrl.algorithms.mixture import Imagination
from rrl.algorithms.world_model_settings import WorldModelSettings
from rrl.distributed import all_reduce_mean
from rrl.policies import Learner
from rrl.random_streams import Purpose, torch_stream
from rrl.risk import HorizonLabels, LabelSource, RiskLearner, RiskModel, ScoredStates, Starts
from rrl.risk.label_sources import Horizon
from rrl.risk.starts import mix_starts
from rrl.spaces import Spaces
from rrl.trpo import TrustRegion
from rrl.types import DynaBatch


class RCADRRL(ADRRL):
    """Risk-calibrated adversarial diffusion: imagination begins where a calibrated risk says that failure is open.

    As :class:`~rrl.algorithms.adrrl.ADRRL`, and on each fresh rollout, as in :class:`~rrl.algorithms.rcrarl.RCRARL`:
    label its states, score the risk model on them, which has not seen them, add them to the data and refit. The risk
    then chooses some of the start states among the candidates of the batch; before its first fit none are chosen.
    There is no adversary: what it was in RC-RARL, imagination is here. Without chosen states this is AD-RRL, bit for
    bit.

    Logs what AD-RRL logs, the ``risk/*`` of RC-RARL, and

    - ``diffusion/start_risk_mean``: mean calibrated risk of the states in which imagination begins.

    Args:
        spaces: See AD-RRL, as for the next four.
        learner: See AD-RRL.
        policy_update: See AD-RRL.
        world_model: See AD-RRL.
        imagination: See AD-RRL.
        labels: What counts as a failure: `HorizonLabels` or `QuantileLabels`, which look at the rollout alone.
        risk_model: The model of the risk, of single states.
        starts: In which states imagination begins. Choosing needs ``start_candidates`` of the data.

    References:
        Foffano, Russo and Proutiere, "Adversarial diffusion for robust reinforcement learning", NeurIPS 2025, and Mou
        and Bai, "Risk-calibrated robust adversarial reinforcement learning", 2025. Joining them is ours.
    """

    def __init__(
        self,
        spaces: Spaces,
        *,
        learner: Learner = Learner(),
        policy_update: TrustRegion | A2C = TrustRegion(),
        world_model: WorldModelSettings = WorldModelSettings(),
        imagination: Imagination = Imagination(),
        labels: LabelSource = HorizonLabels(),
        risk_model: RiskModel = RiskModel(),
        starts: Starts = Starts(),
    ) -> None:
        super().__init__(
            spaces, learner=learner, policy_update=policy_update, world_model=world_model, imagination=imagination
        )
        self.remember(labels=labels, risk_model=risk_model, starts=starts)
        if not isinstance(labels, Horizon):
            got = type(labels).__name__
            raise ValueError(f"`labels` must be `HorizonLabels` or `QuantileLabels` without an adversary, got `{got}`.")
        self.risk, self.starts = RiskLearner(spaces, labels=labels, model=risk_model), starts
        if self.risk.calibrator.predictor.history is not None:
            got = type(risk_model.predictor).__name__
            raise ValueError(f"`risk_model.predictor` must judge start states without their history, got `{got}`.")
        if starts.choose != "uniform" and starts.share > 0.0 and spaces.start_candidates == 0:
            raise ValueError("`data.start_candidates` must be at least 1 where start states are chosen, got 0.")
        self._scored: dict[str, ScoredStates] = {}

    @property
    def num_protagonist_updates(self) -> int:
        """Iterations so far."""
        return int(self.risk.states.num_iterations)

    def check_rollouts(self, num_steps: int) -> None:
        """Refuse rollouts in which no state could be labelled."""
        self.risk.labeller.check_rollouts(num_steps)

    def training_step(self, batch: DynaBatch, batch_idx: int) -> None:
        """Learn the risk from the fresh rollout, choose start states, and perform one pass of AD-RRL."""
        with self.timed("risk"):
            metrics, self._scored = self.risk.learn(batch.rollout, update=self.num_protagonist_updates + 1)
            self.log_metrics(metrics)
            batch = replace(batch, start_observations=self._choose_starts(batch))
        super().training_step(batch, batch_idx)

    def _choose_starts(self, batch: DynaBatch) -> Tensor:
        """Put chosen candidates in place of some start states, and log the risk of all. Shape ``[U, B, O]``."""
        starts, candidates = batch.start_observations, batch.candidate_starts
        count = self.starts.count(starts.shape[1])
        if not self.risk.calibrator.fitted:
            return starts
        if count > 0 and candidates is not None:
            # A stream for each iteration: a resumed run draws the same without further state.
            place = (int(self.env_steps), self.global_rank)
            generator = torch_stream(Purpose.START_CHOICE, *place, device=self.device)
            picked = self.starts.pick(self.risk.calibrator(candidates), count, generator=generator)
            chosen = candidates.gather(1, picked.unsqueeze(-1).expand(-1, -1, candidates.shape[-1]))
            starts = mix_starts(starts, chosen)
        self.log_metrics({"diffusion/start_risk_mean": all_reduce_mean(self.risk.calibrator(starts).mean())})
        return starts

    def reliability_states(self) -> dict[str, ScoredStates] | None:
        """Return what a reliability diagram shows, see :class:`rrl.risk.learner.RiskReport`; None where none is due."""
        is_time = self.num_protagonist_updates in self.risk.settings.reliability_updates
        return self._scored if is_time and self._scored else None
