"""When the evaluation during training runs, and in which worlds."""

from __future__ import annotations

import json

import train
from rrl.checkpoints import world_recipe
from rrl.evaluation.callback import SEED_OFFSET, nominal_worlds
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
    starts = []
    for offset in (0, SEED_OFFSET, SEED_OFFSET):
        envs = nominal_worlds(recipe, 2, seed_offset=offset)
        starts.append(envs.reset()[0].tolist())
        envs.close()
    training, first, second = starts
    assert first == second
    assert first != training
