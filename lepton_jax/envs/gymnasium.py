"""A VectorEnv for people who come from Gymnasium: one world, or many. Importing this imports gymnasium."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from lepton_jax.envs.maze.glyphs import glyphs
from lepton_jax.envs.maze.render import draw
from lepton_jax.envs.vector import Outcome, VectorEnv

_MODES = ("rgb_array", "ansi")
_FPS = 8


class World(NamedTuple):
    """What both adapters play: a VectorEnv with all that its functions take."""

    env: VectorEnv
    worlds: Any  # for as many environments as the adapter has; never refreshed
    hypers: Any
    levels: int = 0  # levels that ``reset(options={"level": i})`` can name, from 0; 0 = they have no numbers
    bounds: tuple[float, float] = (0.0, 1.0)  # least and largest value of an observation
    tile: int = 16  # pixels a side of a cell in pictures


class LeptonEnv(gymnasium.Env[np.ndarray, Any]):
    """One world. As Gymnasium demands, an ended episode stays where it is until ``reset``.

    After ``reset(seed=s)`` the VectorEnv is reset with ``episode_key(np_random)`` folded with 0 and makes its k-th step
    with that key folded with k; ``reset()`` goes on with the next such key.
    """

    metadata = {"render_modes": list(_MODES), "render_fps": _FPS}  # noqa: RUF012  # Gymnasium's own annotation

    def __init__(self, world: World, render_mode: str | None = None):
        """Args:
          world: made for one environment.
          render_mode: None, "rgb_array" or "ansi".

        Raises:
          ValueError: no such mode, or a world of which there is nothing to see.
        """
        self.render_mode = _checked_mode(world, render_mode)
        self.observation_space = _observation_space(world)
        self.action_space = spaces.Discrete(world.env.num_actions)
        # Gymnasium's checker and recorders make further ones by the specification; a closure is not copied with it.
        self.spec = EnvSpec(id=world.env.name, entry_point=lambda **kwargs: LeptonEnv(world, **kwargs))
        self._world = _on_device(world)
        self._functions = _compile(world.env, 1, False)
        self._state: Any = None  # None before the first reset and after the end of an episode
        self._shown: tuple[Any, Any] | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begins an episode, on level ``options["level"]`` if given; ValueError for any other option."""
        super().reset(seed=seed)
        world, slots = self._world, _slots(self._world, options, 1)
        self._key, self._count = episode_key(self.np_random), 0
        self._state, self._shown, seen = self._functions.reset(self._key, world.worlds, world.hypers, slots)
        return np.array(seen)[0], {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One step; ResetNeeded where no episode is under way, ValueError for an action that there is not."""
        if self._state is None:
            raise ResetNeeded(f"{self._world.env.name}: no episode is under way; call reset() first")
        world, actions = self._world, _checked_actions(self._world, action, ())[None]
        self._count += 1
        state, outcome, self._shown, seen = self._functions.step(
            self._key, np.int32(self._count), self._state, actions, world.worlds, world.hypers
        )
        # NumPy first: an index into an array of jax is a program of its own.
        seen, outcome = jax.device_get((seen, outcome))
        terminated, truncated = bool(outcome.terminated[0]), bool(outcome.truncated[0])
        self._state = None if terminated or truncated else state
        info = {} if isinstance(outcome.success, tuple) else {"success": bool(outcome.success[0])}
        return np.array(seen[0]), float(outcome.reward[0]), terminated, truncated, info

    def render(self) -> Any:
        """The state reached: uint8 (height, width, 3), or text; None without a render mode."""
        frames = _render(self._world, self.render_mode, self._shown)
        return frames and frames[0]


class LeptonVectorEnv(gymnasium.vector.VectorEnv[np.ndarray, Any, np.ndarray]):
    """N worlds stepped together, each reset in the very step in which its episode ends (``AutoresetMode.SAME_STEP``).

    Keys as in ``LeptonEnv``. Rewards are float32. In a step in which episodes end ``info["final_obs"]`` holds their
    last observations, an object array with None for the others; ``info["_final_obs"]`` says which they are, and
    ``info["final_info"]["success"]`` how they ended.
    """

    metadata = {  # noqa: RUF012  # Gymnasium's own annotation
        "render_modes": list(_MODES),
        "render_fps": _FPS,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(self, world: World, num_envs: int, render_mode: str | None = None):
        """Args:
          world: made for ``num_envs`` environments.
          num_envs: N.
          render_mode: None, "rgb_array" or "ansi".

        Raises:
          ValueError: no such mode, or a world of which there is nothing to see.
        """
        self.render_mode = _checked_mode(world, render_mode)
        self.num_envs = num_envs
        self.single_observation_space = _observation_space(world)
        self.single_action_space = spaces.Discrete(world.env.num_actions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._world = _on_device(world)
        self._functions = _compile(world.env, num_envs, True)
        self._state: Any = None
        self._shown: tuple[Any, Any] | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begins all episodes, on level or levels (N,) ``options["level"]`` if given; ValueError for other options."""
        super().reset(seed=seed)
        world, slots = self._world, _slots(self._world, options, self.num_envs)
        self._key, self._count = episode_key(self.np_random), 0
        self._state, self._shown, seen = self._functions.reset(self._key, world.worlds, world.hypers, slots)
        return np.array(seen), {}

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One step of all; ResetNeeded before the first reset, ValueError for an action that there is not."""
        if self._state is None:
            raise ResetNeeded(f"{self._world.env.name}: no episode is under way; call reset() first")
        world, actions = self._world, _checked_actions(self._world, actions, (self.num_envs,))
        self._count += 1
        before = self._state
        self._state, outcome, self._shown, seen = self._functions.step(
            self._key, np.int32(self._count), before, actions, world.worlds, world.hypers
        )
        reward, terminated, truncated = (
            np.array(leaf) for leaf in (outcome.reward, outcome.terminated, outcome.truncated)
        )
        ended = terminated | truncated
        info: dict[str, Any] = {}
        if ended.any():
            last = np.array(self._functions.last(before, outcome.reached, world.worlds))
            final = np.full(self.num_envs, None, object)
            for number in np.flatnonzero(ended):
                final[number] = last[number]
            told = {} if isinstance(outcome.success, tuple) else {"success": np.array(outcome.success)}
            told |= {"_success": ended.copy()} if told else {}
            info = {"final_obs": final, "_final_obs": ended, "final_info": told, "_final_info": ended.copy()}
        return np.array(seen), reward, terminated, truncated, info

    def render(self) -> tuple[Any, ...] | None:
        """The states after reset, one each: uint8 (height, width, 3), or text; None without a render mode."""
        return _render(self._world, self.render_mode, self._shown)


def episode_key(generator: np.random.Generator) -> jax.Array:
    """The typed key of what follows a reset: one uniform word of Gymnasium's generator makes it."""
    return jax.random.key(generator.integers(2**32, dtype=np.uint32))


class _Functions(NamedTuple):
    reset: Callable[..., tuple[Any, Any, jax.Array]]  # -> state, record, observation
    step: Callable[..., tuple[Any, Outcome, Any, jax.Array]]  # -> state, outcome, record, observation
    last: Callable[..., jax.Array]  # (state before, reached, worlds) -> observation before the reset


@lru_cache
def _compile(env: VectorEnv, n: int, resets: bool) -> _Functions:
    """The jitted functions of ``n`` environments. ``resets``: whether steps show what comes after a reset."""

    def reset(key: jax.Array, worlds: Any, hypers: Any, slots: Any) -> Any:
        state = env.reset(jax.random.fold_in(key, 0), worlds, n, hypers, slots)
        record = env.record(state)
        return state, record, env.observe(*record, worlds)

    def step(key: jax.Array, count: jax.Array, state: Any, action: jax.Array, worlds: Any, hypers: Any) -> Any:
        following, outcome = env.step(jax.random.fold_in(key, count), state, action, worlds, hypers)
        record = env.record(following) if resets else (env.record(state)[0], outcome.reached)
        return following, outcome, record, env.observe(*record, worlds)

    def last(before: Any, reached: Any, worlds: Any) -> jax.Array:
        return env.observe(env.record(before)[0], reached, worlds)

    return _Functions(jax.jit(reset), jax.jit(step), jax.jit(last))


def _on_device(world: World) -> World:
    """The same with hypers in strong float32, as the engine has them; numbers of Python would be sent at every step."""
    return world._replace(hypers=jax.tree.map(lambda value: jnp.asarray(value, np.float32), world.hypers))


def _observation_space(world: World) -> spaces.Box:
    spec, (low, high) = world.env.observation, world.bounds
    dtype: Any = spec.dtype
    return spaces.Box(np.array(low, dtype).item(), np.array(high, dtype).item(), spec.shape, dtype)


def _checked_mode(world: World, mode: str | None) -> str | None:
    if mode is not None and mode not in _MODES:
        raise ValueError(f"render_mode={mode!r}; expected None, {' or '.join(map(repr, _MODES))}")
    if mode is not None and world.env.scene is None:
        raise ValueError(f"render_mode={mode!r}: {world.env.name} has no scene to draw; leave render_mode away")
    return mode


def _checked_actions(world: World, actions: Any, shape: tuple[int, ...]) -> np.ndarray:
    array, most = np.asarray(actions), world.env.num_actions - 1
    if array.shape != shape or array.dtype.kind not in "iu" or array.min() < 0 or array.max() > most:
        raise ValueError(f"{world.env.name}: actions {actions!r}; expected integers 0 to {most} of shape {shape}")
    return array.astype(np.int32)


def _slots(world: World, options: dict[str, Any] | None, n: int) -> np.ndarray | None:
    """The levels that ``options`` name, int32 (n,), or None."""
    options = dict(options or {})
    level = options.pop("level", None)
    if options:
        raise ValueError(f"reset: unknown options {', '.join(map(repr, options))}; there is 'level'")
    if level is None:
        return None
    slots = np.asarray(level)
    if not world.levels:
        raise ValueError(f"reset: the levels of {world.env.name} have no numbers; leave options['level'] away")
    fits = slots.shape in ((), (n,)) and slots.dtype.kind in "iu"
    if not fits or slots.min() < 0 or slots.max() >= world.levels:
        raise ValueError(
            f"reset: options['level'] = {level!r}; expected 0 to {world.levels - 1}, one number or {n} of them"
        )
    return np.broadcast_to(slots, n).astype(np.int32)


def _render(world: World, mode: str | None, shown: tuple[Any, Any] | None) -> tuple[Any, ...] | None:
    """A frame an environment."""
    if mode is None or world.env.scene is None:
        return None
    if shown is None:
        raise ResetNeeded(f"{world.env.name}: nothing to see yet; call reset() first")
    scene = world.env.scene(*shown)
    if mode == "rgb_array":
        return tuple(np.array(draw(*scene, tile=world.tile)))
    scenes = [jax.tree.map(lambda leaf, k=k: np.asarray(leaf)[k], scene) for k in range(len(scene.agent))]
    return tuple("\n".join("".join(row) for row in glyphs(*one)) for one in scenes)
