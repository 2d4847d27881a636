"""What a run leaves behind besides its checkpoints."""

from rrl.tracking.logger import ENV_STEPS, METRICS_FILE, MLflowRunLogger

__all__ = ["ENV_STEPS", "METRICS_FILE", "MLflowRunLogger"]
