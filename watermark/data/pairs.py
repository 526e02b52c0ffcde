"""Which file belongs to which, by the names that the field's data sets give to inputs and targets."""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from watermark.data.pictures import DataError

# Words that say which of a pair a file is: of super-resolution, noise, blur, rain, haze, light, and in general.
ROLES = {
    "lr", "hr", "lq", "hq", "sr", "lrbi", "lrbd", "lrdn", "bicubic", "low", "high", "small", "large",
    "noisy", "noise", "clean", "denoised", "real", "mean", "gt", "groundtruth", "truth", "ref", "reference",
    "blur", "blurred", "blurry", "sharp", "rain", "rainy", "norain", "haze", "hazy", "clear", "jpeg", "compressed",
    "degraded", "original", "input", "inputs", "output", "target", "targets", "source", "label", "labels",
    "before", "after",
}
SCALE = r"x\d(?:[mdw]\d?)?|\dx|srf\d?|lr\d"  # x4, x4m (mild; difficult, wild), 4x, SRF_2, LR2


def match(inputs: Sequence[str], targets: Sequence[str],
          folders: tuple = ("inputs", "targets")) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """Pairs of names: the same path first, then the same but for the suffix, then the same but for known words.

    Args:
      inputs, targets: lists of paths, "/" between their parts.
      folders: what the two are called in errors.

    Returns:
      (list of pairs (input, target) sorted by input, inputs left, targets left).

    Raises:
      DataError: no two names belong together, or a name belongs to several.
    """
    left, pairs = (list(inputs), list(targets)), []
    for key in (str, lambda name: str(PurePosixPath(name).with_suffix("")), functools.partial(bare, words=False), bare):
        groups = [_grouped(names, key) for names in left]
        shared = groups[0].keys() & groups[1].keys()
        if key is bare:  # babyx2 goes with baby, but fox1 not with fox2: that ending is the name's own
            shared = {name for name in shared if any(name == bare(one, words=False) for group in groups
                                                     for one in group[name])}
        for name in sorted(shared):
            ones, others = (group[name] for group in groups)
            if len(ones) * len(others) > 1:
                raise DataError(f"{_some(folders[0], ones)} and {_some(folders[1], others)} belong together by name; "
                                "leave one of each, or give the sub-folder of one scale")
            pairs.append((ones[0], others[0]))
        left = tuple([name for name in names if key(name) not in shared] for names in left)
    if not pairs:
        raise DataError(f"{folders[0]} and {folders[1]} have no file name in common, not even without endings such as "
                        f"x2, _LR, _HR; for example {inputs[0]} and {targets[0]}")
    return sorted(pairs), *left


def bare(name: str, words: bool = True) -> str:
    """A path without suffix, case, and all that says which of a pair it is: "X4/0001x4.png" -> "0001".

    With `words`, "babyx2.png" -> "baby", too.
    """
    *folders, stem = PurePosixPath(name).with_suffix("").parts
    return "/".join([*filter(None, (_bare(part, words) for part in folders)), _bare(stem, words)])


def _bare(part, words):
    part = re.sub(r"(srf)[-_ ]?(\d)", r"\1\2", part.lower())
    part = re.sub(rf"(?<=[{'a-z' * words}0-9])x\d(?:[mdw]\d?)?$", "", part)  # 0001x4, babyx2
    pieces = re.split(r"[-_. ]+", part)
    return "_".join(word for word in pieces if word not in ROLES and not re.fullmatch(SCALE, word))


def _grouped(names, key):
    groups = defaultdict(list)
    for name in names:
        groups[key(name)].append(name)
    return groups


def _some(folder, names):
    return ", ".join(str(Path(folder) / name) for name in names[:3])
