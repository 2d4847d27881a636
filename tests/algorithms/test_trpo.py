"""TRPO: one update changes its player and nothing else, and the same seed gives the same run."""

from __future__ import annotations

import pytest
import torch

from tests.fitting import changed, fit, recorded_bounds, rollouts, snapshot, trpo


def test_one_update_changes_policy_value_function_normaliser_and_counter():
    data = rollouts(iterations_per_epoch=1)
    module = trpo(data)
    before = snapshot(module)
    fit(module, data)
    assert changed(module, before) == before.keys()


def test_the_normaliser_moves_after_the_update():
    data = rollouts(iterations_per_epoch=1)
    module, seen = trpo(data), []
    module.update_player = lambda *args, **options: seen.append(module.protagonist.normalizer.count.item())
    fit(module, data)
    assert seen == [0.0]
    assert module.protagonist.normalizer.count == 32.0


def test_the_policy_stays_in_its_trust_region():
    data = rollouts(iterations_per_epoch=4)
    module = trpo(data, max_kl=0.003)
    assert 0.0 < fit(module, data).callback_metrics["protagonist/kl_divergence"] <= 0.003


def test_the_trust_region_shrinks_linearly_to_its_last_bound(monkeypatch):
    data, bounds = rollouts(iterations_per_epoch=2), recorded_bounds(monkeypatch)
    fit(trpo(data, max_kl=0.01, final_max_kl=0.002), data, max_epochs=2)
    assert bounds == pytest.approx([0.008, 0.006, 0.004, 0.002])


def test_a_trust_region_that_shrinks_needs_an_end():
    data = rollouts()
    with pytest.raises(ValueError, match="`final_max_kl` needs a fixed number of epochs, got `max_epochs` -1"):
        fit(trpo(data, final_max_kl=0.002), data, max_epochs=-1)


def test_same_seed_gives_the_same_parameters():
    modules = []
    for _ in range(2):
        data = rollouts()
        modules.append(trpo(data, seed=5))
        fit(modules[-1], data)
    first, second = (module.state_dict() for module in modules)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_other_seeds_give_other_parameters():
    first, second = (trpo(rollouts(), seed=seed).state_dict() for seed in (0, 1))
    assert not torch.equal(first["protagonist.policy.mean.0.weight"], second["protagonist.policy.mean.0.weight"])
