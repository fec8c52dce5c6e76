"""The engine: 13x13 perfect mazes from a reused pool, or with a new layout at every reset; and its generator alone."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from stepping import different, generating, told, versions
from wire import Work

from bench.env import SIZE, native
from lepton_jax.engine.program import make_hypers, program_shape, strong
from lepton_jax.engine.shard import OWN, SHARED, make_mesh, number, spread
from lepton_jax.envs.maze import rules as maze_rules
from lepton_jax.envs.maze.generate import batch
from lepton_jax.envs.maze.rules import Rules
from lepton_jax.envs.maze.spec import MazeSpec
from lepton_jax.envs.maze.world import make_env
from lepton_jax.presets import from_preset

SPEC = MazeSpec(SIZE)
REFILL = 1024  # levels that are made at a time
SEEN: dict[str, dict[str, Any]] = {"egocentric": {"view": 5, "occlusion": True}}  # as bench.env has it


def prepare(tier: str, n: int, world: str, steps: int = 0) -> Work:
    if tier == "generate":
        spec = SPEC._replace(kind=world)
        return generating(lambda keys: batch(keys[0], spec, n).walls, n)
    layouts, sees, *_ = world.split(", ")
    return new_layouts(n, steps, sees) if layouts == "new" else reused(n, steps, sees)


def reused(n: int, steps: int, sees: str) -> Work:
    """As ``python -m bench --tier env`` has it; spread over all devices that jax has, a share of the mazes on each."""
    shards = jax.local_device_count()
    play, state, pool, _ = native(n // shards, sees, steps)

    def turn(state: Any, pool: Any, key: jax.Array) -> Any:
        # All shards begin alike, and no two draw the same.
        state, seen, reward, ended = play(state, pool, jax.random.fold_in(key, number(shards)))
        return state, seen, jnp.sum(reward), jnp.sum(ended)

    compiled = jax.jit(spread(turn, shards, (OWN, SHARED, SHARED), OWN))
    if shards > 1:
        put = lambda spec, tree: jax.device_put(tree, NamedSharding(make_mesh(shards), spec))
        state = put(OWN, jax.tree.map(lambda leaf: jnp.stack([leaf] * shards), state))
        pool = put(SHARED, pool)
    box: dict[str, Any] = {"state": state, "calls": 0, "ended": 0, "reward": 0.0}
    done: list[Any] = []

    def call() -> None:
        box["calls"] += 1
        box["state"], _, *sums = jax.block_until_ready(compiled(box["state"], pool, jax.random.key(box["calls"])))
        done.append(sums)

    def check() -> dict[str, Any]:
        box["reward"] += sum(float(jnp.sum(reward)) for reward, _ in done)
        box["ended"] += sum(int(jnp.sum(ended)) for _, ended in done)
        done.clear()
        free = box["state"].free
        layouts = jnp.moveaxis(free.reshape(shards, -1, n // shards), 1, 2).reshape(n, -1)
        return told(box, n, steps) | {"layouts_now": different(layouts)}

    return Work(call, n * steps, check, versions({"devices": shards}))


def new_layouts(n: int, steps: int, sees: str) -> Work:
    """A supply of levels, refilled before it could run dry; every one of them serves one episode.

    The VectorEnv begins episodes on levels of its pool as often as it needs them, so that its parts are put together
    in another way here: the same rules, generator and observations.
    """
    rules, slots = Rules(SIZE, SIZE, 284, observation=sees, **SEEN.get(sees, {})), (2 * n // REFILL + 2) * REFILL
    config = from_preset("quick")
    hypers = strong(make_hypers(config, program_shape(config)))
    env = make_env(rules, n)
    some = max(n // 16, 8)  # episodes that are begun at once; more of them take another round

    def made(key: jax.Array, number: jax.Array) -> Any:
        return maze_rules.begin(batch(jax.random.fold_in(key, number), SPEC, REFILL), rules)

    def play(carry: Any, key: jax.Array) -> Any:
        actions = jax.random.bits(key, (steps, n), jnp.uint8) % rules.num_actions

        def step(carry: Any) -> Any:
            t, state, seen, used, supply, filled, ended, reward = carry
            moved = maze_rules.transition(state, actions[t], None, hypers, rules, None)
            over = moved.terminated | moved.truncated

            def begin(carry: Any) -> Any:
                state, left, used = carry
                which = jnp.nonzero(left, size=some, fill_value=n)[0]
                slot = (used + jnp.arange(some)) % slots
                put = lambda old, new: old.at[..., which].set(new[..., slot], mode="drop")
                taken = jnp.sum(which < n, dtype=jnp.int32)
                return jax.tree.map(put, state, supply), left.at[which].set(False, mode="drop"), used + taken

            state, _, used = jax.lax.while_loop(lambda carry: jnp.any(carry[1]), begin, (moved.state, over, used))
            seen = env.observe(*env.record(state), ()).reshape(n, -1)
            return t + 1, state, seen, used, supply, filled, ended + jnp.sum(over), reward + jnp.sum(moved.reward)

        def enough(carry: Any) -> jax.Array:
            return (carry[0] < steps) & (carry[5] - carry[3] >= n)

        def refill(carry: Any) -> Any:
            t, state, seen, used, supply, filled, ended, reward = carry
            fresh = made(jax.random.key(7), filled // REFILL)
            lay = lambda old, new: jax.lax.dynamic_update_slice_in_dim(old, new, filled % slots, old.ndim - 1)
            return t, state, seen, used, jax.tree.map(lay, supply, fresh), filled + REFILL, ended, reward

        def turn(carry: Any) -> Any:
            carry = jax.lax.while_loop(lambda carry: carry[5] - carry[3] < n, refill, carry)
            return jax.lax.while_loop(enough, step, carry)

        zero = jnp.int32(0)
        carry = (zero, *carry, zero, jnp.float32(0))
        _, state, seen, used, supply, filled, ended, reward = jax.lax.while_loop(lambda c: c[0] < steps, turn, carry)
        return (state, seen, used, supply, filled), ended, reward

    levels = jax.jit(lambda key: batch(key, SPEC, n))(jax.random.key(5))
    state = jax.jit(maze_rules.begin, static_argnums=1)(levels, rules)
    supply = jax.tree.map(lambda leaf: jnp.zeros((*leaf.shape[:-1], slots), leaf.dtype), state)
    seen = jax.jit(lambda state: env.observe(*env.record(state), ()).reshape(n, -1))(state)
    compiled = jax.jit(play, donate_argnums=0)
    box: dict[str, Any] = {"carry": (state, seen, jnp.int32(0), supply, jnp.int32(0)), "calls": 0}
    box |= {"ended": 0, "reward": 0.0}

    def call() -> None:
        box["calls"] += 1
        box["carry"], ended, reward = compiled(box["carry"], jax.random.key(box["calls"]))
        box["ended"] += int(ended)
        box["reward"] += float(reward)

    def check() -> dict[str, Any]:
        # As many levels were handed out as episodes have ended, each once, and no more than were made.
        state, _, used, _, filled = box["carry"]
        made = {"layouts_used": int(used), "layouts_made": int(filled)}
        return told(box, n, steps) | {"layouts_now": different(state.free.T)} | made

    return Work(call, n * steps, check, versions())
