"""Fine-tuning (section V-E3): the thief trains on, without the key."""

from watermark.tasks import task_alone
from watermark.training import Compute, clone, fit


def finetune(model, batches, *, steps, learning_rate, folder=None, compute=Compute()):
    """A copy of `model` trained further on its own task alone, Eq. (5), with a fresh Adam.

    Args:
      model: a Keras model.
      batches: training batches, as from `Denoising.batches`: the original data or new ones.
      steps: number of steps.
      learning_rate: a float or a Keras schedule.
      folder: where an interrupted run resumes.
    """
    tuned = clone(model)
    fit(tuned, task_alone, batches, steps=steps, learning_rate=learning_rate, folder=folder, compute=compute,
        title="fine-tuning")
    return tuned
