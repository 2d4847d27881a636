import numpy as np
import pytest
import torch
from torch import nn

from rrl.evaluation.cells.conditions import PARAMETERS, Condition
from rrl.evaluation.cells.episode_queue import BLOCK_ROWS, Episode, EpisodeQueue
from rrl.evaluation.episodes import Trial
from tests.evaluation.row_policies import linear_policy

pytestmark = pytest.mark.mujoco

HOPPER = linear_policy(11, 3)
SETTINGS = [{}, {"mass": 1.4}, {"mass_only": 0.6, "push_random": 50.0}, {"observation_noise": 0.1, "action_delay": 2}]
CONDITIONS = [Condition.of(values) for values in SETTINGS]


def run(
    conditions: list[Condition],
    *,
    env_id: str = "Hopper-v5",
    policy=HOPPER,
    num_episodes: int = 3,
    env_kwargs=None,
    max_episode_steps=None,
    **options,
) -> dict[tuple[int, int], Episode]:
    """Episodes by condition and number, without the time that they took."""
    trial = Trial(env_id, num_episodes, env_kwargs=env_kwargs or {}, max_episode_steps=max_episode_steps)
    queue = EpisodeQueue(trial, conditions, **options)
    return {(episode.condition, episode.number): episode._replace(seconds=0.0) for episode in queue.run(policy)}


@pytest.fixture(scope="module")
def together() -> dict[tuple[int, int], Episode]:
    return run(CONDITIONS)


def test_every_episode_of_every_condition_is_run_once(together):
    assert sorted(together) == [(condition, number) for condition in range(4) for number in range(3)]


@pytest.mark.parametrize(("num_worlds", "num_threads"), [(1, 1), (2, 1), (5, 2), (12, 2)])
def test_episodes_do_not_depend_on_the_worlds_or_threads_that_share_them(together, num_worlds, num_threads):
    assert run(CONDITIONS, num_worlds=num_worlds, num_threads=num_threads) == together


@pytest.mark.parametrize("index", range(4))
def test_condition_alone_has_the_episodes_that_it_has_among_others(together, index):
    alone = run([CONDITIONS[index]])
    for number in range(3):
        assert alone[0, number][1:] == together[index, number][1:]


