"""The command line: one YAML file describes one run, and what is wrong with it is said in one line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gymnasium
from jsonargparse import ArgumentError, Namespace
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

# Imported so that configurations can name their classes by short names.
import rrl.algorithms  # noqa: F401
from rrl.algorithms.base import RLModule
from rrl.checkpoints import BestAndLastCheckpoint, RunState, read_checkpoint, require_buffer
from rrl.checkpoints.loading import MARKER, check_fits, check_same_worlds
from rrl.checkpoints.state import check_progress
from rrl.cli_checks import (
    check_address,
    check_length,
    check_monitor,
    check_writable,
    refuse_automatic,
    refuse_linked,
    whole_number_seed,
)
from rrl.cli_errors import (
    ConfigurationError,
    check_files,
    given_keys,
    refuse_hidden_classes,
    refuse_nulls,
    restrict_classes,
)
from rrl.cli_sentences import one_sentence
from rrl.data import RolloutDataModule
from rrl.diffusion import DenoiserSettings, GuidanceSettings, PolicyGuidanceSettings, SolverSettings
from rrl.evaluation import AttackEvaluation, ImaginationDiagnostics, NominalEvaluation
from rrl.interrupts import GracefulInterrupt
from rrl.progress import EnvStepsProgressBar
from rrl.serving import ModelCallback
from rrl.tracking import METRICS_FILE, MLflowRunLogger
from rrl.tracking.claim import ClaimedError, read_identity
from rrl.tracking.figures import FigureCallback
from rrl.tracking.provenance import flatten_config, new_run_name, package_versions, telling_params, training_tags

LOGGER = "trainer.logger"
KINDS = (
    LightningModule,
    LightningDataModule,
    DenoiserSettings,
    GuidanceSettings,
    PolicyGuidanceSettings,
    SolverSettings,
)
"""What a ``class_path`` may hold: classes below one of these."""
SECTIONS = {
    "evaluation": NominalEvaluation,
    "attacks": AttackEvaluation,
    "diagnostics": ImaginationDiagnostics,
    "checkpoint": BestAndLastCheckpoint,
}
"""Classes of the sections beside model, data and trainer."""
INPUT_ERRORS = (ValueError, TypeError, gymnasium.error.Error, MisconfigurationException)
"""What constructors raise for arguments that they cannot take."""


class Parser(LightningArgumentParser):
    """Reports errors by exception and accepts no abbreviations: ``--trainer.max_epoch`` is a mistake, not a guess."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "exit_on_error": False})
        self.allow_abbrev = False


class RecordConfig(SaveConfigCallback):
    """Writes the resolved configuration to the folder of the run and, with its origins, to MLflow."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Record what runs here."""
        logger = trainer.logger
        if not isinstance(logger, MLflowRunLogger):
            return
        config = self.config.as_dict()
        env_id = str(config["data"].get("init_args", {}).get("env_id", ""))
        logger.log_tags(training_tags(type(pl_module).__name__, env_id, config["seed_everything"], sys.argv))
        logger.log_environment(env_id or "none", f"mujoco {package_versions().get('mujoco')}")
        logger.log_params(telling_params(flatten_config(config)), whole_config=True)
        logger.log_artifact(logger.run_dir / self.config_filename)


