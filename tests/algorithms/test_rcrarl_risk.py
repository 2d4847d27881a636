"""What the risk does beside the gate: where episodes begin, what the adversary earns, how hard it pushes."""

import lightning
import pytest
import torch

from rrl.algorithms import RCRARL
from rrl.risk import GRU, ForceControl, Restarts, RiskModel, Shaping
from rrl.spaces import Spaces
from tests.algorithms.test_rcrarl import SHORT, hopper, train
from tests.games import fit, game


class Starts(lightning.Callback):
    """Keeps the simulator states in which episodes began, rollout by rollout, and all states of the rollouts."""

    def __init__(self) -> None:
        self.starts: list[torch.Tensor] = []
        self.states: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        began = torch.zeros_like(batch.transitions.terminated)
        began[1:] = batch.transitions.ended[:-1]
        self.starts.append(batch.simulator_states[began])
        self.states.append(batch.simulator_states.flatten(0, 1))


@pytest.mark.mujoco
def test_episodes_of_both_players_begin_in_states_of_the_newest_rollout_of_the_protagonist():
    data, kept = hopper(), Starts()
    lightning.seed_everything(7, verbose=False)
    module = game(RCRARL, data, labels=SHORT, gate=None, restarts=Restarts(choose="uniform", share=1.0))
    fit(module, data, callbacks=[kept])
    for rollout, seen in ((1, 0), (2, 0), (3, 2)):
        known = {tuple(state) for state in kept.states[seen].tolist()}
        assert len(kept.starts[rollout]) > 0
        assert all(tuple(state) in known for state in kept.starts[rollout].tolist())


@pytest.mark.mujoco
@pytest.mark.parametrize("choose", ["band", "riskiest"])
def test_restarts_are_chosen_by_the_risk_and_reported(choose):
    _, steps = train(hopper(), epochs=2, restarts=Restarts(choose=choose, share=1.0))
    assert 0.0 < steps[-2]["restarts/candidates"] < 1.0
    assert 0.0 < steps[-2]["restarts/risk_mean"] < 1.0


@pytest.mark.mujoco
def test_evaluations_begin_as_the_task_has_it_also_while_restarts_are_on():
    data = hopper()
    module, _ = train(data, gate=None, restarts=Restarts(choose="uniform", share=1.0))
    assert module.rollout_restarts() is not None
    for nominal in (False, True):
        own, fresh = data.make_envs(2, seed=5, nominal=nominal), hopper().make_envs(2, seed=5, nominal=nominal)
        assert (own.reset()[0] == fresh.reset()[0]).all()


def test_restarts_in_worlds_whose_states_cannot_be_set_are_refused():
    with pytest.raises(ValueError, match="`restarts` needs worlds whose states can be set"):
        RCRARL(Spaces(3, 1, [-1.0], [1.0], adversary_dim=2, step_seconds=0.1), restarts=Restarts())


@pytest.mark.mujoco
def test_shaping_reaches_the_adversary_alone_and_begins_with_the_first_fit():
    _, steps = train(hopper(), epochs=1, shaping=Shaping(weight=50.0))
    assert "adversary/shaping_rms" not in steps[0]
    assert 0.0 < steps[1]["adversary/shaping_rms"] < 50.0
    module, _ = train(hopper(), epochs=1, shaping=Shaping(weight=50.0))
    lightning.seed_everything(7, verbose=False)
    batch = hopper_batch(module)
    bonus = module._shaped(batch).rewards - batch.rewards
    risk, after = module.risk.calibrator(batch.observations), module.risk.calibrator(batch.next_observations)
    expected = 50.0 * (module.learner.gamma * after * ~batch.terminated - risk)
    torch.testing.assert_close(bonus, expected.float(), rtol=1e-4, atol=1e-3)


def hopper_batch(module):
    data = hopper()
    data.setup("fit")
    return data.collector.collect(module, 64).transitions


@pytest.mark.mujoco
def test_shaping_needs_the_risk_of_single_states():
    with pytest.raises(ValueError, match=r"`shaping` needs a `risk_model\.predictor` of single states, got `GRU`"):
        game(RCRARL, hopper(), shaping=Shaping(), risk_model=RiskModel(predictor=GRU()), labels=SHORT)


@pytest.mark.mujoco
def test_the_force_follows_the_predicted_failure_rate():
    rare, often = ForceControl(target=0.01, start=0.5), ForceControl(target=0.99, start=0.5)
    for control, rises in ((rare, False), (often, True)):
        module, steps = train(hopper(), epochs=1, gate=None, force_control=control)
        shares = [step["adversary/force_share"] for step in steps if "adversary/force_share" in step]
        assert len(set(shares)) == 2  # one for each rollout of the protagonist
        assert (shares[0] > 0.5) == rises
        assert float(module.force_share) == pytest.approx(shares[-1])
        assert steps[0]["adversary/force_rms"] <= 0.5
