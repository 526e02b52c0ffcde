"""How much an experiment spends: `smoke` to see it run, `quick` for a small machine, `paper` for the paper's own."""

from dataclasses import dataclass, field, replace

from watermark.hosts import HOSTS, get_host
from watermark.recipes import Embedding, Recipe


@dataclass(frozen=True)
class Profile:
    """How much each kind of work spends.

    Attributes:
      name: key in `PROFILES`.
      hosts: how each host is trained, phase after phase.
      embed: how they are marked.
      particular: {task: fields in which its hosts are marked otherwise}.
      trials: seeds per row.
      epoch: what the attacks take for an epoch, in steps of `embed.batch_size` patches.
      visualizer: training steps of a visualizer.
      null_keys: fresh keys behind each p-value.
      crop: side in pixels that test images are cut to, or None.
      sample: whether the bundled images may stand in for a set that cannot be had.
    """

    name: str
    hosts: dict
    embed: Embedding
    trials: int
    epoch: int = 20
    visualizer: int = 450
    null_keys: int = 1000
    crop: int | None = None
    sample: bool = True
    particular: dict = field(default_factory=dict)

    def marking(self, host):
        """How a host is marked."""
        return replace(self.embed, **self.particular.get(get_host(host).task, {}))


FINAL_LEARNING_RATE = 1e-4  # DnCNN's last, which a thief fine-tunes with
EPOCH = 1770  # batches of 128 patches in the paper's epoch of Train400



def _muon(steps, learning_rate=2e-3):
    # 40x40 patches see the padding nearly everywhere (the receptive fields are 35 and more), whole images hardly do.
    return Recipe(steps, 6, learning_rate, patch=64, optimizer="muon")


QUICK = {
    "dncnn": (_muon(10_000), _muon(12_000, 1e-3)),
    "red": (_muon(8000),),
    "vdsr": (_muon(6000),),
    "srdncnn": (_muon(6000),),
}

PROFILES = {
    profile.name: profile
    for profile in (
        Profile("smoke", dict.fromkeys(HOSTS, (Recipe(3, 4, 1e-3, optimizer="muon"), Recipe(2, 2, 1e-3, patch=48))),
                Embedding(3, 4, 3e-4, reach=1e-3), trials=1, epoch=1, visualizer=2, null_keys=9, crop=48),
        Profile("quick", QUICK,
                Embedding(1000, 32, 6e-4, optimizer="muon", strength=3e-4, boost=30.0, reach=3e-3),
                trials=3, particular={"sr": {"others": 1e-3}}),
        Profile("paper", dict.fromkeys(HOSTS, (Recipe(50 * EPOCH, 128, 1e-3, fold=False),)),
                Embedding(8 * EPOCH, 128, 1e-3, fold=False, copies=5), trials=30, epoch=EPOCH, sample=False),
    )
}


def get_profile(name):
    """`PROFILES[name]`, or a ValueError that lists the choices."""
    if name not in PROFILES:
        raise ValueError(f"unknown profile {name!r}; choose from {', '.join(PROFILES)}")
    return PROFILES[name]