class RRLCLI(LightningCLI):
    """LightningCLI for one command, ``python train.py --config FILE``, without subcommands.

    The defaults file is read before every ``--config``. ``--ckpt_path`` continues a run, in MLflow too. Everything that
    can be wrong with the input is found before the first file is written.
    """

    def __init__(self, args: list[str] | None, defaults: Path) -> None:
        self._logger_options: Namespace | None = None
        self.checkpoint: dict[str, Any] | None = None
        restrict_classes()
        super().__init__(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            run=False,
            auto_configure_optimizers=False,
            parser_class=Parser,
            parser_kwargs={"default_config_files": [str(defaults)], "prog": "train.py"},
            save_config_callback=RecordConfig,
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
            trainer_defaults={"callbacks": [RunState(), FigureCallback(), ModelCallback(), GracefulInterrupt()]},
            args=args,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Declare what lies beside model, data and trainer."""
        parser.add_argument("--ckpt_path", type=str | None, default=None, help="Checkpoint of the run to continue.")
        for section, cls in SECTIONS.items():
            parser.add_lightning_class_args(cls, section)
        parser.link_arguments("data.spaces", "model.init_args.spaces", apply_on="instantiate")
        parser.link_arguments("seed_everything", "data.init_args.seed", compute_fn=whole_number_seed)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Read the configuration; ConfigurationError if there is anything wrong with it."""
        given = sys.argv[1:] if args is None else args
        check_files(given)
        refuse_linked(given_keys(given))
        try:
            super().parse_arguments(parser, args)
        except ArgumentError as error:
            raise ConfigurationError(self._explain(error)) from error
        refuse_hidden_classes(self.config)
        refuse_nulls(self.config, SECTIONS | {"trainer": Trainer})
        refuse_automatic(self.config.trainer)
        check_length(self.config.trainer)
        check_monitor(self.config)

    def before_instantiate_classes(self) -> None:
        """Find the checkpoint to continue from, check that the output folder can be written, and name the run."""
        if self.config.trainer.enable_progress_bar is not False:
            self.trainer_defaults["callbacks"].append(EnvStepsProgressBar())
        if self.config.ckpt_path:
            self.checkpoint = read_checkpoint(self.config.ckpt_path)
        if self.config.checkpoint.dirpath:
            check_writable(Path(self.config.checkpoint.dirpath))
        logger = self.config.get(LOGGER)
        for each in logger if isinstance(logger, list) else [logger]:
            check_address(each.get("init_args.tracking_uri") if isinstance(each, Namespace) else None)
        if isinstance(logger, Namespace) and logger.class_path.endswith(MLflowRunLogger.__name__):
            check_writable(Path(logger.init_args.root))
            check_writable(Path(logger.init_args.root) / "runs")
            self._logger_options = logger.init_args.clone()
            self._name_run(logger.init_args)

    def instantiate_classes(self) -> None:
        """Build data, algorithm and trainer; ConfigurationError if one of them refuses its arguments."""
        try:
            super().instantiate_classes()
            if isinstance(self.model, RLModule) and isinstance(self.datamodule, RolloutDataModule):
                self.model.check_rollouts(self.datamodule.num_steps)
                self.model.check_trainer(self.trainer)
            for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
                if isinstance(callback, NominalEvaluation):
                    callback.check_worlds(self.datamodule)
        except INPUT_ERRORS as error:
            raise ConfigurationError(self._explain(error)) from error

    def after_instantiate_classes(self) -> None:
        """Check that the checkpoint to continue from belongs to this configuration."""
        if self.checkpoint is not None:
            check_fits(self.checkpoint, self.model)
            check_progress(self.checkpoint, self.trainer)
            require_buffer(self.checkpoint, self.config.ckpt_path)
            check_same_worlds(self.checkpoint, self.datamodule, self.trainer.num_nodes * self.trainer.num_devices)
        if self._logger_options is not None:
            # The recorded configuration must start a run of its own when it is used again.
            self.config.trainer.logger.init_args = self._logger_options
        for logger in self.trainer.loggers:
            if isinstance(logger, MLflowRunLogger):
                try:
                    logger.claim_folder(start_over=self.checkpoint is None)
                except ClaimedError as error:
                    raise ConfigurationError(str(error)) from error

    def _explain(self, error: Exception) -> str:
        keys = [action.dest for action in self.parser._actions]
        classes = [cls.__name__ for base in KINDS for cls in subclasses(base)]
        return one_sentence(str(error), keys, classes)

    def _name_run(self, options: Namespace) -> None:
        if self.checkpoint is not None:
            mark, folder = self.checkpoint[MARKER], Path(self.config.ckpt_path).resolve().parent.parent
            if options.run_name in {None, mark["run_name"]} and (folder / METRICS_FILE).is_file():
                options.folder = options.folder or str(folder)
            known = read_identity(folder)  # a run that had not reached MLflow yet has been delivered since
            options.run_id = options.run_id or mark["run_id"] or (known and known.run_id)
            options.run_name = options.run_name or mark["run_name"]
        elif options.run_name and self._can_be_continued(Path(options.root) / "runs" / options.run_name):
            raise ConfigurationError(
                f"There is a run {options.run_name} already; continue it with --ckpt_path, or choose another run_name."
            )
        if not options.run_name:
            env_id = self.config.get("data.init_args.env_id", "")
            options.run_name = new_run_name(self.config.model.class_path, env_id, self.config.seed_everything)

    def _can_be_continued(self, folder: Path) -> bool:
        """Tell whether a folder is that of a run with a checkpoint, rather than of one that was killed before."""
        checkpoints = Path(self.config.checkpoint.dirpath or folder / "checkpoints")
        return folder.is_file() or (folder.is_dir() and any(checkpoints.glob("*.ckpt")))


def subclasses(cls: type) -> list[type]:
    """List the classes of this package that have been imported and inherit from a class, however deep."""
    children: list[type] = cls.__subclasses__()
    found = children + [deeper for child in children for deeper in subclasses(child)]
    return [child for child in found if child.__module__.startswith("rrl.")]