def test_network_acts_alike_for_one_episode_and_for_many():
    """A cheetah amplifies the last bit of an action within a hundred steps."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(17, 64), nn.Tanh(), nn.Linear(64, 6), nn.Tanh())

    @torch.no_grad()
    def act(observations):
        return network(torch.as_tensor(observations, dtype=torch.float32)).numpy()

    settings = {"env_id": "HalfCheetah-v5", "policy": act, "max_episode_steps": 150}
    many = run([Condition(), *CONDITIONS], num_episodes=20, **settings)
    assert run([Condition()], num_episodes=1, **settings)[0, 0] == many[0, 0]


def test_fewer_episodes_are_the_first_of_more(together):
    fewer = run(CONDITIONS, num_episodes=2)
    assert fewer == {key: together[key] for key in fewer}


@pytest.mark.parametrize("env_id", ["Hopper-v5", "Walker2d-v5", "HalfCheetah-v5"])
def test_factor_of_one_is_nominal_to_the_last_bit(env_id):
    sizes = {"Hopper-v5": (11, 3), "Walker2d-v5": (17, 6), "HalfCheetah-v5": (17, 6)}[env_id]
    names = ["mass", "mass_only", "friction", "floor_friction", "damping", "gravity", "gear", "reset_noise"]
    ones = [Condition.of({name: 1.0}) for name in names]
    # A world of each has had other physics before it gets its turn.
    others = [Condition.of({"mass": 1.9, "friction": 0.2}), Condition.of({"mass_only of torso": 3.0})]
    settings = {"env_id": env_id, "policy": linear_policy(*sizes), "max_episode_steps": 60, "num_worlds": 2}
    episodes = run([*others, Condition(), *ones], num_episodes=2, **settings)
    for index in range(len(ones)):
        for number in range(2):
            assert episodes[3 + index, number][1:] == episodes[2, number][1:]
    assert episodes[0, 0].total != episodes[2, 0].total


# Values that a falling robot and a pendulum can feel within their short episodes.
VALUES = dict.fromkeys(PARAMETERS, 1.3) | {"action_delay": 1.0, "push_impulse": 300.0} | {"floor_friction": 2.5}


@pytest.mark.parametrize("name", [name for name in PARAMETERS if name != "frictionloss"])
def test_every_parameter_changes_the_trajectory(name):
    nominal, changed = run(
        [Condition(), Condition.of({name: VALUES[name]})], num_episodes=1, max_episode_steps=12
    ).values()
    assert nominal.total != changed.total


@pytest.mark.parametrize(
    ("env_id", "sizes", "text", "value"),
    [
        ("Reacher-v5", (10, 2), "absolute frictionloss of joint0", 1.0),
        ("Swimmer-v5", (8, 2), "absolute damping of motor1_rot", 1.0),
        ("Hopper-v5", (11, 3), "absolute mass of torso", 6.0),
        ("Hopper-v5", (11, 3), "mass_only of foot", 0.5),
        ("Hopper-v5", (11, 3), "friction of foot_geom", 0.2),
        ("Hopper-v5", (11, 3), "damping of leg_joint", 2.0),
        ("Hopper-v5", (11, 3), "gear of leg_joint", 0.5),
        ("Hopper-v5", (11, 3), "absolute gravity", 5.0),
        ("Hopper-v5", (11, 3), "absolute reset_noise", 0.02),
    ],
)
def test_parts_and_absolute_values_change_the_trajectory(env_id, sizes, text, value):
    conditions = [Condition(), Condition.of({text: value})]
    nominal, changed = run(conditions, env_id=env_id, policy=linear_policy(*sizes), num_episodes=1).values()
    assert nominal.total != changed.total


def test_friction_of_the_floor_alone_matters_on_hopper_only_above_that_of_the_foot():
    values = [1.0, 0.1, 1.999, 2.001]
    episodes = run([Condition.of({"floor_friction": value}) for value in values], num_episodes=1)
    totals = [episodes[index, 0].total for index in range(4)]
    assert totals[0] == totals[1] == totals[2]
    assert totals[3] != totals[0]


def test_constant_push_moves_forwards():
    still = linear_policy(17, 6, scale=0.0)
    pushed = [Condition.of({"push_constant": force}) for force in (-30.0, 30.0)]
    back, forth = run(pushed, env_id="HalfCheetah-v5", policy=still, num_episodes=1, max_episode_steps=100).values()
    assert back.distance < -0.5 < 0.5 < forth.distance


def test_time_limit_is_no_failure():
    standing = run([Condition()], env_id="HalfCheetah-v5", policy=linear_policy(17, 6), max_episode_steps=7)
    assert [(episode.length, episode.failed) for episode in standing.values()] == [(7, False)] * 3
    assert all(episode.failed for episode in run([Condition()]).values())


def test_distance_is_not_a_number_where_nothing_moves_forward():
    episodes = run([Condition()], env_id="InvertedPendulum-v5", policy=linear_policy(4, 1))
    assert np.isnan([episode.distance for episode in episodes.values()]).all()


def test_instability_is_a_failure_and_leaves_the_other_worlds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes a log where a simulation becomes unstable
    episodes = run([Condition.of({"push_constant": 1e14}), Condition()], num_worlds=2)
    assert [episodes[0, number].length for number in range(3)] == [1, 1, 1]
    assert all(episodes[0, number].failed for number in range(3))
    assert all(np.isfinite(episode.total) for episode in episodes.values())
    assert [episodes[1, n].total for n in range(3)] == [episode.total for episode in run([Condition()]).values()]


def test_options_of_the_task_are_heeded():
    rich = run([Condition()], env_kwargs={"healthy_reward": 3.0})
    for key, episode in run([Condition()]).items():
        assert rich[key].total > episode.total


def test_adversarial_task_has_its_masses_and_no_adversary():
    heavy = run([Condition()], env_id="rrl/Hopper6Adv-v1")
    named = run([Condition.of({"absolute mass of torso": 6.0})])
    nominal = run([Condition()])
    assert heavy[0, 0].total != nominal[0, 0].total
    assert heavy[0, 0].total != named[0, 0].total  # that task leaves inertia as it is


def test_policy_is_always_asked_about_blocks_of_one_height():
    heights = set()

    def watch(observations):
        heights.add(len(observations))
        return HOPPER(observations)

    run(CONDITIONS, policy=watch)
    assert heights == {BLOCK_ROWS}


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (lambda observations: np.zeros((len(observations), 2)), r"actions of shape \[64, 3\], got \[64, 2\]"),
        (lambda observations: np.full((len(observations), 3), np.nan), "must return finite actions"),
    ],
)
def test_policies_that_return_no_actions_are_named(policy, message):
    with pytest.raises(ValueError, match=message):
        run([Condition()], policy=policy)


def test_conditions_without_effect_are_refused_before_anything_runs():
    with pytest.raises(ValueError, match="`friction` has no effect on Swimmer-v5"):
        EpisodeQueue(Trial("Swimmer-v5", 1), [Condition.of({"friction": 2.0})])
