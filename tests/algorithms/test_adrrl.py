"""AD-RRL: TRPO on real data, plus models that learn, imagine and are mixed in as configured."""

from __future__ import annotations

import math

import pytest
import torch

from rrl.a2c import A2C
from rrl.algorithms import ADRRL
from rrl.algorithms.base import RLModule
from rrl.algorithms.mixture import Imagination
from rrl.algorithms.world_model_settings import WorldModelSettings
from rrl.diffusion import (
    DDPM,
    CausalGRU,
    NoGuidance,
    NoiseConditional,
    PaperGuidance,
    QuantileConditional,
    ReleasedGuidance,
    Reparameterized,
    ResidualMLP,
    RowwiseGRU,
    Score,
    TransitionGradient,
    WorstOfM,
)
from rrl.trpo import TrustRegion
from tests.fitting import adrrl, changed, fit, rollouts, snapshot, trajectories, trpo

REAL = 32
"""Transitions of one small rollout."""
IMAGINED_ONLY = {"real_fraction": 0.0, "value_from_imagination": True}
A2C_LEARNS = {"spread_from_imagination": True}


def updates_of(monkeypatch, policy_updates=1, **settings):
    """Train for one iteration and return the batches with which the player was updated."""
    batches, update_player = [], RLModule.update_player

    def recording(self, name, player, batch, optimizers, **options):
        batches.append((batch, options))
        update_player(self, name, player, batch, optimizers, **options)

    monkeypatch.setattr(RLModule, "update_player", recording)
    data = trajectories(iterations_per_epoch=1, policy_updates=policy_updates)
    fit(adrrl(data, **settings), data)
    return batches


def reseed_updates(monkeypatch):
    """Let every update of a player begin with random numbers that its number alone decides."""
    update_player = RLModule.update_player

    def reseeded(self, name, player, batch, optimizers, **options):
        torch.manual_seed(self.global_step)
        update_player(self, name, player, batch, optimizers, **options)

    monkeypatch.setattr(RLModule, "update_player", reseeded)


def trained(module, data, **options):
    fit(module, data, **options)
    return module.protagonist.state_dict()


def test_before_the_warm_up_it_is_trpo(monkeypatch):
    reseed_updates(monkeypatch)
    data = rollouts()
    baseline = trained(trpo(data, entropy_weight=0.01), data, max_epochs=3)
    data = trajectories()
    ours = trained(adrrl(data, entropy_weight=0.01, warmup=10_000), data, max_epochs=3)
    assert all(torch.equal(baseline[name], ours[name]) for name in baseline)


def test_with_real_data_only_it_is_trpo(monkeypatch):
    reseed_updates(monkeypatch)
    # Imagined transitions of weight 0 must not change which samples are drawn, so all are used.
    settings = {"fisher_fraction": 1.0, "value_batch_size": 1000, "max_kl": 0.001}
    data = rollouts()
    baseline = trained(trpo(data, **settings), data)
    data = trajectories()
    ours = trained(adrrl(data, real_fraction=1.0, **settings), data)
    for name in baseline:
        torch.testing.assert_close(ours[name], baseline[name], rtol=1e-3, atol=1e-4)


def test_one_update_changes_players_and_models_but_no_constants():
    data = trajectories(iterations_per_epoch=1)
    module = adrrl(data, guidance=NoiseConditional(alpha=0.25))
    before = snapshot(module)
    fit(module, data)
    constants = {"healthy_low", "healthy_high", "action_low", "action_high", "frequencies"}
    assert {name.rpartition(".")[2] for name in before.keys() - changed(module, before)} == constants


@pytest.mark.parametrize(("warm_up", "adapts"), [(10_000, False), (0, True)])
def test_the_strength_of_the_guidance_adapts_after_the_warm_up(warm_up, adapts):
    data = trajectories(iterations_per_epoch=1)
    module = adrrl(data, guidance=NoiseConditional(alpha=0.25), guidance_warmup=warm_up)
    before = snapshot(module)
    fit(module, data)
    assert ("world_model.strength.log_strength" in changed(module, before)) == adapts


