"""When the evaluation during training runs, and in which worlds."""

from __future__ import annotations

import json

import train
from rrl.checkpoints import world_recipe
from rrl.envs import make_vec_env
from rrl.evaluation.training.nominal import nominal_worlds
from rrl.random_streams import Purpose
from tests.conftest import PROJECT
from tests.toy_training import ToyData

TOY = ["--config", str(PROJECT / "tests" / "conf" / "toy.yaml")]


def test_every_nth_epoch_and_the_last_are_evaluated(workdir):
    assert train.main([*TOY, "--trainer.max_epochs", "5", "--evaluation.every_n_epochs", "2"]) == 0
    (file,) = workdir.glob("runs/*/metrics.jsonl")
    records = [json.loads(line) for line in file.read_text().splitlines()]
    evaluated = [record["step"] for record in records if "eval/return_mean" in record["metrics"]]
    assert evaluated == [64, 128, 160]


def test_evaluation_worlds_differ_from_training_and_repeat():
    recipe = world_recipe(ToyData(seed=3))
    training = make_vec_env(recipe["env_id"], 2, seed=3)
    starts = [training.reset()[0].tolist()]
    training.close()
    for purpose in (Purpose.NOMINAL_EVALUATION, Purpose.NOMINAL_EVALUATION, Purpose.CHECKPOINT_EVALUATION):
        envs = nominal_worlds(recipe, 2, purpose)
        starts.append(envs.reset()[0].tolist())
        envs.close()
    assert starts[1] == starts[2]
    first_observations = [world for worlds in (starts[0], starts[1], starts[3]) for world in worlds]
    assert len({tuple(observation) for observation in first_observations}) == 6
