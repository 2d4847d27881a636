"""The random states and the mark in a checkpoint."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

from rrl.checkpoints import BestAndLastCheckpoint, CheckpointError, RunState
from rrl.checkpoints.state import check_optimizer, check_progress


def draw():
    return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.randn(3).tolist()


def test_global_random_streams_continue_after_a_safe_round_trip():
    random.gauss(0, 1)
    np.random.randn()  # both keep half of a pair of Gaussian draws for the next call
    file = io.BytesIO()
    torch.save(RunState().state_dict(), file)
    expected = draw()
    file.seek(0)
    RunState().load_state_dict(torch.load(file, weights_only=True))
    assert draw() == expected


def test_the_last_checkpoint_is_renewed_in_epochs_that_do_not_improve(tmp_path):
    class Falling(LightningModule):
        """Its only metric is best in the first epoch."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def training_step(self, batch, batch_idx):
            return self.weight.square().sum()

        def on_train_epoch_end(self):
            self.log("eval/return_mean", -float(self.current_epoch))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = Trainer(
        accelerator="cpu",
        max_epochs=3,
        logger=False,
        callbacks=[BestAndLastCheckpoint(dirpath=str(tmp_path))],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Falling(), DataLoader(TensorDataset(torch.zeros(2, 1)), batch_size=1))
    epochs = {name: torch.load(tmp_path / f"{name}.ckpt", weights_only=True)["epoch"] for name in ("best", "last")}
    assert epochs == {"best": 0, "last": 2}


def test_what_a_kill_left_half_written_is_removed_at_the_next_start(tmp_path):
    litter = [".last.ckpt.123", ".best.ckpt.7", ".last.0a1b2c3d.buffer.123"]
    others = ["last.ckpt", "last.0a1b2c3d.buffer", ".last.ckpt.mine", ".gitignore"]
    for name in [*litter, *others]:
        (tmp_path / name).touch()
    checkpoint = BestAndLastCheckpoint(dirpath=str(tmp_path))
    with pytest.warns(UserWarning, match="exists and is not empty"):
        checkpoint.setup(Trainer(accelerator="cpu", logger=False), LightningModule(), "fit")
    assert {path.name for path in tmp_path.iterdir()} == set(others)


def trained(folder, *, score=1.0):
    checkpoint = BestAndLastCheckpoint(dirpath=str(folder))
    folder.mkdir()
    (folder / "best.ckpt").touch()
    best = str(folder / "best.ckpt")
    checkpoint.best_model_path = checkpoint.kth_best_model_path = best
    checkpoint.best_model_score = checkpoint.kth_value = checkpoint.current_score = torch.tensor(score)
    checkpoint.best_k_models = {best: torch.tensor(score)}
    return checkpoint


def test_best_score_moves_with_the_folder(tmp_path):
    state = trained(tmp_path / "old").state_dict()
    assert str(tmp_path) not in str(state)
    (tmp_path / "old").rename(tmp_path / "new")
    moved = BestAndLastCheckpoint(dirpath=str(tmp_path / "new"))
    moved.load_state_dict(state)
    assert moved.best_model_path == str(tmp_path / "new" / "best.ckpt")
    assert moved.best_model_score == moved.current_score == 1
    assert not moved.check_monitor_top_k(Trainer(accelerator="cpu", logger=False), torch.tensor(0.5))


def test_run_that_goes_on_in_another_folder_has_no_best_checkpoint_there_yet(tmp_path):
    elsewhere = BestAndLastCheckpoint(dirpath=str(tmp_path / "elsewhere"))
    elsewhere.load_state_dict(trained(tmp_path / "old").state_dict())
    assert elsewhere.best_model_path == ""
    assert elsewhere.check_monitor_top_k(Trainer(accelerator="cpu", logger=False), torch.tensor(0.5))


@pytest.mark.filterwarnings("ignore:.*could not find the monitored key", "ignore:There is no best checkpoint")
def test_the_last_checkpoint_is_written_in_epochs_without_a_policy_update(tmp_path):
    class WarmingUp(LightningModule):
        """Takes no step of its optimizer, which is what Lightning counts."""

        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def training_step(self, batch, batch_idx):
            pass

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        callbacks=[BestAndLastCheckpoint(dirpath=str(tmp_path))],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(WarmingUp(), DataLoader(TensorDataset(torch.zeros(2, 1)), batch_size=1))
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 1


@pytest.mark.parametrize("count", [{"x": 1}, torch.float64, True, -1, 0.5, 2**70, None])
def test_count_that_is_none_is_a_sentence_with_its_name(count):
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    loops = trainer.fit_loop.state_dict()
    whole = {"epoch": 3, "global_step": 7, "loops": {"fit_loop": loops}}
    check_progress(whole, trainer)
    loops["epoch_loop.batch_progress"]["total"]["processed"] = count
    with pytest.raises(CheckpointError, match=r"`loops\.fit_loop\.epoch_loop\.batch_progress\.total\.processed`"):
        check_progress(whole, trainer)
    with pytest.raises(CheckpointError, match="`epoch`"):
        check_progress(whole | {"epoch": count}, trainer)


def trained_adam():
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.Adam([weight], lr=0.1)
    weight.square().sum().backward()
    optimizer.step()
    return optimizer


@pytest.mark.parametrize("setting", [{}, torch.float64, -0.1, float("nan"), 1, torch.tensor(0.1)])
def test_learning_rate_that_is_none_is_a_sentence(setting):
    optimizer = trained_adam()
    check_optimizer(optimizer)
    optimizer.param_groups[0]["lr"] = setting
    with pytest.raises(CheckpointError, match="state of an optimizer"):
        check_optimizer(optimizer)


@pytest.mark.parametrize("average", [None, 0.5, torch.zeros(2), torch.full((3,), float("nan"))])
@pytest.mark.parametrize("name", ["step", "exp_avg", "exp_avg_sq"])
def test_average_of_another_kind_is_a_sentence(name, average):
    optimizer = trained_adam()
    (state,) = optimizer.state.values()
    state[name] = average
    with pytest.raises(CheckpointError, match="state of an optimizer"):
        check_optimizer(optimizer)
    del state[name]
    with pytest.raises(CheckpointError, match="state of an optimizer"):
        check_optimizer(optimizer)
