"""Forging: someone who has marked nothing claims a model with a key made up afterwards."""

from watermark.embedding import update_key
from watermark.inference import as_suspect
from watermark.keys import make_key
from watermark.verification import residual_correlation


def forge(model, seed, *, tries=1, owner="", **kind):
    """A key whose S is what `model`, any model, answers to its K: its distance is 0, and it proves nothing.

    Args:
      model: a Keras model that the forger did not mark.
      seed: what the forged keys are drawn from.
      tries: how many keys are drawn; the one with the highest rho is kept, the best that trial and error can do.
      owner: the name the forger claims.
      **kind: arguments of `make_key`, such as `size`.
    """
    names = [f"{seed} {i}" for i in range(tries)] if tries > 1 else [seed]
    found = [make_key(name, owner=owner, **kind) for name in names]
    suspect = as_suspect(model, found[0].kind)

    def rho(key):
        return residual_correlation(key.trigger[None], suspect(key.trigger[None]), key.initial[None], key.kind)[0]

    return update_key(max(found, key=rho) if tries > 1 else found[0], model)
