"""The on-device replay memory: a ring of rows, one row a time step, one column an environment.

Rows are written a block (one iteration's rollout) at a time, in place. What is stored is the environments' records, not
observations. The state reached by a step is the next row's state, except where an episode was truncated: those few
states lie beside the ring. Where an episode terminated, nobody asks for the state reached.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

RUNNING, TERMINATED, TRUNCATED = 0, 1, 2


class Rollout(NamedTuple):
    """L steps of N environments."""

    episode: Any  # episode parts (L, N, ...)
    step: Any  # step parts (L, N, ...)
    action: jax.Array  # int32 (L, N)
    reward: jax.Array  # float32 (L, N)
    ended: jax.Array  # uint8 (L, N): RUNNING, TERMINATED or TRUNCATED
    reached: Any  # step parts (L, N, ...) of the states reached
    carry: Any  # the agent's carry before the first step (N, ...), cleared where an episode begins; () if not kept


class Ring(NamedTuple):
    """T rows of N environments, in T / L blocks."""

    episode: Any  # (T, N, ...)
    step: Any  # (T, N, ...)
    action: jax.Array  # uint8 or int32 (T, N)
    reward: jax.Array  # float32 (T, N)
    ended: jax.Array  # uint8 (T, N)
    truncated: Any  # step parts (T / L, S, N, ...): what truncated episodes reached, see ``_keep``
    carry: Any  # (T / L, N, ...): of the agent, at the beginning of each block


class Memory(NamedTuple):
    """A ring, and where its rows are."""

    ring: Ring
    head: jax.Array  # int32 (): the next block to be written, counted on past the ring's end
    written: jax.Array  # int32 (): blocks written so far, all of them just before ``head``


class Sample(NamedTuple):
    """B transitions over up to n steps, as records."""

    episode: Any  # (B, ...)
    step: Any  # (B, ...)
    action: jax.Array  # int32 (B,)
    reward: jax.Array  # float32 (B,): discounted sum over the k steps taken
    discount: jax.Array  # float32 (B,): gamma**k, 0 where terminated
    next_step: Any  # (B, ...): step part k steps later, of the same episode


class Window(NamedTuple):
    """T steps in a row of B environments, as records; the rows of ``agent.Sequence``."""

    episode: Any  # (T + 1, B, ...)
    step: Any  # (T + 1, B, ...)
    action: jax.Array  # int32 (T, B)
    reward: jax.Array  # float32 (T, B)
    ended: jax.Array  # uint8 (T, B)
    truncated: Any  # step parts (S, B, ...): what truncated steps reached, at most one of the T / S of a group
    carry: Any  # of the agent, before the first step (B, ...)


def make_ring(rollout: Rollout, blocks: int, num_actions: int, time_limit: int) -> Ring:
    """An empty ring of ``blocks`` blocks shaped like ``rollout`` (arrays or their shapes)."""
    empty = lambda leaf, dtype=None: jnp.zeros((blocks * leaf.shape[0], *leaf.shape[1:]), dtype or leaf.dtype)
    length = rollout.action.shape[0]
    slots = _slots(length, time_limit)
    return Ring(
        episode=jax.tree.map(empty, rollout.episode),
        step=jax.tree.map(empty, rollout.step),
        action=empty(rollout.action, jnp.uint8 if num_actions <= 256 else jnp.int32),
        reward=empty(rollout.reward),
        ended=empty(rollout.ended),
        truncated=jax.tree.map(lambda leaf: jnp.zeros((blocks, slots, *leaf.shape[1:]), leaf.dtype), rollout.reached),
        carry=jax.tree.map(lambda leaf: jnp.zeros((blocks, *leaf.shape), leaf.dtype), rollout.carry),
    )


def write(ring: Ring, rollout: Rollout, block: jax.Array, time_limit: int) -> Ring:
    """Overwrites block number ``block``, int32 (), with ``rollout``."""
    row = block * rollout.action.shape[0]
    at = lambda old, new, index: jax.lax.dynamic_update_slice_in_dim(old, new.astype(old.dtype), index, 0)
    put = lambda old, new: jax.tree.map(lambda a, b: at(a, b, row), old, new)
    kept = _keep(rollout, time_limit)
    return Ring(
        episode=put(ring.episode, rollout.episode),
        step=put(ring.step, rollout.step),
        action=put(ring.action, rollout.action),
        reward=put(ring.reward, rollout.reward),
        ended=put(ring.ended, rollout.ended),
        truncated=jax.tree.map(lambda a, b: at(a, b[None], block), ring.truncated, kept),
        carry=jax.tree.map(lambda a, b: at(a, b[None], block), ring.carry, rollout.carry),
    )


def sample(
    ring: Ring, key: jax.Array, head: jax.Array, written: jax.Array, count: int, n_step: int, gamma: jax.Array
) -> Sample:
    """Draws ``count`` transitions uniformly, with replacement, from all that have n later rows in the ring.

    Args:
      ring: holds T rows.
      key: typed key.
      head: int32 (): the next block to be written, counted on past the ring's end.
      written: int32 (): blocks written so far, all of them just before ``head``; at least n_step + 1 rows.
      count, n_step: static.
      gamma: float32 ().

    Returns:
      Sample. A transition's n steps end early where its episode ends; they never cross into the next episode nor over
      the write head.
    """
    rows, envs = ring.action.shape
    length = rows // jax.tree.leaves(ring.truncated)[0].shape[0]
    # Every row index below is small: block numbers are taken modulo before they are multiplied.
    blocks = rows // length
    there = jnp.minimum(written, blocks)
    filled, oldest = there * length, (head - there) % blocks * length
    choices = ((filled - n_step) * envs).astype(jnp.uint32)
    drawn = (jax.random.bits(key, (count,), jnp.uint32) % choices).astype(jnp.int32)
    row, env = (oldest + drawn // envs) % rows, drawn % envs

    flat = lambda leaf: leaf.reshape(rows * envs, *leaf.shape[2:])
    take = lambda tree, row: jax.tree.map(lambda leaf: _gather(flat(leaf), row * envs + env), tree)
    window = (row[:, None] + jnp.arange(n_step)) % rows
    window_rewards = _gather(flat(ring.reward), window * envs + env[:, None])
    window_ended = _gather(flat(ring.ended), window * envs + env[:, None])
    total, discount, taken = n_step_return(window_rewards, window_ended, gamma)

    last = (row + taken - 1) % rows
    cut = jnp.take_along_axis(window_ended, taken[:, None] - 1, axis=1)[:, 0] == TRUNCATED
    following = take(ring.step, (row + taken) % rows)
    slots = jax.tree.leaves(ring.truncated)[0].shape[1]
    block, slot = last // length, (last % length) * slots // length
    aside = jax.tree.map(
        lambda leaf: _gather(leaf.reshape(-1, *leaf.shape[3:]), (block * slots + slot) * envs + env), ring.truncated
    )
    pick = lambda a, b: jnp.where(cut.reshape(-1, *[1] * (a.ndim - 1)), a, b)
    return Sample(
        episode=take(ring.episode, row),
        step=take(ring.step, row),
        action=take(ring.action, row).astype(jnp.int32),
        reward=total,
        discount=discount,
        next_step=jax.tree.map(pick, aside, following),
    )


def sample_windows(ring: Ring, key: jax.Array, head: jax.Array, written: jax.Array, count: int, length: int) -> Window:
    """Draws ``count`` windows of ``length`` rows, whole blocks, uniformly from all that one more row follows.

    Args:
      ring: holds T rows. key: typed key.
      head: int32 (): the next block to be written, counted on past the ring's end.
      written: int32 (): blocks written so far, just before ``head``; more than the window has.
      count, length: static; ``length`` is a multiple of a block's rows.
    """
    rows, envs = ring.action.shape
    blocks, slots = jax.tree.leaves(ring.truncated)[0].shape[:2]
    each = rows // blocks
    spanned = length // each
    filled = jnp.minimum(written, blocks)
    oldest = (head - filled) % blocks
    choices = ((filled - spanned) * envs).astype(jnp.uint32)
    drawn = (jax.random.bits(key, (count,), jnp.uint32) % choices).astype(jnp.int32)
    block, env = (oldest + drawn // envs) % blocks, drawn % envs

    def take(tree: Any, first: jax.Array, number: int) -> Any:
        """``number`` rows from row ``first`` (B,) on."""
        index = lambda leaf: (first + jnp.arange(number)[:, None]) % leaf.shape[0] * envs + env
        return jax.tree.map(lambda leaf: _gather(leaf.reshape(-1, *leaf.shape[2:]), index(leaf)), tree)

    groups = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), ring.truncated)  # (T / L * S, N, ...)
    return Window(
        episode=take(ring.episode, block * each, length + 1),
        step=take(ring.step, block * each, length + 1),
        action=take(ring.action, block * each, length).astype(jnp.int32),
        reward=take(ring.reward, block * each, length),
        ended=take(ring.ended, block * each, length),
        truncated=take(groups, block * slots, spanned * slots),
        carry=jax.tree.map(lambda leaf: leaf[0], take(ring.carry, block, 1)),
    )


def whole(rollout: Rollout, episode: Any, step: Any, time_limit: int) -> Window:
    """A rollout as a window of all its environments; ``episode`` and ``step`` (N, ...) are the state it led to."""
    join = lambda tree, last: jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), tree, last)
    return Window(
        join(rollout.episode, episode),
        join(rollout.step, step),
        rollout.action,
        rollout.reward,
        rollout.ended,
        _keep(rollout, time_limit),
        rollout.carry,
    )


def n_step_return(reward: jax.Array, ended: jax.Array, gamma: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Discounted rewards up to the end of the episode, at most n of them.

    Args:
      reward: float32 (B, n). ended: uint8 (B, n). gamma: float32 ().

    Returns:
      The sum of gamma**i * reward_i over the k steps taken; gamma**k, or 0 if the last of them terminated; k, int32.
      All (B,). A truncated episode keeps its bootstrap: gamma**k.
    """
    over = ended != RUNNING
    alive = jnp.cumsum(over, axis=1) - over == 0  # no end before this step
    taken = jnp.sum(alive, axis=1)
    powers = gamma ** jnp.arange(reward.shape[1], dtype=jnp.float32)
    total = jnp.sum(jnp.where(alive, reward * powers, 0.0), axis=1)
    terminated = jnp.any(alive & (ended == TERMINATED), axis=1)
    return total, jnp.where(terminated, 0.0, gamma ** taken.astype(jnp.float32)), taken


