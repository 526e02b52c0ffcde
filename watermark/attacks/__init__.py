"""Attacks: each takes a marked model and gives back an attacked copy; the argument stays as it was.

Forging leaves the model alone and makes a key instead.
"""

from watermark.attacks.finetuning import finetune
from watermark.attacks.forging import forge
from watermark.attacks.overwriting import overwrite
from watermark.attacks.pruning import prune

__all__ = ["finetune", "forge", "overwrite", "prune"]
