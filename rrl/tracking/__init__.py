"""What a run leaves behind besides its checkpoints."""

from rrl.tracking.logger import ENV_STEPS, MLflowRunLogger

__all__ = ["ENV_STEPS", "MLflowRunLogger"]
