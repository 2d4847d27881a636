"""Names of runs, and what is told of them."""

from __future__ import annotations

import re

from rrl.tracking.provenance import new_run_name, training_tags


def test_run_names_say_what_runs_and_differ():
    first, second = (new_run_name("rrl.algorithms.ADRRL", "gymnasium/Walker2d-v5", 3) for _ in range(2))
    assert re.fullmatch(r"adrrl-walker2d-s3-\d{8}-\d{6}-[0-9a-f]{4}", first)
    assert first != second


def test_run_name_without_an_environment_is_still_a_name():
    assert new_run_name("TRPO", "", 0).startswith("trpo-s0-")


def test_the_tags_of_a_training_say_what_and_how_without_passwords():
    command = ["/home/ada/train.py", "--config", "a.yaml", "https://ada:secret@mlflow.example.org"]
    tags = training_tags("TRPO", "Hopper-v5", 3, command)
    assert tags["mlflow.source.name"] == "train.py --config a.yaml https://mlflow.example.org"
    assert tags["mlflow.note.content"].startswith("TRPO on Hopper-v5, seed 3")
    assert tags["method"] == "TRPO"
    assert "secret" not in str(tags)


def test_the_command_of_a_training_can_be_repeated_when_it_ran_as_a_module():
    command = ["/home/ada/rrl/main.py", "train", "--config", "a.yaml"]
    assert training_tags("TRPO", "Hopper-v5", 3, command)["mlflow.source.name"] == "rrl train --config a.yaml"
