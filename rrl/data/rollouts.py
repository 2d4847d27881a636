"""Stream fresh rollouts of the policy in training."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from lightning import LightningDataModule
from lightning.pytorch.utilities import rank_zero_warn
from lightning_utilities.core.apply_func import apply_to_collection
from torch.utils.data import DataLoader, IterableDataset

from rrl.checks import require_at_least, require_within
from rrl.data.curriculum import Curriculum, Widening
from rrl.distributed import gather_objects
from rrl.envs import AdversaryBodies, ForceUnit, MuJoCoVectorEnv, Pushes, make_vec_env, spaces_of
from rrl.envs.gymnasium_worlds import seeded_worlds
from rrl.envs.make import nominal_limit
from rrl.random_streams import Purpose, torch_stream
from rrl.rollout import RolloutCollector
from rrl.types import HasActor, Rollout, TensorBatch


class RolloutDataset(IterableDataset[TensorBatch]):
    """A fixed number of batches an epoch, each made when it is asked for.

    The length is part of the algorithm's correctness: from a dataset without one the Trainer fetches a batch ahead, so
    each rollout would come from the policy before the last update.
    """

    def __init__(self, make_batch: Callable[[], TensorBatch], length: int) -> None:
        self.make_batch, self.length = make_batch, length

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self.length

    def __iter__(self) -> Iterator[TensorBatch]:
        """Make one batch after the other."""
        for _ in range(self.length):
            yield self.make_batch()


class RolloutDataModule(LightningDataModule):
    """Own the training worlds and yield one rollout a training step.

    Args:
        env_id: Gymnasium id, or ``module:id`` where a module of yours registers it. The MuJoCo tasks of
            :mod:`rrl.envs.tasks` are stepped natively, all others by Gymnasium.
        num_envs: Worlds over all ranks, ``N``; each rank steps its share.
        num_steps: Steps of each world a rollout, ``T``.
        iterations_per_epoch: Rollouts, and so policy updates, an epoch.
        seed: Seed of worlds and action noise; the command line gives all parts of a run the same one.
        max_episode_steps: Time limit of an episode; the task's own where None. Must be given where it has none.
        env_kwargs: Keywords of the Gymnasium environment, such as ``reset_noise_scale``.
        wrappers: Wrappers by class path, the innermost first, with their keywords, such as
            ``{gymnasium.wrappers.FlattenObservation: {}}``; not for native tasks.
        pushes: Random pushes that the policy does not observe; none where None.
        physics: Ranges from which each episode draws multiples of the nominal physics, such as ``{mass: [0.5, 1.5]}``;
            nominal where None.
        curriculum: How pushes and ranges of physics widen as the policy improves; whole from the beginning where None.
        adversary: Bodies of any MuJoCo environment that the adversary pushes, such as ``{bodies: [torso]}``; the task's
            own, if it has an adversary, where None.
        force_limit: Largest force of the adversary along an axis; the task's own, or 5 newtons, where None.
        force_limit_unit: ``newtons``, or ``body_weight``: multiples of the weight of the whole model.
        random_actions: Probability with which an executed action is drawn at random, in ``[0, 1)``. The policy does not
            observe it, and its own action is what is recorded.
    """

    def __init__(
        self,
        env_id: str,
        *,
        num_envs: int = 16,
        num_steps: int = 128,
        iterations_per_epoch: int = 10,
        seed: int = 0,
        max_episode_steps: int | None = None,
        env_kwargs: dict[str, Any] | None = None,
        wrappers: dict[str, dict[str, Any] | None] | None = None,
        pushes: Pushes | None = None,
        physics: dict[str, tuple[float, float]] | None = None,
        curriculum: Curriculum | None = None,
        adversary: AdversaryBodies | None = None,
        force_limit: float | None = None,
        force_limit_unit: ForceUnit = "newtons",
        random_actions: float = 0.0,
    ) -> None:
        super().__init__()
        require_at_least(1, num_envs=num_envs, num_steps=num_steps, iterations_per_epoch=iterations_per_epoch)
        require_within("[0, 1)", random_actions=random_actions)
        if curriculum is not None and pushes is None and not physics:
            raise ValueError("`curriculum` needs `pushes` or ranges of `physics` that can widen, got neither.")
        self.env_id, self.num_envs, self.num_steps = env_id, num_envs, num_steps
        self.iterations_per_epoch, self.seed = iterations_per_epoch, seed
        self.max_episode_steps, self.env_kwargs, self.wrappers = max_episode_steps, env_kwargs, wrappers
        self.nominal_limit = nominal_limit(env_id, max_episode_steps)
        self.pushes, self.physics, self.curriculum = pushes, physics, curriculum
        self.widening = Widening(curriculum) if curriculum else None
        self.adversary, self.force_limit, self.force_limit_unit = adversary, force_limit, force_limit_unit
        self.random_actions = random_actions
        self.collector: RolloutCollector | None = None
        # In every checkpoint, in plain types that load without running code.
        classes = [cls for cls in type(self).__mro__ if issubclass(cls, RolloutDataModule)]
        names = [name for cls in classes for name in inspect.signature(cls).parameters if name != "worlds"]
        settings = {name: getattr(self, name) for name in names}
        settings["pushes"] = None if pushes is None else dataclasses.asdict(pushes)
        settings["curriculum"] = None if curriculum is None else dataclasses.asdict(curriculum)
        settings["adversary"] = None if adversary is None else dataclasses.asdict(adversary)
        self.save_hyperparameters(settings, logger=False)
        # One world is built at once, so that a bad setting fails here.
        probe = self.make_envs(1)
        self.spaces = spaces_of(probe)
        probe.close()
        if random_actions > 0.0 and not np.isfinite([self.spaces.action_low, self.spaces.action_high]).all():
            raise ValueError(f"`random_actions` need a bounded action box, that of {env_id} is infinite.")

    def make_envs(
        self, num_envs: int, *, seed: int | None = None, first_world: int = 0, nominal: bool = False
    ) -> VectorEnv[Any, Any, Any]:
        """Build worlds like those of the training, which the caller closes, with the run's seed unless one is given.

        ``nominal`` ones have no pushes, random physics or shortened time limit.
        """
        envs = make_vec_env(
            self.env_id,
            num_envs,
            seed=self.seed if seed is None else seed,
            first_world=first_world,
            max_episode_steps=self.nominal_limit if nominal else self.max_episode_steps,
            env_kwargs=self.env_kwargs,
            wrappers=self.wrappers,
            pushes=None if nominal else self.pushes,
            physics=None if nominal else self.physics,
            adversary=self.adversary,
            force_limit=self.force_limit,
            force_limit_unit=self.force_limit_unit,
        )
        self.set_width(envs)
        return envs

    def set_width(self, envs: VectorEnv[Any, Any, Any]) -> None:
        """Let the episodes that start from now on have the width that the curriculum has reached, if there is one."""
        if self.widening is not None and isinstance(envs, MuJoCoVectorEnv):
            envs.width = self.widening.width

    def _set_restarts(self, envs: VectorEnv[Any, Any, Any], algorithm: HasActor) -> None:
        """Let episodes begin where the algorithm wants it, in worlds whose states can be set."""
        restarts = algorithm.rollout_restarts()
        if restarts is not None and isinstance(envs, MuJoCoVectorEnv):
            envs.restart_in(restarts.states.numpy(), restarts.weights.numpy(), restarts.share)

    def setup(self, stage: str) -> None:
        """Build this rank's share of the worlds; ValueError if they cannot be shared equally."""
        if stage != "fit" or self.collector is not None:
            return
        ranks, rank = self._ranks()
        if self.num_envs % ranks != 0:
            raise ValueError(f"`num_envs` must be divisible by the number of processes {ranks}, got {self.num_envs}.")
        share = self.num_envs // ranks
        envs = self.make_envs(share, first_world=rank * share)
        chance = self.random_actions
        self.collector = RolloutCollector(envs, seed=self.seed, first_world=rank * share, random_actions=chance)

    def train_dataloader(self) -> DataLoader[TensorBatch]:
        """Return the stream of rollouts."""
        dataset = RolloutDataset(self.make_batch, self.iterations_per_epoch)
        # Without a generator of its own the loader draws from the global stream whenever an epoch begins, and a run
        # that was interrupted within an epoch would not resume exactly.
        return DataLoader(dataset, batch_size=None, num_workers=0, generator=torch_stream(Purpose.LOADER, 0))

    def make_batch(self) -> TensorBatch:
        """Collect the next batch with the policy as it is now."""
        return self.collect()

    def collect(self) -> Rollout:
        """Collect one rollout with the policy as it is now, and let the curriculum see the episodes of all ranks."""
        if self.collector is None or self.trainer is None:
            raise RuntimeError("rollouts need `setup('fit')` and a Trainer, whose module chooses the actions.")
        algorithm = cast(HasActor, self.trainer.lightning_module)
        self.set_width(self.collector.envs)
        self._set_restarts(self.collector.envs, algorithm)
        rollout = self.collector.collect(algorithm.rollout_actor(), self.num_steps, algorithm.rollout_adversary())
        if self.widening is None:
            return rollout
        width = torch.tensor(self.widening.width)
        self.widening.update(torch.cat(gather_objects(rollout.episodes.returns)).tolist())
        return dataclasses.replace(rollout, width=width)

    def teardown(self, stage: str) -> None:
        """Close the worlds."""
        if self.collector is not None:
            self.collector.envs.close()
            self.collector = None

    def state_dict(self) -> dict[str, Any]:
        """Return the worlds and random streams of all ranks; every rank must call this at the same time."""
        return {"ranks": gather_objects(self.rank_state())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the worlds of a checkpoint of as many processes."""
        ranks, rank = self._ranks()
        if len(state_dict["ranks"]) != ranks:
            raise ValueError(
                f"the checkpoint was written by {len(state_dict['ranks'])} processes, this run has {ranks}."
            )
        self.load_rank_state(state_dict["ranks"][rank])

    def _ranks(self) -> tuple[int, int]:
        """Number of processes, and which of them this is."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    def rank_state(self) -> dict[str, Any]:
        """Return this rank's part of the state, in plain types and tensors."""
        if self.collector is None:
            return {}
        envs = self.collector.envs
        if self.trainer is not None:  # what the algorithm has chosen since the last rollout
            self._set_restarts(envs, cast(HasActor, self.trainer.lightning_module))
        state: dict[str, Any] = {"collector": self.collector.state_dict()}
        if self.widening is not None:
            state["curriculum"] = self.widening.state_dict()
        # Gymnasium's own vector environments cannot be saved; after a resume their episodes begin anew.
        if isinstance(envs, MuJoCoVectorEnv):
            # Tensors, which a checkpoint may hold without unpickling arbitrary code.
            state["envs"] = apply_to_collection(envs.state_dict(), np.ndarray, torch.from_numpy)
        return state

    def load_rank_state(self, state: Mapping[str, Any]) -> None:
        """Restore this rank's part of the state."""
        if self.widening is not None and "curriculum" in state:
            self.widening.load_state_dict(state["curriculum"])
        if self.collector is None or "collector" not in state:
            return
        envs = self.collector.envs
        if isinstance(envs, MuJoCoVectorEnv):
            envs.load_state_dict(apply_to_collection(state["envs"], torch.Tensor, torch.Tensor.numpy))
            self.collector.load_state_dict(state["collector"])
        elif worlds := seeded_worlds(envs):
            num_episodes = int(state["collector"]["attacks"]["num_episodes"].sum())
            self.collector.resume(state["collector"], worlds.start_anew(num_episodes))
            rank_zero_warn(
                f"The run goes on in new episodes of {self.env_id}: the state of an environment that Gymnasium steps "
                "cannot be saved, so it is not exactly the run that would not have stopped."
            )