def test_the_guided_share_of_the_start_states_is_guided_after_the_warm_up(monkeypatch):
    calls, imagine = [], ADRRL.imagine
    monkeypatch.setattr(
        ADRRL,
        "imagine",
        lambda self, starts, *, guided: calls.append((len(starts), guided)) or imagine(self, starts, guided=guided),
    )
    data = trajectories(iterations_per_epoch=3)  # 32 environment steps each
    fit(adrrl(data, guided_fraction=0.25, guidance_warmup=96), data)
    assert calls == [(16, False), (16, False), (12, False), (4, True)]


@pytest.mark.parametrize("real_fraction", [0.25, 0.5, 1.0])
def test_real_data_have_their_share_of_the_policy_update(monkeypatch, real_fraction):
    ((batch, _),) = updates_of(monkeypatch, real_fraction=real_fraction)
    assert len(batch.weights) == REAL + 16 * 3
    torch.testing.assert_close(batch.weights[:REAL].sum() / batch.weights.sum(), torch.tensor(real_fraction))


def test_without_real_data_only_imagined_ones_are_used(monkeypatch):
    ((batch, _),) = updates_of(monkeypatch, **IMAGINED_ONLY)
    assert len(batch.weights) == 16 * 3


def test_without_real_data_the_policy_stays_as_it_is_before_the_warm_up():
    data = trajectories()
    module = adrrl(data, warmup=10_000, **IMAGINED_ONLY)
    before = snapshot(module)
    trainer = fit(module, data)
    assert trainer.global_step == 0
    moved = {name for name in changed(module, before) if name.startswith("protagonist")}
    assert moved == {f"protagonist.normalizer.{name}" for name in ("mean", "variance", "count")}
    assert "world_model.models.denoiser.network.output.weight" in changed(module, before)


@pytest.mark.parametrize("policy_update", [TrustRegion(), A2C()], ids=type)
def test_an_iteration_may_have_several_policy_updates_each_on_imagination_of_its_own(monkeypatch, policy_update):
    updates = updates_of(monkeypatch, policy_updates=3, policy_update=policy_update, **IMAGINED_ONLY, **A2C_LEARNS)
    first, second, third = (batch.observations for batch, _ in updates)
    assert len(first) == len(second) == len(third) == 16 * 3
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)


def test_each_policy_update_counts_as_a_step_of_the_run():
    for policy_update in (TrustRegion(), A2C()):
        data = trajectories(policy_updates=3)
        assert fit(adrrl(data, policy_update=policy_update, **A2C_LEARNS), data).global_step == 2 * 3


def test_a2c_keeps_the_policy_within_its_bound(monkeypatch):
    changes = {}
    update_player = RLModule.update_player

    def recording(self, name, player, batch, optimizers, **options):
        policy = player.policy
        old = policy(batch.observations).log_prob(batch.actions).detach()
        update_player(self, name, player, batch, optimizers, **options)
        change = (policy(batch.observations).log_prob(batch.actions).detach() - old).abs()
        changes[self.global_step] = float((batch.weights * change).sum() / batch.weights.sum())

    monkeypatch.setattr(RLModule, "update_player", recording)
    data = trajectories()
    logged = fit(
        adrrl(data, policy_update=A2C(learning_rate=0.1, log_prob_change=0.02), **A2C_LEARNS), data
    ).callback_metrics
    assert all(0.8 * 0.02 * 0.95 < change <= 0.02 * 1.0001 for change in changes.values())
    assert len(changes) == 2
    assert 0.0 < logged["protagonist/step_fraction"] < 1.0
    assert logged["protagonist/line_search_accepted"] == 1.0


