"""Bit sets over the places of a map, packed into uint32 words: what replay stores and what makes distances fast.

A set has shape (words, ...): words first, so that neighbouring worlds lie side by side in memory and every operation is
one vector instruction for many of them. Bit ``i % 32`` of word ``i // 32`` stands for place ``i``.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def num_words(places: int) -> int:
    """Words that hold ``places`` bits."""
    return -(-places // 32)


def pack(flags: jax.Array) -> jax.Array:
    """bool (..., places) -> uint32 (words, ...)."""
    places = flags.shape[-1]
    words = num_words(places)
    padded = jnp.pad(flags, [(0, 0)] * (flags.ndim - 1) + [(0, words * 32 - places)])
    lanes = padded.reshape(*flags.shape[:-1], words, 32).astype(jnp.uint32)
    packed = jnp.sum(lanes << jnp.arange(32, dtype=jnp.uint32), axis=-1, dtype=jnp.uint32)
    return jnp.moveaxis(packed, -1, 0)


def unpack(words: jax.Array, places: int) -> jax.Array:
    """uint32 or uint16 (..., words) -> 0 or 1 of that type (..., places). Note the words' axis: it is last here."""
    lanes = (words[..., None] >> jnp.arange(8 * words.dtype.itemsize, dtype=words.dtype)) & 1
    return lanes.reshape(*words.shape[:-1], -1)[..., :places]


def settle(words: jax.Array) -> jax.Array:
    """Returns words unchanged, but computed once: XLA would else repeat that for each of their bits.

    Before jaxlib 0.11 the CPU compiler drops optimisation barriers before it fuses; a window of one place it keeps.
    """
    if jax.__version_info__ >= (0, 11):
        return jax.lax.optimization_barrier(words)
    ones = (1,) * words.ndim
    return jax.lax.reduce_window(words, jnp.zeros((), words.dtype), jax.lax.bitwise_or, ones, ones, "VALID")


def contains(words: jax.Array, place: jax.Array) -> jax.Array:
    """Whether each place is in its set: uint32 (words, N) and int32 (N,), 0 <= place < 32 * words -> bool (N,)."""
    word = words[0]
    for k in range(1, words.shape[0]):  # a chain of selects: on CPU far cheaper than a gather
        word = jnp.where(place >> 5 == k, words[k], word)
    return (word >> (place & 31).astype(jnp.uint32)) & 1 == 1


def select(words: jax.Array, rank: jax.Array) -> jax.Array:
    """The member that ``rank``, int (N,), others precede: uint32 (words, N) -> int32 (N,); the rank must be below the
    number of members.
    """
    rank = rank.astype(jnp.int32)
    counts = [jax.lax.population_count(word).astype(jnp.int32) for word in words]
    word, place, before = words[0], jnp.zeros_like(rank), jnp.zeros_like(rank)
    passed = jnp.zeros_like(rank)
    for k, count in enumerate(counts):
        here = (rank >= passed) & (rank < passed + count)
        word, place, before = (
            jnp.where(here, new, old) for new, old in ((words[k], word), (32 * k, place), (passed, before))
        )
        passed += count
    rank -= before
    for half in (16, 8, 4, 2, 1):
        lower = jax.lax.population_count(word & jnp.uint32((1 << half) - 1)).astype(jnp.int32)
        beyond = rank >= lower
        word, place, rank = (
            jnp.where(beyond, new, old)
            for new, old in ((word >> half, word), (place + half, place), (rank - lower, rank))
        )
    return place


def single(place: jax.Array, words: int) -> jax.Array:
    """The set that holds one place: int (N,) -> uint32 (words, N)."""
    place = place.astype(jnp.uint32)
    bit = jnp.uint32(1) << (place & 31)
    return jnp.stack([jnp.where(place >> 5 == k, bit, jnp.uint32(0)) for k in range(words)])


def shift_up(words: jax.Array, by: int) -> jax.Array:
    """Moves every member from place ``i`` to ``i + by``; what leaves the words is lost."""
    skip, rest = divmod(by, 32)
    moved = _words_up(words, skip)
    return moved if rest == 0 else (moved << rest) | (_words_up(moved, 1) >> (32 - rest))


def shift_down(words: jax.Array, by: int) -> jax.Array:
    """Moves every member from place ``i`` to ``i - by``; what leaves the words is lost."""
    skip, rest = divmod(by, 32)
    moved = _words_down(words, skip)
    return moved if rest == 0 else (moved >> rest) | (_words_down(moved, 1) << (32 - rest))


def _words_up(words: jax.Array, by: int) -> jax.Array:
    count = words.shape[0]
    return jnp.concatenate([jnp.zeros_like(words[:by]), words])[:count] if by < count else jnp.zeros_like(words)


def _words_down(words: jax.Array, by: int) -> jax.Array:
    return jnp.concatenate([words[by:], jnp.zeros_like(words[:by])]) if by < words.shape[0] else jnp.zeros_like(words)
