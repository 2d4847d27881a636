"""The policies that come with the package are small, act, and are described by what they hold."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest

import rrl
from rrl.checkpoints import CheckpointError, read_checkpoint
from rrl.checkpoints.policy_only import TRAINED_BY
from rrl.evaluation.policies import find_policies, load_source
from rrl.main import main
from rrl.shipped import shipped_policies
from rrl.zoo.add import LARGEST
from rrl.zoo.cards import read_cards, table
from tests.conftest import PROJECT

NAMES = list(shipped_policies())
SIZES = {"Hopper-v5": (11, 3), "Walker2d-v5": (17, 6)}
ALGORITHMS = {
    "AD-RRL": "rrl.algorithms.adrrl.ADRRL",
    "TRPO": "rrl.algorithms.trpo.TRPO",
    "TRPO, same worlds": "rrl.algorithms.trpo.TRPO",
}


@pytest.mark.parametrize("name", NAMES)
def test_each_policy_loads_by_name_and_acts(name):
    card = read_cards()[name]
    observation_size, action_size = SIZES[card.env_id]
    actions = rrl.load_policy(f"zoo:{name}").act(np.linspace(-1.0, 1.0, 3 * observation_size).reshape(3, -1))
    assert actions.shape == (3, action_size)
    assert np.isfinite(actions).all()
    assert len(np.unique(actions)) > 1


@pytest.mark.parametrize("name", NAMES)
def test_each_file_is_small_and_names_no_server_nor_run(name):
    assert shipped_policies()[name].stat().st_size < LARGEST == 100_000
    mark = read_checkpoint(f"zoo:{name}")["rrl"]
    assert mark["run_id"] is mark["tracking_uri"] is None


@pytest.mark.parametrize("name", NAMES)
def test_each_card_agrees_with_its_checkpoint_and_with_its_report(name):
    card, content = read_cards()[name], read_checkpoint(f"zoo:{name}")
    worlds = content["rrl"]["worlds"]
    assert (worlds["env_id"], worlds["seed"]) == (card.env_id, card.seed)
    assert content["rrl"][TRAINED_BY] == ALGORITHMS[card.method]
    assert int(content["state_dict"]["env_steps"]) == card.steps
    with (PROJECT / card.report / "policies.csv").open(newline="", encoding="utf-8") as file:
        means = {
            int(row["train_seed"]): float(row["mean"]) for row in csv.DictReader(file) if row["method"] == card.method
        }
    assert card.seeds == len(means)
    assert means[card.seed] == np.median(list(means.values())) == pytest.approx(card.mean, abs=0.05)


def test_the_page_of_the_documentation_holds_the_table_and_the_commands():
    text = (PROJECT / "docs" / "zoo.md").read_text(encoding="utf-8")
    assert table(read_cards()) in text
    for card in read_cards().values():
        assert f"`{card.command}`" in text
        (config,) = re.findall(r"conf/\w+\.yaml", card.command)
        assert (PROJECT / config).is_file()


def test_the_command_lists_all_and_describes_one(capsys):
    assert main(["zoo"]) == 0
    listed = capsys.readouterr().out
    assert all(f"`zoo:{name}`" in listed for name in NAMES)
    assert main(["zoo", "zoo:hopper/adrrl"]) == 0
    assert "trained by        rrl train --config conf/adrrl_hopper.yaml" in capsys.readouterr().out


def test_an_unknown_name_is_one_sentence_with_the_near_one(tmp_path, capsys):
    sentence = "The zoo has no policy 'hoper/adrrl'; did you mean 'hopper/adrrl'?"
    with pytest.raises(CheckpointError, match=re.escape(sentence)):
        rrl.load_policy("zoo:hoper/adrrl")
    for command in (
        ["zoo", "hoper/adrrl"],
        ["export", "zoo:hoper/adrrl", str(tmp_path / "a.pt2")],
        ["evaluate", "--checkpoint", "zoo:hoper/adrrl"],
    ):
        assert main(command) == 2
        error = capsys.readouterr().err
        assert sentence in error
        assert error.count("\n") == 1


@pytest.mark.mujoco
def test_a_policy_of_the_zoo_is_evaluated_by_name(capsys):
    assert main(["evaluate", "--checkpoint", "zoo:hopper/trpo", "--episodes", "1"]) == 0
    assert "Hopper-v5, nominal, 1 episodes, 143,360 training steps: zoo:hopper/trpo" in capsys.readouterr().out


def test_an_evaluation_knows_in_which_physics_a_policy_was_trained():
    (source,) = find_policies({"AD-RRL": ["zoo:hopper/adrrl"]})
    assert load_source(source).physics == {"mass": (0.7, 1.3), "gear": (0.8, 1.2), "friction": (0.7, 1.3)}
    (source,) = find_policies({"TRPO": ["zoo:hopper/trpo"]})
    assert load_source(source).physics == {}
