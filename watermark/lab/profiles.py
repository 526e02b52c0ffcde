"""How much an experiment spends: `smoke` to see it run, `quick` for a small machine, `paper` for the paper's own."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """One training: Adam from `learning_rate` to 0 along a cosine.

    Attributes:
      steps: training steps.
      batch_size: patches per step.
      learning_rate: the first step's.
      fold: whether batch norm is folded into the convolutions before training.
      horizon: the step at which the cosine would reach 0, if that is not the last one.
      patch: side of a training patch in pixels, if not the host's own.
    """

    steps: int
    batch_size: int
    learning_rate: float
    fold: bool = True
    horizon: int | None = None
    patch: int | None = None


@dataclass(frozen=True)
class Embedding(Recipe):
    """A training that embeds a key; the attributes are arguments of `watermark.embed`."""

    copies: int = 1
    strength: float = 1e-3
    reach: float = 0.0
    boost: float = 1.0


@dataclass(frozen=True)
class Profile:
    """Everything a record depends on besides its row and seed; `trials` alone does not enter a record's id.

    Attributes:
      name: key in `PROFILES`.
      host: how hosts are trained, phase after phase.
      embed: how they are marked.
      trials: seeds per row.
      null_keys: fresh keys behind each p-value.
      crop: side in pixels that test images are cut to, or None.
      sample: whether the bundled images may stand in for a set that cannot be had.
    """

    name: str
    host: tuple
    embed: Embedding
    trials: int
    null_keys: int = 1000
    crop: int | None = None
    sample: bool = True


EPOCH = 1770  # batches of 128 patches in the paper's epoch of Train400

PROFILES = {
    profile.name: profile
    for profile in (
        Profile("smoke", (Recipe(3, 4, 1e-3), Recipe(2, 2, 1e-3, patch=48)),
                Embedding(3, 4, 3e-4, reach=1e-3), trials=1, null_keys=9, crop=48),
        # Whole images are mostly interior; the second phase has larger patches, which are too.
        Profile("quick", (Recipe(10_050, 32, 7e-4, horizon=12_000), Recipe(4500, 12, 2.5e-4, patch=64)),
                Embedding(700, 32, 3e-4, reach=5e-4, boost=10.0), trials=3),
        Profile("paper", (Recipe(50 * EPOCH, 128, 1e-3, fold=False),),
                Embedding(8 * EPOCH, 128, 1e-3, fold=False, copies=5), trials=30, sample=False),
    )
}


def get_profile(name):
    """`PROFILES[name]`, or a ValueError that lists the choices."""
    if name not in PROFILES:
        raise ValueError(f"unknown profile {name!r}; choose from {', '.join(PROFILES)}")
    return PROFILES[name]
