"""The game: without force it is TRPO, the phases alternate, and each player climbs its own return."""

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback

import train as train_script
from rrl.algorithms import RARL, TRPO
from rrl.checkpoints import CheckpointError
from rrl.checkpoints.loading import load_algorithm
from rrl.data import RolloutDataModule
from rrl.spaces import Spaces
from tests.conftest import PROJECT
from tests.games import ADVERSARY_SADDLE, PROTAGONIST_SADDLE, SaddleData, fit, game

HOPPER = {"num_envs": 4, "num_steps": 64, "iterations_per_epoch": 3}


class Metrics(Callback):
    """Keeps what is logged in each training step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer, *args: object) -> None:
        self.steps.append({
            key: float(value) for key, value in trainer.callback_metrics.items() if not key.startswith("time/")
        })


def train(algorithm, data, *, epochs: int = 1, **options: object):
    lightning.seed_everything(7, verbose=False)
    module = game(algorithm, data, **options) if options or algorithm is not TRPO else TRPO(data.spaces)
    metrics = Metrics()
    fit(module, data, epochs=epochs, callbacks=[metrics])
    return module, metrics.steps


def players_equal(first, second) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(mine, other) for mine, other in pairs)


@pytest.mark.mujoco
def test_without_force_the_protagonists_phases_are_trpo_bit_for_bit():
    forceless, logged = train(
        RARL, RolloutDataModule("rrl/HopperAdv-v1", force_limit=0.0, **HOPPER), adversary_updates=0
    )
    alone, expected = train(TRPO, RolloutDataModule("Hopper-v5", **HOPPER))
    assert players_equal(forceless.protagonist, alone.protagonist)
    assert expected == [{key: step[key] for key in expected[0]} for step in logged]


@pytest.mark.mujoco
def test_with_force_it_is_not_trpo():
    data = RolloutDataModule("rrl/HopperAdv-v1", force_limit=50.0, **HOPPER)
    forced, _ = train(RARL, data, adversary_updates=0)
    alone, _ = train(TRPO, RolloutDataModule("Hopper-v5", **HOPPER))
    assert not players_equal(forced.protagonist, alone.protagonist)


def saddle(iterations: int, num_steps: int = 32) -> SaddleData:
    return SaddleData("saddle", num_envs=16, num_steps=num_steps, iterations_per_epoch=iterations)


def test_phases_alternate_as_configured():
    module = game(RARL, saddle(1), protagonist_updates=2, adversary_updates=1, warmup_updates=1)
    phases = []
    for update in range(7):
        module.num_updates.fill_(update)
        phases.append(module.phase[0])
    assert "".join(phases) == "pppappa"
    module.num_updates.zero_()
    assert module.rollout_adversary() is None


def test_a_phase_changes_its_own_player_only():
    module, _ = train(RARL, saddle(1))
    untouched, _ = train(RARL, saddle(1), protagonist_updates=5)
    assert players_equal(module.adversary, untouched.adversary)
    after_both, steps = train(RARL, saddle(2))
    assert players_equal(module.protagonist, after_both.protagonist)
    assert not players_equal(module.adversary, after_both.adversary)
    assert "adversary/surrogate" in steps[1]


def mean_actions(module: RARL) -> tuple[float, float]:
    nothing = torch.zeros(1, 1)
    return float(module.protagonist.act(nothing, nothing)), float(module.adversary.act(nothing, nothing))


def test_the_adversarys_update_raises_its_return():
    data = saddle(20)
    module, _ = train(RARL, data, protagonist_updates=1, adversary_updates=19, max_kl=0.03, initial_log_std=-1.0)
    # Its return is -(y + 0.5)^2 up to a constant: it began at y = 0.
    assert mean_actions(module)[1] == pytest.approx(ADVERSARY_SADDLE, abs=0.2)


def test_the_pair_approaches_the_saddle_point():
    module, _ = train(RARL, saddle(40), max_kl=0.03, initial_log_std=-1.0)
    assert mean_actions(module) == pytest.approx((PROTAGONIST_SADDLE, ADVERSARY_SADDLE), abs=0.15)


def test_a_uniform_opponent_pushes_within_the_limit_and_never_learns():
    module, steps = train(RARL, saddle(2), opponent="uniform")
    assert steps[-1]["adversary/force_rms"] == pytest.approx(3.0**-0.5, abs=0.05)
    assert "adversary/surrogate" not in steps[-1]
    assert module.phase == "protagonist"


def test_a_warm_start_takes_over_both_players(workdir):
    assert train_main(["--trainer.logger.init_args.run_name=first"]) == 0
    path = "runs/first/checkpoints/last.ckpt"
    module = game(RARL, pendulum(), warm_start=path)
    fit(module, pendulum(), max_steps=0)
    assert players_equal(module.adversary, load_algorithm(path).adversary)
    assert players_equal(module.protagonist, load_algorithm(path).protagonist)
    attack = game(RARL, pendulum(), warm_start=path, fresh_adversary=True, protagonist_updates=0)
    fit(attack, pendulum())
    assert players_equal(attack.protagonist, load_algorithm(path).protagonist)
    assert attack.num_updates == 2
    other = game(RARL, pendulum(), warm_start=path, hidden_sizes=(8,))
    with pytest.raises(CheckpointError, match="The protagonist of `warm_start`"):
        fit(other, pendulum())


def pendulum() -> RolloutDataModule:
    return RolloutDataModule("rrl/InvertedPendulumAdv-v1", num_envs=2, num_steps=8, iterations_per_epoch=2)


def train_main(arguments: list[str]) -> int:
    sizes_of_run = ["--data.init_args.num_envs=2", "--data.init_args.num_steps=8", "--trainer.max_epochs=1"]
    network = "--model.init_args.learner.hidden_sizes=[64, 64]"
    config = str(PROJECT / "conf" / "rarl_invertedpendulum_rllab.yaml")
    return train_script.main(["--config", config, *sizes_of_run, network, "--attacks.every_n_epochs=0", *arguments])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protagonist_updates": -1}, "`protagonist_updates` must be at least 0"),
        ({"protagonist_updates": 0, "opponent": "uniform"}, "or nobody learns"),
        ({"adversary_updates": -1}, "`adversary_updates` must be at least 0"),
    ],
)
def test_bad_input_is_named(options, message: str):
    with pytest.raises(ValueError, match=message):
        game(RARL, saddle(1), **options)


def test_a_task_without_an_adversary_is_refused():
    with pytest.raises(ValueError, match="needs a task with an adversary"):
        RARL(Spaces(1, 1, [-1.0], [1.0]))
