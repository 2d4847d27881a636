"""Bad input ends with one sentence, exit code 2 and nothing written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import evaluate
import train
from rrl.cli_errors import given_keys
from tests.conftest import PROJECT

TOY = ["--config", str(PROJECT / "tests" / "conf" / "toy.yaml")]

BAD_INPUT = {
    "--trainer.max_epoch=3": "There is no setting 'trainer.max_epoch'; did you mean 'trainer.max_epochs'?",
    "conf/trpo_hopper.yaml": "A configuration is given as `--config conf/trpo_hopper.yaml`.",
    "--trainer.max_epochs=0": "`trainer.max_epochs` must be at least 1, or -1 for no end, got 0.",
    "--checkpoint.montor=x": "There is no setting 'checkpoint.montor'; did you mean 'checkpoint.monitor'?",
    "--model=TRPP": "There is no class 'TRPP'; did you mean 'TRPO'?",
    "--model.init_args.alpah=0.3": "ToyAlgorithm has no setting 'alpah'; did you mean 'alpha'?",
    "--trainer.logger.init_args.rot=x": "MLflowRunLogger has no setting 'rot'; did you mean 'root'?",
    "--trainer=3": "`trainer` must hold settings by name, got 3.",
    "--model.init_args.alpha=low": "`model.alpha` must be float, got low.",
    "--trainer.max_epochs=many": "`trainer.max_epochs` must be int or null, got many.",
    "--model.init_args.alpha=1.5": "`alpha` must lie in (0, 1], got 1.5.",
    "--data.init_args.env_id=Nope-v9": "There is no environment 'Nope-v9'.",
    "--evaluation.num_episodes=0": "`evaluation.num_episodes` must be at least 1, got 0.",
    "--model=Toy": "There is no class 'Toy'.",
    "--model.init_args.spaces.obs_dim=4": "`model.spaces` cannot be set: its value comes from the data.",
    "--data.init_args.seed=4": "`data.seed` cannot be set: its value comes from `seed_everything`.",
    "--seed_everything=true": "`seed_everything` must be a whole number, got True.",
    "--ckpt_path=missing.ckpt": "There is no checkpoint at missing.ckpt.",
    "--trainer.logger.init_args.root=/dev/null/x": "The output folder /dev/null/x cannot be written (not a directory).",
    "--checkpoint.dirpath=/dev/null/x": "The output folder /dev/null/x cannot be written (not a directory).",
    "--seed_everything=-1": "`seed_everything` must lie in [0, 2**32), got -1.",
    "--seed_everything=4294967296": "`seed_everything` must lie in [0, 2**32), got 4294967296.",
    "--trainer.gradient_clip_val=0.5": "`trainer.gradient_clip_val` must be left out: algorithms step by "
    "themselves, got 0.5.",
    "--trainer.accumulate_grad_batches=2": "`trainer.accumulate_grad_batches` must be left out: algorithms step by "
    "themselves, got 2.",
    "--trainer.precision=16-mixed": "`trainer.precision` must be left out: algorithms step by "
    "themselves, got 16-mixed.",
    "--checkpoint.monitor=eval/retrun_mean": "`checkpoint.monitor` must be a metric that this run logs, got "
    "'eval/retrun_mean'; did you mean 'eval/return_mean'?",
    "--checkpoint.monitor=attack/lerned": "`checkpoint.monitor` must be a metric that this run logs, got "
    "'attack/lerned'; did you mean 'attack/learned'?",
    "--checkpoint.every_n_epochs=0": "`checkpoint.every_n_epochs` must be at least 1, got 0.",
    "--checkpoint.mode=best": "`checkpoint.mode` must be one of ['max', 'min'], got 'best'.",
    "--diagnostics.starts=0": "`diagnostics.starts` must be at least 1, got 0.",
    "--evaluation.num_episodes=null": "`evaluation.num_episodes` must be int, got None.",
    "--trainer.accelerator=gpu": "No supported gpu backend found!",
}


def error_of(capsys) -> str:
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Seed set to")]
    return line.removeprefix("train.py: error: ").removeprefix("evaluate.py: error: ")


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
        ({"evaluation": {"num_episodes": None}}, "`evaluation.num_episodes` must be given a value, got null."),
    ],
)
def test_files_are_checked_like_the_command_line(config, message, tmp_path, capsys):
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(config))
    assert train.main([*TOY, "--config", str(path)]) == 2
    assert error_of(capsys) == message


WORLD_MODEL = "--model.init_args.world_model"
DEEP = '{"class_path": "TemporalUNet", "init_args": {"channels": [8, 8, 8, 8, 8, 8]}}'
SHIPPED = {
    ("trpo_hopper", "--data.init_args.env_id=Hoper-v5"): "`env_id` must be a registered environment, got 'Hoper-v5'; "
    "did you mean 'Hopper-v5'?",
    ("adrrl_hopper", f"{WORLD_MODEL}.guidance.init_args.alpha=0"): "`alpha` must lie in (0, 1], got 0.0.",
    ("adrrl_hopper", f"{WORLD_MODEL}.guidance.init_args.alpah=0.3"): "QuantileConditional has no setting 'alpah'; "
    "did you mean 'alpha'?",
    ("adrrl_hopper", f"{WORLD_MODEL}.guidance.init_args.target=cvar"): "QuantileConditional has no setting 'target'.",
    ("adrrl_hopper", f"{WORLD_MODEL}.guidance=WorstOfN"): "There is no class 'WorstOfN'; did you mean 'WorstOfM'?",
    ("adrrl_hopper", f"{WORLD_MODEL}.ema_deca=0.3"): "ADRRL has no setting 'world_model.ema_deca'; "
    "did you mean 'world_model.ema_decay'?",
    ("adrrl_hopper", "--model.init_args.policy_update.max_kk=3"): "TrustRegion or A2C has no setting 'max_kk'; "
    "did you mean 'max_kl'?",
    (
        "trpo_hopper",
        "--model.init_args.learner.gama=1",
    ): "TRPO has no setting 'learner.gama'; did you mean 'learner.gamma'?",
    ("trpo_hopper", "--model.init_args.learner.gamma=null"): "`model.learner.gamma` must be float, got None.",
    (
        "adrrl_hopper",
        "--model.init_args.imagination.max_replay_error=null",
    ): "`model.imagination.max_replay_error` can be "
    "set to null only in a file: write it there and give the file by `--config`.",
    ("rcrarl_hopper", "--model.init_args.risk_model.seed=-1"): "`seed` must be at least 0, got -1.",
    (
        "rcrarl_hopper",
        "--model.init_args.risk_model.reliability_updates=[0]",
    ): "`reliability_updates` must be at least 1, got 0.",
    ("trpo_hopper", "--evaluation.env_kwargs={wrong: 1}"): "`env_kwargs` of Hopper-v5 may hold ",
    ("trpo_hopper", "--checkpoint.monitor=return"): "`checkpoint.monitor` must be a metric that this run logs, got",
    ("trpo_hopper", "--model=ADRRL"): "AD-RRL needs trajectory windows: use `data: TrajectoryDataModule`",
    (
        "trpo_hopper",
        "--data=TrajectoryDataModule",
    ): "TRPO takes rollouts without windows: use `data: RolloutDataModule`.",
    ("adrrl_hopper", f"{WORLD_MODEL}.solver.init_args.sigma_max=.inf"): "`sigma_",
    ("adrrl_hopper", f"{WORLD_MODEL}.denoiser={DEEP}"): "`horizon` must be a multiple of 32, got 16.",
    (
        "adrrl_hopper",
        f"{WORLD_MODEL}.guidance.init_args.levels=5",
    ): "`alpha` must be at least 1 / `levels` = 0.2, got 0.1.",
    ("adrrl_hopper", f"{WORLD_MODEL}.guidance=PaperGuidance"): "`guidance` PaperGuidance revises whole trajectories",
}


@pytest.mark.mujoco
@pytest.mark.parametrize(("config", "argument"), SHIPPED)
def test_shipped_configurations_are_checked_too(config, argument, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train.main(["--config", str(PROJECT / "conf" / f"{config}.yaml"), argument]) == 2
    assert error_of(capsys).startswith(SHIPPED[config, argument])
    assert list(tmp_path.iterdir()) == []


RUN = {"class_path": "os.system", "init_args": {"command": "touch ran"}}
HIDDEN = "takes plain values, not a `class_path`, got"
NOT_YOURS = "`class_path` must name a class of rrl, Lightning or a module of yours, got"
CALLBACK = "lightning.pytorch.callbacks.LambdaCallback"
STRANGERS = {
    "data": ({"data": {"init_args": {"env_kwargs": {"a": RUN}}}}, f"`data.env_kwargs.a` {HIDDEN} 'os.system'."),
    "deeper": ({"data": {"init_args": {"env_kwargs": {"a": [{"b": RUN}]}}}}, f"`data.env_kwargs.a.b` {HIDDEN}"),
    "itself": ({"data": {"init_args": {"env_kwargs": RUN}}}, f"{NOT_YOURS} 'os.system'"),
    "known": (
        {"data": {"init_args": {"env_kwargs": {"a": {"class_path": "torch.nn.ReLU"}}}}},
        f"`data.env_kwargs.a` {HIDDEN} 'torch.nn.ReLU'.",
    ),
    "evaluation": ({"evaluation": {"env_kwargs": {"a": RUN}}}, f"`evaluation.env_kwargs.a` {HIDDEN} 'os.system'."),
    "model": ({"model": RUN}, f"{NOT_YOURS} 'os.system'"),
    "library": ({"model": {"class_path": "json.JSONDecoder"}}, f"{NOT_YOURS} 'json.JSONDecoder'"),
    "callback": ({"trainer": {"callbacks": [RUN]}}, f"{NOT_YOURS} 'os.system'"),
    "function": (
        {"trainer": {"callbacks": [{"class_path": CALLBACK, "init_args": {"on_fit_start": "torch.hub.load"}}]}},
        f"{NOT_YOURS} 'torch.hub.load'",
    ),
    "call": (
        {
            "trainer": {
                "callbacks": [
                    {
                        "class_path": CALLBACK,
                        "init_args": {
                            "on_fit_start": {"class_path": "rrl.checkpoints.load_policy", "init_args": {"path": "x"}}
                        },
                    }
                ]
            }
        },
        "`trainer.callbacks.on_fit_start` must be a class, got 'rrl.checkpoints.load_policy'.",
    ),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_configuration_of_a_stranger_runs_nothing(kind, tmp_path, monkeypatch, capsys):
    config, message = STRANGERS[kind]
    base = "trpo_invertedpendulum.yaml" if "data" in config else "../tests/conf/toy.yaml"
    monkeypatch.chdir(tmp_path)
    Path("stranger.yaml").write_text(yaml.safe_dump(config))
    assert train.main(["--config", str(PROJECT / "conf" / base), "--config", "stranger.yaml"]) == 2
    assert error_of(capsys).startswith(message)
    assert [path.name for path in tmp_path.iterdir()] == ["stranger.yaml"]


def test_installed_module_is_imported_only_if_the_user_lists_it(tmp_path, monkeypatch, capsys):
    installed = tmp_path / "site-packages"
    installed.mkdir()
    (installed / "stranger_algorithms.py").write_text(
        "from pathlib import Path\nPath('imported').touch()\nfrom tests.toy_training import ToyAlgorithm as Toy\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(installed)
    assert train.main([*TOY, "--model=stranger_algorithms.Toy", "--print_config"]) == 2
    assert error_of(capsys).startswith(
        f"{NOT_YOURS} 'stranger_algorithms.Toy'; list an installed module in RRL_MODULES"
    )
    assert not Path("imported").exists()
    monkeypatch.setenv("RRL_MODULES", "other,stranger_algorithms")
    with pytest.raises(SystemExit):
        train.main([*TOY, "--model=stranger_algorithms.Toy", "--print_config"])
    assert Path("imported").exists()


def test_user_sees_one_line(tmp_path):
    command = [sys.executable, str(PROJECT / "train.py"), *TOY, "--trainer.max_epoch=3"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    expected = f"train.py: error: {BAD_INPUT['--trainer.max_epoch=3']}\n"
    assert (process.returncode, process.stdout, process.stderr) == (2, "", expected)


def test_folder_that_may_not_be_written_is_refused(tmp_path, monkeypatch, capsys):
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rrl.cli_checks.tempfile.TemporaryFile", refuse)  # an administrator may write everywhere
    assert train.main(TOY) == 2
    assert error_of(capsys) == "The output folder . cannot be written (permission denied)."
    assert list(tmp_path.iterdir()) == []


def test_file_in_the_place_of_the_runs_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").write_text("mine")
    assert train.main(TOY) == 2
    assert error_of(capsys) == "The output folder runs cannot be written (not a directory)."
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"rrl": {}, "state_dict": {}}, [1, 2], None])
def test_foreign_file_is_not_a_checkpoint(content, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save(content, "foreign.ckpt")
    assert train.main([*TOY, "--ckpt_path", "foreign.ckpt"]) == 2
    assert error_of(capsys) == "foreign.ckpt is not a checkpoint that rrl has written."
    assert [path.name for path in tmp_path.iterdir()] == ["foreign.ckpt"]


def test_damaged_file_is_not_a_checkpoint(tmp_path, capsys):
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes(b"PK" + bytes(100))
    assert train.main([*TOY, "--ckpt_path", str(damaged)]) == 2
    assert error_of(capsys) == f"{damaged} is not a checkpoint, or is damaged."


@pytest.fixture(scope="module")
def pendulum_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pendulum")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train.main([*PENDULUM, "--trainer.max_epochs=1"]) == 0
    return folder


PENDULUM = [
    "--config=" + str(PROJECT / "conf" / "trpo_invertedpendulum.yaml"),
    "--data.init_args.num_envs=2",
    "--data.init_args.num_steps=16",
    "--data.init_args.iterations_per_epoch=1",
    "--evaluation.every_n_epochs=100",
]

OTHER_WORLDS = {
    ("--data.init_args.num_envs=4",): "`data.num_envs` 2, but the configuration 4",
    ("--data.init_args.pushes={force_std: 1.0, redraw_probability: 0.2}",): "`data.pushes` None, but the configuration",
    ("--data.init_args.max_episode_steps=7",): "`data.max_episode_steps` None, but the configuration 7",
    ("--seed_everything=1",): "`seed_everything` 0, but the configuration 1",
    ("--trainer.devices=2",): "was written by 1 processes, this run has 2",
    ("--model=ADRRL", "--data=TrajectoryDataModule"): "holds rrl.algorithms.trpo.TRPO, but the configuration asks for",
}


@pytest.mark.mujoco
@pytest.mark.parametrize("arguments", OTHER_WORLDS)
def test_run_that_cannot_be_continued_stays_as_it_is(arguments, pendulum_run, monkeypatch, capsys):
    monkeypatch.chdir(pendulum_run)
    (last,) = pendulum_run.glob("runs/*/checkpoints/last.ckpt")
    before = {path: path.read_bytes() for path in pendulum_run.rglob("*") if path.is_file()}
    assert train.main([*PENDULUM, "--trainer.max_epochs=2", f"--ckpt_path={last}", *arguments]) == 2
    assert OTHER_WORLDS[arguments] in error_of(capsys)
    assert {path: path.read_bytes() for path in pendulum_run.rglob("*") if path.is_file()} == before


@pytest.mark.mujoco
def test_continued_run_may_change_how_much_it_works(pendulum_run, monkeypatch):
    monkeypatch.chdir(pendulum_run)
    (last,) = pendulum_run.glob("runs/*/checkpoints/last.ckpt")
    more = ["--trainer.max_epochs=2", "--data.init_args.num_steps=24", "--data.init_args.iterations_per_epoch=2"]
    assert train.main([*PENDULUM, f"--ckpt_path={last}", *more]) == 0
    assert torch.load(last, weights_only=True)["state_dict"]["env_steps"] == 2 * 16 + 2 * 2 * 24


def test_checkpoint_of_other_sizes_is_refused(workdir, capsys):
    assert train.main([*TOY, "--trainer.max_epochs", "1"]) == 0
    (last,) = workdir.glob("runs/*/checkpoints/last.ckpt")
    content = torch.load(last, weights_only=True)
    del content["digest"]
    content["state_dict"]["mean.weight"] = torch.zeros(1, 5)
    torch.save(content, last)
    capsys.readouterr()
    assert train.main([*TOY, "--ckpt_path", str(last)]) == 2
    assert "`mean.weight` is [1, 5] in the checkpoint, [1, 3] as configured" in error_of(capsys)


def test_name_of_an_existing_run_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "mine" / "checkpoints").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "checkpoints" / "last.ckpt").touch()
    assert train.main([*TOY, "--trainer.logger.init_args.run_name", "mine"]) == 2
    assert "There is a run mine already" in error_of(capsys)


FILES = {
    "trainer: {max_epochs: 1}\nmodel: TRPO\ntrainer: {max_epochs: 2}\n": "Line 3 of bad.yaml gives `trainer` a "
    "second time.",
    "model:\n  init_args:\n    alpha: 1\n    alpha: 2\n": "Line 4 of bad.yaml gives `alpha` a second time.",
    "trainer:\n\tmax_epochs: 1\n": "Line 2 of bad.yaml is no YAML: found character '\\t' that cannot start any token.",
    "trainer: {max_epochs: 1\nmodel: x\n": "Line 2 of bad.yaml is no YAML: ",
    "": "bad.yaml must hold settings by name, got nothing.",
    "trainer: {}\na: \0\n": "Line 2 of bad.yaml is no YAML: special characters are not allowed.",
    "- a\n- b\n": "bad.yaml must hold settings by name, got a sequence.",
    "TRPO": "bad.yaml must hold settings by name, got a scalar.",
    "model:\n  class_path: 3\n": "Line 2 of bad.yaml must name a class as `class_path`.",
    "a: \xe9": "The configuration bad.yaml cannot be read: it is not UTF-8 text.",
}


@pytest.mark.parametrize("command", [train, evaluate])
@pytest.mark.parametrize("text", FILES)
def test_file_that_is_no_configuration_is_explained(text, command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text(text, encoding="latin-1")
    assert command.main(["--config", "bad.yaml"]) == 2
    assert FILES[text] in error_of(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


def test_missing_file_is_named(capsys):
    assert train.main(["--config=nowhere.yaml"]) == 2
    assert error_of(capsys) == "The configuration nowhere.yaml cannot be read: No such file or directory."


def test_anchors_and_aliases_are_no_repetition(tmp_path, capsys):
    path = tmp_path / "aliases.yaml"
    path.write_text("trainer:\n  max_epochs: &n 3\n  min_epochs: *n\n")
    with pytest.raises(SystemExit):
        train.main([*TOY, f"--config={path}", "--print_config"])
    assert "min_epochs: 3" in capsys.readouterr().out


NAMES = ["../../x", "..", "/tmp/x", "a/b", "a\\b", "x" * 101, "\N{FIRE}" * 100, "a\0b", "a\nb", " "]


@pytest.mark.parametrize("name", NAMES)
def test_name_of_a_run_must_be_that_of_a_folder(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = {"trainer": {"logger": {"class_path": "rrl.tracking.MLflowRunLogger", "init_args": {"run_name": name}}}}
    (tmp_path / "name.yaml").write_text(yaml.safe_dump(config))
    assert train.main([*TOY, "--config=name.yaml"]) == 2
    assert error_of(capsys).startswith("`run_name` must have up to 100 printable characters without slashes, got ")
    assert [path.name for path in tmp_path.iterdir()] == ["name.yaml"]


def test_name_that_a_checkpoint_gives_a_run_is_checked_too(workdir, capsys):
    assert train.main([*TOY, "--trainer.max_epochs", "1"]) == 0
    (last,) = workdir.glob("runs/*/checkpoints/last.ckpt")
    content = torch.load(last, weights_only=True)
    del content["digest"]
    content["rrl"]["run_name"] = "../../x"
    torch.save(content, last)
    capsys.readouterr()
    assert train.main([*TOY, "--ckpt_path", str(last)]) == 2
    assert error_of(capsys).endswith("without slashes, got '../../x'.")


def test_credentials_are_not_sent_to_an_address_that_a_configuration_names(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    assert train.main([*TOY, "--trainer.logger.init_args.tracking_uri=http://127.0.0.1:9"]) == 2
    assert error_of(capsys).startswith("`tracking_uri` must be the address in MLFLOW_TRACKING_URI, or it would")
    assert list(tmp_path.iterdir()) == []


def press_ctrl_c(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_before_training_begins_is_no_traceback(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rrl.cli.read_checkpoint", press_ctrl_c)
    before = signal.getsignal(signal.SIGINT)
    try:
        assert train.main([*TOY, "--ckpt_path=x"]) == 130
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # so that a second one disturbs nothing
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err.endswith("train.py: stopped before training began\n")
    monkeypatch.setattr("rrl.evaluate_command.evaluate_checkpoint", press_ctrl_c)
    assert evaluate.main(["--checkpoint=x"]) == 130
    assert capsys.readouterr().err == "\nevaluate.py: stopped\n"


def test_misspelt_option_of_an_evaluation_gets_the_nearest_name(capsys):
    assert evaluate.main(["--checkpont", "x"]) == 2
    assert error_of(capsys) == "There is no option --checkpont; did you mean '--checkpoint'? See --help."


def test_given_keys_come_from_files_and_from_the_command_line():
    keys = given_keys([
        "--config",
        str(PROJECT / "tests" / "conf" / "toy.yaml"),
        "--model.init_args.alpha=1",
        "--x",
        "2",
    ])
    assert {"trainer.max_epochs", "model.class_path", "model.alpha", "x", "evaluation.num_episodes"} <= keys


@pytest.mark.mujoco
def test_nested_settings_are_overridden_and_printed(capsys):
    alpha = f"{WORLD_MODEL}.guidance.init_args.alpha=0.2"
    arguments = ["--config", str(PROJECT / "conf" / "adrrl_hopper.yaml"), alpha, f"{WORLD_MODEL}.denoiser=TemporalUNet"]
    with pytest.raises(SystemExit):
        train.main([*arguments, "--print_config"])
    model = yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]
    assert model["world_model"]["guidance"] == {
        "class_path": "rrl.diffusion.QuantileConditional",
        "init_args": {"alpha": 0.2, "levels": 20},
    }
    assert model["world_model"]["denoiser"]["init_args"] == {"channels": [16, 32]}
    assert model["imagination"]["max_replay_error"] == 0.75
    assert model["imagination"]["guided_fraction"] == 0.5


def test_defaults_file_is_found_from_any_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        train.main([*TOY, "--print_config"])
    assert end.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["trainer"]["accelerator"] == "cpu"
    assert printed["trainer"]["plugins"] == [{"class_path": "rrl.checkpoints.AtomicCheckpointIO"}]
    assert Path("mlflow.db").exists() is False
