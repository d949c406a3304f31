"""Maps of labels (…, H, W): what hangs together, what is near, and how well two of them agree."""

import jax
import jax.numpy as jnp

__all__ = ["components", "entropies", "eroded", "nearest_two", "rand_sums"]


def components(mask: jax.Array) -> jax.Array:
    """Labels (…, H, W) of the parts of a mask (…, H, W) that hang together by edges; 0 where it is false.

    A part's label is the greatest place in it, counted by rows from 1, so the numbers have gaps.
    """
    height, width = mask.shape[-2:]
    flat = jnp.asarray(mask, bool).reshape(-1, height, width)
    places = jnp.arange(1, height * width + 1, dtype=jnp.int32).reshape(height, width)

    def grown(each):
        inside = each > 0
        padded = jnp.pad(each, 1)
        across = jnp.maximum(padded[1:-1, :-2], padded[1:-1, 2:])
        down = jnp.maximum(padded[:-2, 1:-1], padded[2:, 1:-1])
        each = jnp.where(inside, jnp.maximum(each, jnp.maximum(across, down)), 0)
        # what a label's own place has meanwhile come to know: halves the rounds that a long part takes
        return jnp.where(inside, each.reshape(-1)[each - 1], 0)

    def labelled(part):
        start = jnp.where(part, places, 0)
        pairs = start, grown(start)
        return jax.lax.while_loop(
            lambda pair: jnp.any(pair[0] != pair[1]), lambda pair: (pair[1], grown(pair[1])), pairs
        )[0]

    return jax.lax.map(labelled, flat).reshape(mask.shape)


def eroded(mask: jax.Array, times: int) -> jax.Array:
    """A mask (…, H, W) without what a 3×3 window reaches from outside, so many times; the border is outside too."""
    window = (1,) * (mask.ndim - 2) + (2 * times + 1,) * 2
    padding = ((0, 0),) * (mask.ndim - 2) + ((times, times),) * 2
    outside = jnp.pad(~jnp.asarray(mask, bool), padding, constant_values=True)
    return ~jax.lax.reduce_window(outside, False, jax.lax.bitwise_or, window, (1,) * mask.ndim, "valid")


def nearest_two(labels: jax.Array, reach: int) -> tuple[jax.Array, jax.Array]:
    """Distances (…, H, W) in pixels to the nearest and the second nearest thing of labels (…, H, W); inf beyond reach.

    A thing is what has one label, 0 is none; inside it its distance is 0. `reach` is along either axis.
    """
    far = jnp.inf
    none = jnp.zeros(labels.shape, jnp.int32), jnp.full(labels.shape, far)

    def along(axis, kept):
        """The best two over shifts along an axis of those kept, each a (label, squared distance)."""
        width = [(0, 0)] * labels.ndim
        width[axis] = (reach, reach)
        padded = [(jnp.pad(each, width), jnp.pad(far_, width, constant_values=far)) for each, far_ in kept]

        def step(number, best):
            squared = jnp.float32(number - reach) ** 2
            for each, far_ in padded:
                shifted = (jax.lax.dynamic_slice_in_dim(x, number, labels.shape[axis], axis) for x in (each, far_))
                label, distance = shifted
                best = _inserted(best, label, distance + squared)
            return best

        return jax.lax.fori_loop(0, 2 * reach + 1, step, (none, none))

    start = labels.astype(jnp.int32), jnp.where(labels > 0, 0.0, far)
    first, second = along(labels.ndim - 1, along(labels.ndim - 2, (start,)))
    return jnp.sqrt(first[1]), jnp.sqrt(second[1])


def _inserted(best, label, distance):
    """The nearest two things, a third considered; of one thing the nearest place counts."""
    (one, near), (two, next_) = best
    closer, same = distance < near, label == one
    pushed = closer & ~same
    merged = ~closer & (label == two)
    third = ~closer & ~same & ~merged & (distance < next_)
    new_two = jnp.where(pushed, one, jnp.where(third, label, two))
    new_next = jnp.where(
        pushed, near, jnp.where(merged, jnp.minimum(distance, next_), jnp.where(third, distance, next_))
    )
    return (jnp.where(closer, label, one), jnp.where(closer, distance, near)), (new_two, new_next)


def rand_sums(truth: jax.Array, guess: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Pairs of pixels (…,) that lie together in both label maps (…, H, W), in the truth, and in the guess.

    Pixels of truth 0 count nowhere. The Rand F-score is 2·both / (truth + guess), scikit-image's adapted Rand error
    one minus that.
    """
    return _of_parts(lambda sizes: jnp.sum(sizes * (sizes - 1)), truth, guess)


def entropies(truth: jax.Array, guess: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Entropies (…,) in nats of the things of both label maps (…, H, W), of the truth, and of the guess.

    Of a pixel drawn by chance, in which thing it lies; pixels of truth 0 count nowhere. What both tell is truth + guess
    − both, and the information F-score (V_info of Arganda-Carreras 2015) twice that over truth + guess.
    """

    def entropy(sizes):
        count = jnp.maximum(jnp.sum(sizes), 1)
        return jnp.maximum(jnp.log(count) - jnp.sum(sizes * jnp.log(jnp.maximum(sizes, 1))) / count, 0)

    return _of_parts(entropy, truth, guess)


def _of_parts(measure, truth, guess):
    """A measure (…,) of how many pixels each part has: of both label maps at once, of the truth, of the guess."""

    def measured(labels):
        known, first, second = labels[0] > 0, labels[0], labels[1]
        keys = (first, second), (first, jnp.zeros_like(second)), (jnp.zeros_like(first), second)
        return tuple(measure(_sizes(each, known)) for each in keys)

    flat = [each.reshape(-1, each.shape[-2] * each.shape[-1]) for each in (truth, guess)]
    return tuple(each.reshape(truth.shape[:-2]) for each in jax.lax.map(measured, tuple(flat)))


def _sizes(keys, known):
    """How many known places have the same keys, for each pair of keys; the others are 0."""
    order = jax.lax.sort((~known, *keys), num_keys=3)
    new = jnp.concatenate([jnp.zeros(1, bool), (order[1][1:] != order[1][:-1]) | (order[2][1:] != order[2][:-1])])
    new |= jnp.concatenate([jnp.zeros(1, bool), order[0][1:] != order[0][:-1]])
    sizes = jnp.zeros(known.shape, jnp.int32).at[jnp.cumsum(new)].add(jnp.where(order[0], 0, 1))
    return sizes.astype(jnp.float32)
