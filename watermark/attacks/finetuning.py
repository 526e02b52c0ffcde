"""Fine-tuning (section V-E3): the thief trains on, without the key."""

from __future__ import annotations

from dataclasses import replace

import keras

from watermark.attacks.base import Attack, Thief, Training, attack, knob
from watermark.recipes import Recipe, changed
from watermark.tasks import task_alone
from watermark.training import Batches, Run, clone, fit, identified

LEARNING_RATE = 1e-4  # DnCNN's last
RECIPE = Recipe(1000, 32, LEARNING_RATE, schedule="constant")


def finetune(model: keras.Model, batches: Batches, recipe: Recipe = RECIPE, run: Run = Run(title="fine-tuning"),
             **changes) -> keras.Model:
    """A copy of `model` trained further on its own task alone, Eq. (5), with a fresh optimizer.

    Args:
      model: a Keras model.
      batches: training batches, as from `Denoising.batches`: the original data or new ones.
      recipe: how long, how fast; by default Adam at a constant 1e-4 for 1,000 steps.
      run: where an interrupted run resumes, and so on.
      **changes: fields of the recipe or of the run to change, such as steps=300.

    Raises:
      TypeError: for a change that is a field of neither.
    """
    recipe, run = changed((recipe, run), changes)
    run = replace(run, about=identified(model))
    with run.compute.placement.scope():
        tuned = clone(model)
    fit(tuned, task_alone, batches, recipe, run)
    return tuned


@attack("finetune")
class Finetune(Attack):
    """Fine-tuning by Adam at a constant rate."""

    steps: int = knob(help="training steps", low=0, cli=1000, none=0)
    learning_rate: float = knob(help="of Adam, constant", low=0.0, cli=LEARNING_RATE)
    batch_size: int = knob(help="patches a step", low=1, cli=32)
    patch: int | None = knob(help="side of a training patch in pixels", low=1)
    data: str = knob(help="the images trained on", image_set=True)
    seed: int = knob(help="of the batches", cli=0)

    trains = True
    extends = "steps"

    @property
    def label(self) -> str:
        """The attack in a few words, with its length and its data."""
        return f"fine-tuned, {self.steps} steps, {self.data}"

    @property
    def training(self) -> Training:
        """What it trains: the task alone."""
        recipe = Recipe(self.steps, self.batch_size, self.learning_rate, patch=self.patch, schedule="constant")
        return Training(self.data, recipe, self.seed)

    def __call__(self, model: keras.Model, thief: Thief) -> keras.Model:
        """The fine-tuned copy."""
        if not self.steps:
            return clone(model)
        data, recipe, seed, _ = self.training
        batches = thief.batches(data, recipe, seed + thief.seed)
        return finetune(model, batches, recipe, replace(thief.run, title="fine-tuning"))
