"""Bad input ends with one sentence, exit code 2 and nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

import train
from rrl.cli_errors import given_keys
from tests.conftest import PROJECT

TOY = ["--config", str(PROJECT / "tests" / "conf" / "toy.yaml")]

BAD_INPUT = {
    "--trainer.max_epoch=3": "There is no setting 'trainer.max_epoch'; did you mean 'trainer.max_epochs'?",
    "--checkpoint.montor=x": "There is no setting 'checkpoint.montor'; did you mean 'checkpoint.monitor'?",
    "--model=TRPP": "There is no class 'TRPP'; did you mean 'TRPO'?",
    "--model.init_args.alpah=0.3": "ToyAlgorithm has no setting 'alpah'; did you mean 'alpha'?",
    "--trainer.logger.init_args.rot=x": "MLflowRunLogger has no setting 'rot'; did you mean 'root'?",
    "--model.init_args.alpha=low": "`model.alpha` must be float, got low.",
    "--trainer.max_epochs=many": "`trainer.max_epochs` must be int or null, got many.",
    "--model.init_args.alpha=1.5": "`alpha` must lie in (0, 1], got 1.5.",
    "--data.init_args.env_id=Nope-v9": "There is no environment 'Nope-v9'.",
    "--evaluation.num_episodes=0": "`evaluation.num_episodes` must be at least 1, got 0.",
    "--model=Toy": "There is no class 'Toy'.",
    "--model.init_args.obs_dim=4": "`model.obs_dim` cannot be set: its value comes from the data.",
    "--data.init_args.seed=4": "`data.seed` cannot be set: its value comes from `seed_everything`.",
    "--seed_everything=true": "`seed_everything` must be a whole number, got True.",
    "--ckpt_path=missing.ckpt": "There is no checkpoint at missing.ckpt.",
    "--trainer.logger.init_args.root=/dev/null/x": "The output folder /dev/null/x cannot be written (not a directory).",
    "--trainer.accelerator=gpu": "No supported gpu backend found!",
}


def error_of(capsys) -> str:
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Seed set to")]
    return line.removeprefix("train.py: error: ")


@pytest.mark.parametrize("argument", BAD_INPUT)
def test_bad_input_is_one_sentence_and_leaves_nothing(argument, tmp_path, monkeypatch, capsys):
    if argument.endswith("gpu") and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    monkeypatch.chdir(tmp_path)
    assert train.main([*TOY, argument]) == 2
    assert error_of(capsys) == BAD_INPUT[argument]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"trainer": {"max_epoch": 3}}, BAD_INPUT["--trainer.max_epoch=3"]),
        ({"model": {"init_args": {"alpah": 0.3}}}, BAD_INPUT["--model.init_args.alpah=0.3"]),
        ({"data": {"init_args": {"seed": 3}}}, BAD_INPUT["--data.init_args.seed=4"]),
    ],
)
def test_files_are_checked_like_the_command_line(config, message, tmp_path, capsys):
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(config))
    assert train.main([*TOY, "--config", str(path)]) == 2
    assert error_of(capsys) == message


def test_foreign_file_is_not_a_checkpoint(tmp_path, capsys):
    foreign = tmp_path / "foreign.ckpt"
    torch.save({"state_dict": {}}, foreign)
    assert train.main([*TOY, "--ckpt_path", str(foreign)]) == 2
    assert error_of(capsys) == f"{foreign} is not a checkpoint that rrl has written."


def test_checkpoint_of_other_sizes_is_refused(workdir, capsys):
    assert train.main([*TOY, "--trainer.max_epochs", "1"]) == 0
    (last,) = workdir.glob("runs/*/checkpoints/last.ckpt")
    content = torch.load(last, weights_only=True)
    content["state_dict"]["mean.weight"] = torch.zeros(1, 5)
    torch.save(content, last)
    capsys.readouterr()
    assert train.main([*TOY, "--ckpt_path", str(last)]) == 2
    assert "`mean.weight` is [1, 5] in the checkpoint, [1, 3] as configured" in error_of(capsys)


def test_name_of_an_existing_run_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    assert train.main([*TOY, "--trainer.logger.init_args.run_name", "mine"]) == 2
    assert "There is a run mine already" in error_of(capsys)


def test_given_keys_come_from_files_and_from_the_command_line():
    keys = given_keys([
        "--config",
        str(PROJECT / "tests" / "conf" / "toy.yaml"),
        "--model.init_args.alpha=1",
        "--x",
        "2",
    ])
    assert {"trainer.max_epochs", "model.class_path", "model.alpha", "x", "evaluation.num_episodes"} <= keys


def test_defaults_file_is_found_from_any_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        train.main([*TOY, "--print_config"])
    assert end.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["trainer"]["accelerator"] == "cpu"
    assert printed["trainer"]["plugins"] == [{"class_path": "rrl.checkpoints.AtomicCheckpointIO"}]
    assert Path("mlflow.db").exists() is False
