"""The maze as a gymnax 1.0 environment, over the rules and observations of the batch-native path.

``import lepton_jax.envs.maze.gym`` registers it, after which ``gymnax.make("LeptonMaze-v0", size=9)`` works. The engine
does not come this way: gymnax takes a key, a level and a second observation for every environment at every step, and
``world.make_env`` does not. This class is for agents and tools that speak gymnax.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache, partial
from typing import Any, NamedTuple

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import environment, spaces

from lepton_jax.envs.maze import bits
from lepton_jax.envs.maze.generate import split_levels
from lepton_jax.envs.maze.level import SPLITS, Level, LevelError
from lepton_jax.envs.maze.observe import observation_spec
from lepton_jax.envs.maze.observe import observe as draw_observation
from lepton_jax.envs.maze.oracle import NUM_ACTIONS
from lepton_jax.envs.maze.rules import OBSERVATIONS, Rules, State, transition
from lepton_jax.envs.maze.spec import MAX_SIDE, MazeSpec
from lepton_jax.envs.maze.world import Pool, make_pool

ENV_ID = "LeptonMaze-v0"
_MAX_TIME = np.iinfo(np.uint16).max


@struct.dataclass
class EnvState(environment.EnvState):
    """One maze in play; ``rules.State`` without its last axis."""

    time: Any  # uint16 (): steps taken in this episode
    free: jax.Array  # uint32 (words,): the free sites
    goal: jax.Array  # uint8 or uint16 (): site
    site: jax.Array  # uint8 or uint16 (): where the agent is


@struct.dataclass(kw_only=True)
class EnvParams(environment.EnvParams):
    """What may change without compiling anew (a pool of another length aside)."""

    pool: Pool  # the levels that a reset draws from, uniformly
    goal_reward: float = 1.0  # paid on entering the goal
    step_cost: float = 0.0  # taken at every step
    slip: float = 0.0  # probability of a random action instead; in force only with LeptonMaze(slip=True)


class LeptonMaze(environment.Environment[EnvState, EnvParams]):
    """A maze: four moves, one goal, levels drawn from a pool at every reset. The pool is data: see ``with_levels``."""

    def __init__(
        self,
        size: int = 13,
        observation: str = "full",
        view: int = 0,
        pool: int = 1024,
        level_seed: int = 0,
        braid: float = 0.0,
        slip: bool = False,
        time_limit: int = 0,
    ):
        """Args are static; two environments built from equal ones are equal and share their compiled functions.

        Args:
          size: tiles a side, odd, 5 to 255.
          observation: one of ``rules.OBSERVATIONS``, see ``observe.observe``.
          view: side of the centred or egocentric window, odd; 0 shows the whole map (centred).
          pool: number of levels in ``default_params``, all from the training set.
          level_seed: seed of that pool; ``world.make_env`` makes the same levels from ``jax.random.key(level_seed)``.
          braid: share of the inner walls that is opened, in [0, 1].
          slip: whether ``EnvParams.slip`` is in force; it then defaults to 0.1.
          time_limit: default of ``max_steps_in_episode``, and the step at which "vector" shows the time as 1; 0 stands
            for 4 x the free cells of a perfect maze.

        Raises:
          ValueError: names the argument and says what was expected.
        """

        def check(holds: bool, name: str, value: Any, expected: str) -> None:
            if not holds:
                raise ValueError(f"{ENV_ID}: {name}={value!r}; expected {expected}")

        check(size % 2 == 1 and 5 <= size <= MAX_SIDE, "size", size, f"an odd number from 5 to {MAX_SIDE}")
        check(observation in OBSERVATIONS, "observation", observation, "one of " + ", ".join(OBSERVATIONS))
        check(view == 0 or (view % 2 == 1 and view > 0), "view", view, "an odd number, or 0 for the whole map")
        windowed = observation in ("centred", "egocentric")
        check(view == 0 or windowed, "view", view, "0, as only centred and egocentric observations have a window")
        check(view > 0 or observation != "egocentric", "view", view, "an odd number: the side of the egocentric window")
        check(pool >= 1, "pool", pool, "at least one level")
        check(0.0 <= braid <= 1.0, "braid", braid, "a share from 0 to 1")
        spec = MazeSpec(size, float(braid))
        limit = time_limit or 4 * (2 * spec.rooms**2 - 1)
        check(0 < limit <= _MAX_TIME, "time_limit", limit, f"1 to {_MAX_TIME} steps")
        rules = Rules(size, size, limit, observation, view, bool(slip))
        self._static = _Static(rules, spec, pool, level_seed)

    def __hash__(self) -> int:
        return hash((type(self), self._static))

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, LeptonMaze) and other._static == self._static

    @property
    def rules(self) -> Rules:
        """The static part of the rules, as ``rules.transition`` and ``observe.observe`` take it."""
        return self._static.rules

    @property
    def default_params(self) -> EnvParams:
        """The parameters with the pool that the constructor describes; generated once a process and configuration."""
        return _default_params(self._static)

    def with_levels(self, levels: Level) -> EnvParams:
        """The default parameters with other levels to play.

        Args:
          levels: a batch (one leading axis) of this environment's size; any number of levels.

        Raises:
          LevelError: the levels are of another size.
        """
        shape, expected = np.shape(levels.walls)[1:], (self.rules.height, self.rules.width)
        if shape != expected:
            raise LevelError(f"{ENV_ID}: levels of shape {shape}; expected a batch of {expected}")
        return dataclasses.replace(self.default_params, pool=make_pool(levels, self.rules))

    @partial(jax.jit, static_argnames=("self",))
    def step(
        self, key: jax.Array, state: EnvState, action: int | float | jax.Array, params: EnvParams | None = None
    ) -> tuple[jax.Array, EnvState, jax.Array, jax.Array, jax.Array, dict[Any, Any]]:
        """One step, and a reset where the episode ended: what gymnax's own ``step`` returns, sooner.

        gymnax draws the observations before and after a reset and then chooses. Here the state is chosen and drawn, so
        that whoever leaves ``info["final_observation"]`` alone pays for one observation only, and they are the cost.
        """
        if params is None:
            params = self.default_params
        key_step, key_reset = jax.random.split(key)
        reached, reward, terminated = self._move(key_step, state, action, params)
        truncated = self.is_truncated(reached, params)
        fresh = self._begin(key_reset, params)
        following = jax.tree.map(lambda new, old: jnp.where(terminated | truncated, new, old), fresh, reached)
        info = {
            "terminated": terminated,
            "truncated": truncated,
            "final_observation": self.observe(key_step, reached, action, params),
        }
        return self.observe(key_reset, following, None, params), following, reward, terminated, truncated, info

    def step_env(
        self, key: jax.Array, state: EnvState, action: int | float | jax.Array, params: EnvParams
    ) -> tuple[jax.Array, EnvState, jax.Array, jax.Array, dict[Any, Any]]:
        """One step without reset: observation, state, reward float32 (), terminated bool (), and no further info.

        ``action``: 0 north, 1 east, 2 south, 3 west. With slip its draw is ``jax.random.bits(key)``.
        """
        state, reward, terminated = self._move(key, state, action, params)
        return self.observe(key, state, action, params), state, reward, terminated, {}

    def reset_env(self, key: jax.Array, params: EnvParams) -> tuple[jax.Array, EnvState]:
        """A fresh episode on a uniformly drawn level of ``params.pool``."""
        state = self._begin(key, params)
        return self.observe(key, state, None, params), state

    def _move(
        self, key: jax.Array, state: EnvState, action: int | float | jax.Array, params: EnvParams
    ) -> tuple[EnvState, jax.Array, jax.Array]:
        draw = jax.random.bits(key, (), jnp.uint32)[None] if self.rules.slip else None
        moved = transition(_batch(state), jnp.reshape(action, 1), draw, params, self.rules)
        return _single(moved.state), moved.reward[0], moved.terminated[0]

    def _begin(self, key: jax.Array, params: EnvParams) -> EnvState:
        pool = params.pool
        slot = jax.random.bits(key, (), jnp.uint32) % jnp.uint32(pool.goal.shape[0])
        return EnvState(time=jnp.uint16(0), free=pool.free[:, slot], goal=pool.goal[slot], site=pool.start[slot])

    def observe(
        self, key: jax.Array, state: EnvState, action: int | float | jax.Array | None, params: EnvParams
    ) -> jax.Array:
        """What the agent sees; it depends on the state alone. Shape and dtype: ``observation_space``."""
        del key, action, params
        return draw_observation(_batch(state), self.rules)[0]

    def is_terminated(self, state: EnvState, params: EnvParams) -> jax.Array:
        """Whether the agent is at the goal, bool ()."""
        del params
        return state.site == state.goal

    def is_truncated(self, state: EnvState, params: EnvParams) -> jax.Array:
        """Whether the time is out and the goal not reached, bool (): a goal on the last step only terminates."""
        late = state.time.astype(jnp.int32) >= params.max_steps_in_episode
        return late & ~self.is_terminated(state, params)

    @property
    def name(self) -> str:
        """The registered id."""
        return ENV_ID

    @property
    def num_actions(self) -> int:
        """Four: north, east, south, west."""
        return NUM_ACTIONS

    def action_space(self, params: EnvParams | None = None) -> spaces.Discrete:
        """int32 () in 0 .. 3."""
        del params
        return spaces.Discrete(NUM_ACTIONS)

    def observation_space(self, params: EnvParams | None = None) -> spaces.Box:
        """uint8 maps of 0 and 1, or a float32 vector in [0, 1]."""
        del params
        spec = observation_spec(self.rules)
        return spaces.Box(0, 1, spec.shape, spec.dtype)

    def state_space(self, params: EnvParams | None = None) -> spaces.Dict:
        """The fields of ``EnvState``."""
        del params
        words, site = np.iinfo(np.uint32), self.rules.site_dtype
        return spaces.Dict(
            {
                "time": spaces.Box(0, _MAX_TIME, (), jnp.uint16),
                "free": spaces.Box(words.min, jnp.uint32(words.max), (bits.num_words(self.rules.sites),), jnp.uint32),
                "goal": spaces.Box(0, self.rules.sites - 1, (), site),
                "site": spaces.Box(0, self.rules.sites - 1, (), site),
            }
        )


def register() -> None:
    """Makes ``LeptonMaze-v0`` known to gymnax; calling it again changes nothing."""
    if ENV_ID not in gymnax.registered_envs:  # gymnax.register refuses an id that it has
        gymnax.register(ENV_ID, LeptonMaze)


class _Static(NamedTuple):
    """All that tells two environments apart."""

    rules: Rules
    spec: MazeSpec
    pool: int
    level_seed: int


_generate = jax.jit(split_levels, static_argnums=(1, 2, 3))


@lru_cache
def _default_params(static: _Static) -> EnvParams:
    # gymnax asks for the defaults inside its jitted step; what is kept must not belong to that trace.
    with jax.ensure_compile_time_eval():
        key = jax.random.fold_in(jax.random.key(static.level_seed), 0)
        levels = _generate(key, static.spec, static.pool, SPLITS.index("train"))
        pool = make_pool(levels, static.rules)
    return EnvParams(max_steps_in_episode=static.rules.time_limit, pool=pool, slip=0.1 if static.rules.slip else 0.0)


def _batch(state: EnvState) -> State:
    """One maze as the batch of one that the rules expect."""
    return State(*(leaf[..., None] for leaf in (state.free, state.goal, state.site, state.time)))


def _single(state: State) -> EnvState:
    free, goal, site, time = (leaf[..., 0] for leaf in state[:4])
    return EnvState(time=time, free=free, goal=goal, site=site)


register()
