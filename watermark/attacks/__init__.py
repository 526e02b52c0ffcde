"""Attacks: each takes a marked model and gives back an attacked copy; the argument stays as it was.

Forging leaves the model alone and makes a key instead.
"""

from watermark.attacks.base import ATTACKS, Attack, Thief, attack, knob
from watermark.attacks.finetuning import Finetune, finetune
from watermark.attacks.forging import forge
from watermark.attacks.overwriting import Overwrite, overwrite
from watermark.attacks.pruning import Prune, prune
from watermark.attacks.serving import Bend, Dim, Round, Serve

__all__ = ["ATTACKS", "Attack", "Bend", "Dim", "Finetune", "Overwrite", "Prune", "Round", "Serve", "Thief", "attack",
           "finetune", "forge", "knob", "overwrite", "prune"]
