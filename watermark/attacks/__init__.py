"""Attacks: each takes a marked model and gives back an attacked copy; the argument stays as it was."""

from watermark.attacks.finetuning import finetune
from watermark.attacks.overwriting import overwrite
from watermark.attacks.pruning import prune

__all__ = ["finetune", "overwrite", "prune"]
