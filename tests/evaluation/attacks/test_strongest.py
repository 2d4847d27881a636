"""The strongest attack is searched among held pushes and trained adversaries, in episodes of its own."""

import numpy as np
import pytest

from rrl.evaluation.attacks import strongest
from rrl.evaluation.attacks.strongest import Battle, find_strongest, held_pushes
from rrl.evaluation.attacks.trained import FreshAdversary, battlefield
from rrl.evaluation.episodes import EpisodeReturns, Trial
from rrl.random_streams import Purpose, derived_seed
from tests.evaluation.controllers import balance

GAME = "rrl/InvertedPendulumAdv-v1"


class Arena:
    """A battle in which each attack leaves what its name says."""

    policy, force_limit, trial = None, 5.0, Trial(GAME, 2, seed=1)
    field = battlefield(trial)

    def __init__(self, left: dict[str, float]) -> None:
        self.left, self.seeds = left, set()

    def fight(self, make, seed):
        self.seeds.add(seed)
        action = make((1, 2), seed)(np.zeros((1, 4)), np.zeros(1, dtype=bool))[0]
        returns = np.full(2, self.left[str(action.tolist())])
        return EpisodeReturns(returns, np.ones(2, dtype=np.int64), np.zeros(2, dtype=bool), None), 0.0


@pytest.fixture
def trainings(monkeypatch):
    """Replaces the training by an adversary of one action, and keeps where each began."""
    starts = []

    def train(policy, trial, *, num_steps, start, **more):
        starts.append((trial.seed, start))
        return FreshAdversary(lambda shape, seed: lambda observations, flags: np.full(shape, 0.5), num_steps)

    monkeypatch.setattr(strongest, "train_adversary", train)
    return starts


def left(trained: float) -> dict[str, float]:
    pushes = {"[1.0, 1.0]": 4.0, "[1.0, -1.0]": 3.0, "[-1.0, 1.0]": 2.0, "[-1.0, -1.0]": 5.0}
    return {**pushes, "[0.5, 0.5]": trained}


@pytest.mark.parametrize(("trained", "expected"), [(1.0, "trained 1"), (2.5, "held -x +z")])
def test_what_leaves_least_is_chosen_wherever_it_comes_from(trainings, trained, expected):
    found = find_strongest(Arena(left(trained)), restarts=2, steps=100)
    assert found.candidate.name == expected
    assert found.returns == {
        "held +x +z": 4.0,
        "held +x -z": 3.0,
        "held -x +z": 2.0,
        "held -x -z": 5.0,
        "trained 1": trained,
        "trained 2": trained,
    }
    assert found.num_steps == 200


def test_it_is_chosen_in_episodes_that_are_not_those_of_the_report(trainings):
    arena = Arena(left(1.0))
    find_strongest(arena, restarts=1, steps=100)
    assert arena.seeds == {derived_seed(Purpose.ATTACK_SELECTION, 1)}
    assert arena.seeds != {derived_seed(Purpose.ATTACKED_EPISODE, 1)}


def test_restarts_begin_without_force_and_then_at_the_strongest_pushes(trainings):
    find_strongest(Arena(left(1.0)), restarts=6, steps=100)
    seeds = [derived_seed(Purpose.ATTACK_TRAINING, 1, restart) for restart in range(6)]
    assert [seed for seed, _ in trainings] == seeds
    assert [start for _, start in trainings] == [None, (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, -1.0), None]


def test_all_bodies_are_pushed_alike():
    assert held_pushes(battlefield(Trial("rrl/Walker2dHeelAdv-v1", 1)).adversary)[1].direction == (1.0, -1.0, 1.0, -1.0)


@pytest.mark.mujoco
def test_a_held_push_exerts_the_force_limit_all_the_time():
    battle = Battle(balance, Trial(GAME, 2), 0.01)
    for push in held_pushes(battle.field.adversary):
        assert battle.fight(push.make, 0)[1] == pytest.approx(0.01)
