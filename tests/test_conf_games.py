"""Controls change what they say and no more, and a game continues from its checkpoint exactly."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import train
from rrl.a2c import A2C
from rrl.algorithms import RCRARL
from rrl.algorithms.world_model_settings import WorldModelSettings
from rrl.checkpoints import load_policy, read_checkpoint
from rrl.cli import RRLCLI
from rrl.configuration import from_plain
from rrl.diffusion import DDPM, NoGuidance, PaperGuidance, ResidualMLP, ResidualSizes, Score, TransitionGradient
from rrl.risk import FixedThreshold
from tests.conftest import PROJECT

CONF = PROJECT / "conf"
GUIDANCE = {"unguided.yaml": NoGuidance, "transition_gradient.yaml": TransitionGradient}
STARTS = ("uniform_starts.yaml", "riskiest_starts.yaml")
NOMINAL = "nominal_worlds.yaml"
OTHERS = {*GUIDANCE, NOMINAL, *STARTS}
CONTROLS = sorted(path.name for path in (CONF / "controls").glob("*.yaml") if path.name not in OTHERS)


def build(*configs: str) -> RRLCLI:
    arguments = [part for config in configs for part in ("--config", str(CONF / config))]
    return RRLCLI([*arguments, "--trainer.logger", "false"], CONF / "defaults.yaml")


def differences(plain: RRLCLI, changed: RRLCLI) -> set[str]:
    """Name the settings of model and data that differ."""
    before, after = ({**cli.model.hparams, **cli.datamodule.hparams} for cli in (plain, changed))
    return {key for key in after if after[key] != before[key]}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py"])


@pytest.mark.mujoco
@pytest.mark.parametrize("control", CONTROLS)
def test_controls_change_the_game_they_are_read_after(control: str):
    calibrated = any(use in control for use in ("gate", "restarts", "shaping", "force_control"))
    base = "rcrarl_hopper6_01.yaml" if calibrated else "rarl_hopper6_01.yaml"
    plain, changed = build(base), build(base, f"controls/{control}")
    assert changed.datamodule.env_kwargs == {"reset_noise_scale": 0.01}
    assert changed.model.learner.gamma == 0.995
    expected = {
        "gate_and_restarts.yaml": {"gate"},
        "shaping.yaml": {"restarts", "shaping"},
        "force_control.yaml": {"restarts", "force_control"},
        "random_adversary.yaml": {"game", "iterations_per_epoch"},
        "no_adversary.yaml": {"game", "force_limit", "iterations_per_epoch"},
        "force_matched.yaml": {"force_limit"},
        "fresh_adversary.yaml": {"game", "iterations_per_epoch"},
    }
    assert differences(plain, changed) == expected.get(
        control, {"restarts"} if "restarts" in control else {"gate", "restarts"}
    )


@pytest.mark.mujoco
def test_the_control_of_the_worlds_changes_these_alone():
    plain, changed = build("trpo_hopper_uncertain.yaml"), build("trpo_hopper_uncertain.yaml", f"controls/{NOMINAL}")
    assert differences(plain, changed) == {"pushes", "physics"}
    assert changed.datamodule.hparams["pushes"] is None


@pytest.mark.mujoco
@pytest.mark.parametrize("control", GUIDANCE)
def test_controls_of_the_guidance_change_it_alone(control: str):
    plain, changed = build("adrrl_hopper.yaml"), build("adrrl_hopper.yaml", f"controls/{control}")
    assert differences(plain, changed) == {"world_model"}
    before, after = (from_plain(cli.model.hparams["world_model"]) for cli in (plain, changed))
    assert after == replace(before, guidance=GUIDANCE[control](alpha=before.guidance.alpha))


@pytest.mark.mujoco
@pytest.mark.parametrize("control", STARTS)
def test_controls_of_the_start_states_change_them_alone(control: str):
    plain, changed = build("rcadrrl_hopper.yaml"), build("rcadrrl_hopper.yaml", f"controls/{control}")
    assert differences(plain, changed) == {"starts"}
    assert changed.model.starts == replace(plain.model.starts, choose=control.partition("_")[0])


@pytest.mark.mujoco
@pytest.mark.parametrize("task", ["hopper", "walker"])
def test_risk_changes_the_start_states_of_adrrl_alone(task: str):
    plain, changed = build(f"adrrl_{task}.yaml"), build(f"rcadrrl_{task}.yaml")
    shared = plain.model.hparams.keys() - {"spaces"}  # they tell of the candidates
    assert {key for key in shared if plain.model.hparams[key] != changed.model.hparams[key]} == set()
    before, after = plain.datamodule.hparams, changed.datamodule.hparams
    assert {key for key in after if after[key] != before[key]} == {"start_candidates"}


PAPERS = {"hopper": 0.1, "invertedpendulum": 0.1, "walker": 1.0, "halfcheetah": 1.0, "reacher": 1.0}


@pytest.mark.mujoco
@pytest.mark.parametrize(("task", "temperature"), PAPERS.items())
def test_the_presets_of_adrrl_are_the_papers(task: str, temperature: float):
    model = build(f"adrrl_{task}_paper.yaml").model
    assert model.policy_update == A2C(learning_rate=3e-5, entropy_weight=1e-5, log_prob_change=0.01)
    expected = WorldModelSettings(
        denoiser=ResidualMLP(hidden_dim=1024, num_layers=6),
        return_model=ResidualSizes(hidden_dim=1024, num_layers=6),
        guidance=PaperGuidance(alpha=0.1),
        solver=DDPM(length=128, temperature=temperature),
        policy_guidance=Score(scale=0.005, learning_rate=3e-3),
        bootstrap=False,
        learning_rate=3e-4,
        ema_decay=0.999,
    )
    assert from_plain(model.hparams["world_model"]) == expected
    assert model.imagination.guided_fraction == 1.0
    assert (model.imagination.warmup, model.imagination.guidance_warmup) == (5000, 5000)


@pytest.mark.mujoco
def test_the_papers_preset_is_literal():
    model = build("rcrarl_hopper6_01_paper.yaml").model
    assert isinstance(model, RCRARL)
    assert (model.risk.labeller.keep_first, model.risk.gate.settings.exploration) == (True, 0.0)
    assert isinstance(model.risk.gate.settings.rule, FixedThreshold)
    assert (model.risk.settings.held_out, model.risk.states.max_iterations) == ("none", None)


SMALL = [
    "--config=" + str(CONF / "rcrarl_hopper6_01.yaml"),
    "--config=" + str(CONF / "controls" / "gate.yaml"),
    "--data.init_args.num_steps=80",
    "--model.init_args.gate.min_open_steps=1",
    "--model.init_args.risk_model.reliability_updates=[2]",
    "--attacks.every_n_epochs=1",
    "--attacks.num_episodes=1",
    "--evaluation.every_n_epochs=100",
]


@pytest.mark.mujoco
def test_a_resumed_game_ends_as_an_uninterrupted_one(workdir):
    def run(name: str, epochs: int, *more: str) -> None:
        arguments = [f"--trainer.max_epochs={epochs}", f"--trainer.logger.init_args.run_name={name}", *more]
        assert train.main([*SMALL, *arguments]) == 0

    last = workdir / "runs" / "parts" / "checkpoints" / "last.ckpt"
    run("whole", 3)
    run("parts", 2)
    torch.randn(7)  # whatever happens to the global streams in between does not matter
    run("parts", 3, f"--ckpt_path={last}")
    whole = read_checkpoint(workdir / "runs" / "whole" / "checkpoints" / "last.ckpt")
    resumed = read_checkpoint(last)
    assert whole["state_dict"]["risk.num_fits"] == 3
    for name, expected in whole["state_dict"].items():
        torch.testing.assert_close(resumed["state_dict"][name], expected, rtol=0.0, atol=0.0, equal_nan=True, msg=name)
    assert (workdir / "runs" / "whole" / "figures" / "reliability_0002.png").exists()
    assert load_policy(last).act(torch.zeros(11).numpy()).shape == (3,)


@pytest.mark.mujoco
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--model.init_args.gate.exploration=1.5", "`exploration` must lie in [0, 1], got 1.5."),
        ("--model.init_args.gate.rule.budget=1.5", "`budget` must lie in [0, 1], got 1.5."),
        ("--model.init_args.risk_model.calibration.num_bins=0", "`num_bins` must be at least 1, got 0."),
        ("--data.init_args.num_steps=24", "the horizon of the labels must be shorter than a rollout of 24 steps"),
        ("--data.init_args.force_limit=-2", "`force_limit` must be at least 0 and finite, got -2.0."),
        ("--data.init_args.env_id=rrl/SwimmerAdv-v1", "`labels: HorizonLabels` needs a task whose episodes can fail"),
        ("--data.init_args.env_id=Hopper-v5", "the game needs a task with an adversary"),
    ],
)
def test_bad_input_is_one_sentence(argument: str, message: str, capsys):
    assert train.main([SMALL[0], argument]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Seed set to")]
    assert len(lines) == 1
    assert message in lines[0]


@pytest.mark.mujoco
def test_labels_without_the_tests_that_they_need_are_refused_before_anything_is_written(workdir, capsys):
    assert train.main(["--config", str(CONF / "rcrarl_hopper6_01_paper.yaml"), "--attacks.every_n_epochs=0"]) == 2
    assert "`labels: AttackReturnLabels` needs tests against the learned adversary" in capsys.readouterr().err
    assert not (workdir / "runs").exists()


@pytest.mark.mujoco
def test_a_trust_region_that_shrinks_without_an_end_is_refused_before_anything_is_written(workdir, capsys):
    assert train.main(["--config", str(CONF / "adrrl_walker.yaml"), "--trainer.max_epochs=-1"]) == 2
    assert "`final_max_kl` needs a fixed number of epochs, got `max_epochs` -1" in capsys.readouterr().err
    assert not (workdir / "runs").exists()
