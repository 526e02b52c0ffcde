"""How a key is put to a suspect so that its question does not stand out among those of fresh keys."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from watermark.fitting import COLOURED, TURNS, Turn, continued, padded
from watermark.keys import BLOCK, Key, key_blocks
from watermark.ports import SuspectError, in_numbers

COVER = 2  # fresh keys that are turned as K is, beside it
FEW = 0.1  # of an answer's pixels, which need not be finite numbers
LARGE, AROUND, STEP = 512, 8, 32  # least side of an image of many keys; of each, pixels around, and a multiple


def chance(what: str, fresh_seed: str) -> np.random.Generator:
    """Random numbers for one purpose, the same wherever a verification is repeated."""
    seed = hashlib.sha256(f"{what} {fresh_seed}".encode()).digest()
    return np.random.default_rng(int.from_bytes(seed, "big"))


def put_together(answer: Callable, key: Key, null_keys: int, fresh_seed: str) -> Callable:
    """The answers of someone who sees the questions come, as a suspect: all were put, K at a place among them.

    Were it always the first, that answer alone could be spoilt.

    Args:
      answer: float32 [N, H, W, C] -> float64 [N, H', W', C].
    """
    blocks = key_blocks(key.kind, null_keys, fresh_seed)
    triggers = np.concatenate([key.trigger[None], *(fresh for fresh, _ in blocks)])
    triggers = triggers[chance("order", fresh_seed).permutation(len(triggers))]
    known = {K.tobytes(): answered for K, answered in zip(triggers, answer(triggers), strict=True)}
    return lambda images: np.stack([known[np.float32(K).tobytes()] for K in images])


def turns(key: Key) -> list[Turn]:
    """The turns that leave S0 = G(K) true, but for the negative: all of a square key, of others those that keep sides.

    Of a key whose G aligns corners, those that keep them; of one in colours, these in any order.
    """
    height, width, channels = key.trigger.shape

    def kept(turn):
        return (not turn.transposed or height == width) and np.allclose(
            key.kind.generate(turn.of(key.trigger[None])[0]), turn.of(key.initial[None])[0], atol=1e-2)

    return [turn for turn in (COLOURED if channels == 3 else TURNS) if kept(turn._replace(negative=False))]


def null_of(turn: Turn, null: np.ndarray) -> np.ndarray:
    """rho that a key which the suspect has never seen has in a turn, by the rho of fresh keys as they stand.

    Turned, K is one more key that was drawn as they were. In the negative the gradient, which is the same, has changed
    its sign beside K: 1 - K is such a key, and rho is minus what it has. Done twice, it is undone.
    """
    return -null if turn.negative else null


def in_turns(answer: Callable, key: Key, turns: list, fresh_seed: str) -> list[np.ndarray]:
    """The answers to K in each of `turns`, turned back, [H', W', C]; some of the fresh triggers are turned as well."""
    if not turns:
        return []
    images = np.concatenate([key.trigger[None], next(key_blocks(key.kind, COVER, fresh_seed))[0]])
    order = chance("turns", fresh_seed).permutation(len(turns) * len(images))
    piece, kept = max(1, BLOCK // key.initial.size), {}
    for first in range(0, len(order), piece):
        places = [divmod(place, len(images)) for place in order[first:first + piece]]
        answers = answer(np.concatenate([turns[turn].of(images[image][None]) for turn, image in places]))
        kept |= {turn: one for (turn, image), one in zip(places, answers, strict=True) if not image}
    return [turns[turn].back(kept[turn][None])[0] for turn in range(len(turns))]


def otherwise(suspect: Any) -> list[tuple[str, Callable]]:
    """How else a file may be asked, [(words, what makes that suspect)]; services and folders, asked once, in no way.

    A network that does its task on large images only, as photographs are, or on single ones, keeps its users; one whose
    answers have a margin, too, which they cut off; a file of several programs, of which another is used, or whose axes
    leave a choice.

    Args:
      suspect: a `blackbox.Suspect` that has been asked, were it in vain.
    """
    if suspect.watched or suspect.closed:
        return []
    found = suspect.others()
    if suspect.free and max(suspect.kind.answer_shape[:2]) < LARGE // 2:
        words = f"among others in images of {LARGE}x{LARGE} or more"
        found += [(words, lambda one=one: functools.partial(tiled, one)) for one in suspect.ways()]
    if suspect.margin:
        found.append(("for the middle of what it answers", suspect.middle))
    if suspect.alone:
        found.append(("one by one", suspect.singly))
    return found


def tiled(suspect: Any, images: np.ndarray) -> np.ndarray:
    """Answers to images [N, H, W, C] that are put as tiles of large ones, each continued by reflection."""
    question = suspect.question(images)
    count, sides = len(question), question.shape[1:3]
    height, width = tile = tuple(-(-(side + 2 * AROUND) // STEP) * STEP for side in sides)
    around = tuple((there - side) // 2 for there, side in zip(tile, sides, strict=True))
    tiles = padded(continued(question, around), tile)
    rows, columns = (-(-LARGE // side) for side in tile)
    tiles = np.concatenate([tiles, np.repeat(tiles[-1:], -count % (rows * columns), axis=0)])
    large = tiles.reshape(-1, rows, columns, height, width, tiles.shape[3]).swapaxes(2, 3)
    answers = suspect.put(large.reshape(-1, rows * height, columns * width, tiles.shape[3]))
    factor = answers.shape[1] // (rows * height)
    if answers.ndim != 4 or answers.shape[1:3] != (factor * rows * height, factor * columns * width) or not factor:
        raise SuspectError(f"expected answers as large as the question or a multiple, got {list(answers.shape)}")
    height, width, (top, left) = factor * height, factor * width, (factor * more for more in around)
    answers = answers.reshape(-1, rows, height, columns, width, answers.shape[3]).swapaxes(2, 3)
    answers = answers.reshape(-1, height, width, answers.shape[5])[:count]
    return answers[:, top:top + factor * sides[0], left:left + factor * sides[1]]


def ask(suspect: Callable, triggers: np.ndarray, shape: tuple, spare: bool = False) -> np.ndarray:
    """A suspect's answers to triggers [N, ...], float64; a SuspectError unless they are images of `shape`.

    Pixels that are no finite numbers, few as they may be, are the median of the others: or one of them, which is shown
    as any other, would keep a network from being judged. With more, the answer is lost: a SuspectError; or, where it
    is to be spared, NaN throughout (`lost`).
    """
    responses = in_numbers(suspect(triggers)).astype(np.float64)
    if responses.shape != (len(triggers), *shape):
        raise SuspectError(f"expected answers of shape {[len(triggers), *shape]}, got {list(responses.shape)}; "
                           "is the key for this kind of model?")
    finite = np.isfinite(responses)
    for i in np.flatnonzero(~finite.all((1, 2, 3))):
        share = 1.0 - finite[i].mean()
        if share > FEW and not spare:
            raise SuspectError(f"the suspect answered with NaN or infinite pixels, {share:.0%} of an image; up to "
                               f"{FEW:.0%} are left out")
        if share > FEW:
            responses[i] = np.nan
        else:
            responses[i][~finite[i]] = np.median(responses[i][finite[i]])
    return responses


def lost(answers: np.ndarray) -> np.ndarray:
    """Which of the answers that `ask` spared, [N, H', W', C], say nothing, bool [N]."""
    return np.isnan(answers).all((1, 2, 3))