def bytes_per_transition(ring: Ring) -> float:
    """Bytes of the whole ring over its transitions. Takes arrays or their shapes, of one shard or of all."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(ring)) / ring.action.size


def _slots(length: int, time_limit: int) -> int:
    """States kept aside for each block and environment: a divisor of ``length`` with at most one truncation a slot.

    Two truncations in one environment are at least ``time_limit`` steps apart, so that one slot serves as many steps.
    """
    return next(slots for slots in range(1, length + 1) if length % slots == 0 and length // slots <= time_limit)


def _keep(rollout: Rollout, time_limit: int) -> Any:
    """The states reached where an episode was truncated: step parts (S, N, ...), zero where there was none."""
    length = rollout.action.shape[0]
    slots = _slots(length, time_limit)
    cut = rollout.ended == TRUNCATED

    def gather(leaf: jax.Array) -> jax.Array:
        here = jnp.where(cut.reshape(*cut.shape, *[1] * (leaf.ndim - 2)), leaf, 0)
        # At most one of each group is not zero, so that the sum is that one, exactly.
        return jnp.sum(here.reshape(slots, length // slots, *leaf.shape[1:]), axis=1, dtype=leaf.dtype)

    return jax.tree.map(gather, rollout.reached)


def _gather(leaf: jax.Array, index: jax.Array) -> jax.Array:
    return leaf.at[index].get(mode="promise_in_bounds")
