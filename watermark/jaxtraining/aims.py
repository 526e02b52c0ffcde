"""What a step of training follows, in JAX: Eq. (5) alone, or an embedding as `watermark.embedding` has it.

Losses, and what is taken ahead of them, are those of `watermark.embedding`, `watermark.lookahead` and
`watermark.thieves`; draws are others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from watermark.jaxtraining.pools import Pool, draw
from watermark.recipes import FINETUNING_RATE, ON_THE_WAY, RIVAL_RATE, RIVAL_STRENGTH, SHORTEST, Embedding

Net = Callable[[list, Any], Any]  # (weights, images [N, H, W, C]) -> answers, float32


class Step(NamedTuple):
    """One step's number and chance.

    Attributes:
      number: of steps before it.
      key: of its draws.
      pool, count, size: whence its batch is drawn, patches in it, and their side in pixels.
    """

    number: Any
    key: jax.Array
    pool: Pool
    count: int
    size: int

    def batch(self, stream: int = 0) -> tuple:
        """(inputs, targets, weights of the patches); another `stream`, another batch."""
        key = jax.random.fold_in(self.key, stream) if stream else self.key
        return draw(self.pool, key, self.count, self.size)

    def uniform(self, stream: int) -> jax.Array:
        """A number from U(0, 1)."""
        return jax.random.uniform(jax.random.fold_in(self.key, 100 + stream))


class Aim(Protocol):
    """What a training follows."""

    def memory(self, weights: list) -> Any:
        """Its state before the first step."""

    def gradients(self, net: Net, weights: list, memory: Any, step: Step) -> tuple[Any, list, Any]:
        """(loss, what the weights take a step along, the state after it)."""


def task_loss(net: Net, weights: list, X: Any, Y: Any, each: Any) -> Any:
    """Eq. (5), half the squared error summed over pixels, averaged over the batch; weighted patch by patch."""
    error = jnp.square(net(weights, X) - Y)
    return jnp.sum(each[:, None, None, None] * error) / (2.0 * X.shape[0])


@dataclass(frozen=True, eq=False)
class Task:
    """Eq. (5) alone: hosts, and fine-tuning."""

    def memory(self, weights: list) -> tuple:
        """Nothing, ()."""
        return ()

    def gradients(self, net: Net, weights: list, memory: Any, step: Step) -> tuple[Any, list, Any]:
        """Those of the loss."""
        loss, gradients = jax.value_and_grad(lambda w: task_loss(net, w, *step.batch()))(weights)
        return loss, gradients, memory


@dataclass(frozen=True, eq=False)
class Mark:
    """An embedding, as `recipes.Embedding` describes it.

    Attributes:
      recipe: how.
      K, S: the trigger as the host gets it, and what it is to answer, float32 [1, H, W, C].
      start: the host's weights.
      others: triggers [N, H, W, C] whose answers are held, or None.
      rivals: triggers of further keys and their S0, or None.
    """

    recipe: Embedding
    K: np.ndarray
    S: np.ndarray
    start: list
    others: np.ndarray | None = None
    rivals: tuple[np.ndarray, np.ndarray] | None = None

    def memory(self, weights: list) -> dict:
        """Adam's moments of the task or of a thief, the thief's way so far, and his age, time left, kind and number."""
        names = (["mean", "square"] if self.recipe.lookahead or self.recipe.shadow else []) + (
            ["way"] if self.recipe.shadow else [])
        return {name: [jnp.zeros_like(w) for w in weights] for name in names} | (
            {name: jnp.int32(0) for name in ("age", "left", "kind", "life")} if self.recipe.shadow else {})

    def gradients(self, net: Net, weights: list, memory: Any, step: Step) -> tuple[Any, list, Any]:
        """Those of Eq. (4), or of its terms where the recipe has each taken."""
        recipe, (X, Y, each) = self.recipe, step.batch()
        mark, held = partial(self._mark, net, step), partial(self._held, net, step)

        def task(w, target=Y):
            return task_loss(net, w, X, target, each)

        if recipe.shadow:
            own = jax.lax.stop_gradient(net(self.start, X))
            loss, first = jax.value_and_grad(lambda w: task(w, own) + held(w))(weights)
            there, memory = self._beside(net, weights, memory, step)
            later = mark
        elif recipe.lookahead:
            loss, first = jax.value_and_grad(task)(weights)
            t = step.number + 1.0
            direction, memory = _adam(first, memory, t, 0.99)
            share = recipe.lookahead * step.uniform(0)
            there = [w - share * u for w, u in zip(weights, direction, strict=True)]
            later = lambda w: mark(w) + held(w)  # noqa: E731
        else:
            loss, gradients = jax.value_and_grad(lambda w: task(w) + mark(w) + held(w))(weights)
            return loss, gradients, memory
        if recipe.perturbing:
            there = self._against(jax.grad(later)(there), there, step)
        return loss, self._joined(first, jax.grad(later)(there), step), memory

    def _mark(self, net, step, w):
        recipe = self.recipe
        strength = recipe.strength * recipe.decay ** (1.0 - step.number / recipe.steps)
        strength = recipe.strength if recipe.decay == 1.0 else strength
        return strength * jnp.sum(jnp.square(net(w, self.K) - self.S))  # Eq. (6)

    def _held(self, net, step, w):
        if not self.recipe.preserving:
            return 0.0
        other = _one(self.others, step.number)
        moved = net(w, other) - jax.lax.stop_gradient(net(self.start, other))
        return self.recipe.preserving * jnp.sum(jnp.square(moved))

    def _beside(self, net, weights, memory, step):
        """(weights and this step's share of the thief's way, the state with his next step)."""
        recipe, begins = self.recipe, memory["left"] < 1
        thieves, rates, shares = zip(*self._thieves(net, step, memory["life"] + begins), strict=True)
        length = jnp.ceil(recipe.shadow * (SHORTEST + (1.0 - SHORTEST) * step.uniform(1))).astype(jnp.int32)
        kind = jnp.sum(step.uniform(2) >= np.cumsum(shares)[:-1]).astype(jnp.int32)
        new = {"age": 0, "left": length, "kind": kind, "life": memory["life"] + 1}
        memory = {name: jnp.where(begins, new[name], value) if name in new else
                  [jnp.where(begins, 0.0, v) for v in value] for name, value in memory.items()}
        drawn = step.uniform(0)
        share = jnp.where(drawn < ON_THE_WAY, drawn / ON_THE_WAY, 1.0)
        moved = [w + share * d for w, d in zip(weights, memory["way"], strict=True)]
        there = [w + d for w, d in zip(weights, memory["way"], strict=True)]
        age = memory["age"] + 1
        gradients = jax.lax.switch(memory["kind"], [jax.grad(thief) for thief in thieves], there)
        rate = jnp.array(rates)[memory["kind"]]
        direction, moments = _adam(gradients, memory, age, 0.999)
        way = [d - rate * u for d, u in zip(memory["way"], direction, strict=True)]
        return moved, memory | moments | {"way": way, "age": age, "left": memory["left"] - 1}

    def _thieves(self, net, step, life):
        """(loss of the weights, rate, share of the lives) of each kind that the recipe has."""
        recipe, (X, Y, each) = self.recipe, step.batch(1)

        def finetunes(w):
            return task_loss(net, w, X, Y, each)

        def on_textures(w):
            return task_loss(net, w, *textured(X, Y, jax.random.fold_in(step.key, 3)), each)

        def rival(w):
            triggers, initials = self.rivals
            moved = net(w, _one(triggers, life)) - _one(initials, life)
            return finetunes(w) + RIVAL_STRENGTH * jnp.sum(jnp.square(moved))

        kinds = ((finetunes, FINETUNING_RATE, round(1.0 - recipe.rivals - recipe.textures, 9)),
                 (on_textures, FINETUNING_RATE, recipe.textures), (rival, RIVAL_RATE, recipe.rivals))
        return [kind for kind in kinds if kind[-1] > 0.0]

    def _against(self, gradients, there, step):
        share = self.recipe.perturbing * step.uniform(3)
        return [w + share * jnp.linalg.norm(w.ravel()) * g / jnp.maximum(jnp.linalg.norm(g.ravel()), 1e-30)
                for w, g in zip(there, gradients, strict=True)]

    def _joined(self, first, later, step):
        recipe, share = self.recipe, 1.0
        if recipe.projecting:
            across, along = (sum(jnp.vdot(a, h) for a, h in zip(those, later, strict=True)) for those in (first, later))
            out = -jnp.minimum(across, 0.0) / jnp.maximum(along, 1e-30)
            share = jnp.where(step.number >= round((1.0 - recipe.projecting) * recipe.steps), out, 1.0)
        return [g + share * h for g, h in zip(first, later, strict=True)]


def textured(X: jax.Array, Y: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Patches [B, H, W, C] as textures, `thieves.textured`."""
    noise = jnp.fft.rfft2(jax.random.normal(key, (X.shape[0], *X.shape[1:3])))
    shift = (noise / jnp.abs(noise)).at[:, 0, 0].set(1.0)[..., None]

    def shifted(images):
        return jnp.fft.irfft2(jnp.fft.rfft2(images, axes=(1, 2)) * shift, images.shape[1:3], axes=(1, 2))

    return shifted(X), shifted(Y)


def _one(images, number):
    """[1, H, W, C] of [N, H, W, C], turn by turn."""
    return jax.lax.dynamic_index_in_dim(jnp.asarray(images), number % len(images), keepdims=True)


def _adam(gradients, memory, t, slow):
    """Adam's direction at step t, and its moments."""
    mean = [0.9 * m + 0.1 * g for m, g in zip(memory["mean"], gradients, strict=True)]
    square = [slow * v + (1.0 - slow) * g * g for v, g in zip(memory["square"], gradients, strict=True)]
    direction = [(m / (1.0 - 0.9**t)) / (jnp.sqrt(v / (1.0 - slow**t)) + 1e-8)
                 for m, v in zip(mean, square, strict=True)]
    return direction, {"mean": mean, "square": square}