@pytest.mark.parametrize("imagined", [False, True])
def test_the_value_function_learns_from_imagination_only_if_told(monkeypatch, imagined):
    ((batch, options),) = updates_of(monkeypatch, value_from_imagination=imagined)
    assert len(batch.observations) > REAL
    assert len(options["value_batch"].observations) == (len(batch.observations) if imagined else REAL)
    assert torch.equal(options["value_batch"].observations[:REAL], batch.observations[:REAL])


def test_the_rollout_enters_the_first_policy_update_alone(monkeypatch):
    first, second, third = updates_of(monkeypatch, policy_updates=3)
    assert len(first[0].weights) == REAL + 16 * 3
    assert len(second[0].weights) == len(third[0].weights) == 16 * 3
    assert [options["value_batch"] is None for _, options in (first, second, third)] == [False, True, True]


@pytest.mark.parametrize("learns", [False, True])
def test_the_spread_of_the_policy_learns_from_imagination_only_if_told(monkeypatch, learns):
    spreads, update_player = [], RLModule.update_player

    def recording(self, name, player, batch, optimizers, **options):
        update_player(self, name, player, batch, optimizers, **options)
        spreads.append(player.policy.log_std.detach().clone())

    monkeypatch.setattr(RLModule, "update_player", recording)
    data = trajectories(iterations_per_epoch=1, policy_updates=2)
    fit(adrrl(data, spread_from_imagination=learns), data)
    assert torch.equal(*spreads) != learns  # the second update has imagined data alone


def test_a2c_learns_its_spread_as_all_else():
    with pytest.raises(ValueError, match=r"`imagination\.spread_from_imagination` must be true"):
        adrrl(trajectories(), policy_update=A2C())


def test_every_iteration_logs_its_keys():
    data = trajectories()
    logged = fit(adrrl(data, guidance=NoiseConditional(alpha=0.25)), data).callback_metrics
    documented = {
        "diffusion": "loss return_loss heldout_loss return_correlation imagined_return_mean imagined_return_cvar "
        "imagined_termination_rate real_termination_rate action_spread used_fraction",
        "guidance": "path_kl log_ratio strength",
        "time": "env_steps collect_share diffusion_share imagine_share update_share",
    }
    assert {f"{group}/{name}" for group, names in documented.items() for name in names.split()} < logged.keys()
    assert all(torch.isfinite(value) for value in logged.values())


@pytest.mark.parametrize(
    "guidance", [NoGuidance, PaperGuidance, ReleasedGuidance, NoiseConditional, WorstOfM, QuantileConditional]
)
@pytest.mark.parametrize("denoiser", [ResidualMLP(hidden_dim=16, num_layers=1), CausalGRU(width=8)], ids=type)
def test_every_rule_trains_with_every_denoiser(guidance, denoiser):
    data = trajectories(iterations_per_epoch=1)
    settings = {"guidance": guidance(alpha=0.25), "denoiser": denoiser, "solver": DDPM(length=4)}
    logged = fit(adrrl(data, **settings), data).callback_metrics
    assert torch.isfinite(logged["diffusion/imagined_return_mean"])


@pytest.mark.parametrize("guidance", [NoGuidance, WorstOfM, QuantileConditional, TransitionGradient])
def test_every_rule_of_single_transitions_trains_row_by_row(guidance):
    data = trajectories(iterations_per_epoch=1)
    settings = {"guidance": guidance(alpha=0.25), "denoiser": RowwiseGRU(width=8, hidden_dim=8)}
    logged = fit(adrrl(data, **settings), data).callback_metrics
    assert torch.isfinite(logged["diffusion/imagined_return_mean"])
    assert logged["diffusion/used_fraction"] > 0.9


@pytest.mark.parametrize("setting", [{"guidance": PaperGuidance()}, {"policy_guidance": Score()}], ids=str)
def test_rules_of_whole_trajectories_are_refused_row_by_row(setting):
    with pytest.raises(ValueError, match="revises whole trajectories, which RowwiseGRU never sees"):
        adrrl(trajectories(), denoiser=RowwiseGRU(width=8, hidden_dim=8), **setting)


