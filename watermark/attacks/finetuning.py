"""Fine-tuning (section V-E3): the thief trains on, without the key."""

from watermark.embedding import continue_training as finetune

__all__ = ["finetune"]