def test_the_strength_aims_at_what_it_is_told():
    logged = {}
    for target in ("kl", "cvar"):
        data = trajectories(iterations_per_epoch=1)
        metrics = fit(adrrl(data, guidance=NoiseConditional(alpha=0.25, target=target)), data).callback_metrics
        logged[target] = metrics["guidance/path_kl"], metrics["guidance/strength"]
    # The same seed imagines the same trajectories with the initial strength of 1; only what is made of them differs.
    assert logged["kl"][0] == logged["cvar"][0]
    towards_the_budget = (math.log(4.0) / logged["kl"][0]) ** 0.25
    torch.testing.assert_close(logged["kl"][1], towards_the_budget.clamp(math.exp(-1.0), math.exp(1.0)))
    assert (logged["cvar"][1] / logged["kl"][1]).log().abs() > 0.1


def test_imagined_returns_of_the_newest_states_are_offered():
    data = trajectories()
    module = adrrl(data)
    assert module.imagined_returns() is None
    fit(module, data)
    guided, unguided = module.imagined_returns()
    assert guided.shape == unguided.shape == (16,)
    content = {}
    module.on_save_checkpoint(content)
    continued = adrrl(data)
    continued.load_state_dict(module.state_dict())
    continued.on_load_checkpoint(content)
    assert torch.equal(continued.imagined_returns()[0], guided)


BAD_SETTINGS = [
    (WorstOfM, {"alpha": 0.0}, r"`alpha` must lie in \(0, 1\], got 0.0"),
    (NoGuidance, {"alpha": 1.5}, r"`alpha` must lie in \(0, 1\], got 1.5"),
    (NoiseConditional, {"target": "var"}, "`target` must be one of .*, got 'var'"),
    (A2C, {"learning_rate": 0.0}, "`learning_rate` must be positive, got 0.0"),
    (A2C, {"log_prob_change": -0.1}, "`log_prob_change` must be positive, got -0.1"),
    (A2C, {"entropy_weight": -1.0}, "`entropy_weight` must be at least 0, got -1.0"),
    (WorldModelSettings, {"ema_decay": 1.0}, r"`ema_decay` must lie in \[0, 1\), got 1.0"),
    (WorldModelSettings, {"learning_rate": 0.0}, "`learning_rate` must be positive, got 0.0"),
    (Reparameterized, {"damping": 0.0}, r"`damping` must lie in \(0, 1\], got 0.0"),
    (Score, {"scale": 0.0}, "`scale` must be positive, got 0.0"),
    (Imagination, {"real_fraction": 1.5}, r"`real_fraction` must lie in \[0, 1\], got 1.5"),
    (Imagination, {"guided_fraction": -0.5}, r"`guided_fraction` must lie in \[0, 1\], got -0.5"),
    (Imagination, {"warmup": -1}, "`warmup` must be at least 0, got -1"),
    (Imagination, {"real_fraction": 0.0}, "`value_from_imagination` must be true where `real_fraction` is 0"),
]


@pytest.mark.parametrize(("settings", "values", "message"), BAD_SETTINGS)
def test_bad_settings_are_refused(settings, values, message):
    with pytest.raises(ValueError, match=message):
        settings(**values)


def test_a_cvar_target_without_unguided_trajectories_is_refused():
    with pytest.raises(ValueError, match="`guided_fraction` must be below 1 where the guidance's `target` is 'cvar'"):
        adrrl(trajectories(), guidance=NoiseConditional(target="cvar"), guided_fraction=1.0)


def test_worlds_without_windows_are_refused():
    with pytest.raises(ValueError, match="AD-RRL needs trajectory windows: use `data: TrajectoryDataModule`"):
        ADRRL(rollouts().spaces)
