"""The rules of a maze: how a move changes a state and what it pays. Pure, batch-native, no framework.

The inner cells of a map are numbered as *sites*, row by row with one wall place at the end of each row (row stride
``width - 1``). A move then adds a constant to the site, and the extra places and everything outside count as wall, so
that no move needs a division or a case for the border. A set of free sites packed into bits (``bits.py``) is all that
is kept of the walls: 4 bytes at 7x7, 20 at 13x13.

Everything beyond walls and a goal is an option of ``Rules``, static: without it its fields are (), and nothing of it
is compiled.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lepton_jax.envs.maze import bits, oracle
from lepton_jax.envs.maze.level import Level

OBSERVATIONS = ("full", "centred", "vector", "egocentric", "rgb")
ACTIONS = {
    "cardinal": ("north", "east", "south", "west"),
    "diagonal": ("north", "east", "south", "west", "northeast", "southeast", "southwest", "northwest"),
    "oriented": ("left", "right", "forward"),
}
EAST = 1  # the heading in which an episode begins


class Rules(NamedTuple):
    """The static part of the rules; hashable."""

    height: int
    width: int
    time_limit: int  # steps
    observation: str = "full"  # one of OBSERVATIONS
    view: int = 0  # side of the window that centred and egocentric show, odd; 0 shows the whole map (centred)
    slip: bool = False  # whether hypers.slip is in force
    actions: str = "cardinal"  # one of ACTIONS
    occlusion: bool = False  # egocentric: whether walls hide what is behind them
    sticky: bool = False  # whether hypers.sticky is in force
    wall_penalty: bool = False  # whether hypers.wall_penalty is
    shaping: bool = False  # whether hypers.shaping is
    time_decay: bool = False  # whether hypers.time_decay is
    lava: bool = False  # whether levels have lava
    door: bool = False  # whether they have a door and its key
    goals: int = 1  # goals they have
    moving_goal: bool = False  # whether each episode draws the goal anew

    @property
    def stride(self) -> int:
        return self.width - 1

    @property
    def sites(self) -> int:
        return (self.height - 2) * self.stride

    @property
    def site_dtype(self) -> Any:
        return jnp.uint8 if self.sites <= 256 else jnp.uint16

    @property
    def oriented(self) -> bool:
        return self.actions == "oriented"

    @property
    def num_actions(self) -> int:
        return len(ACTIONS[self.actions])

    @property
    def plain(self) -> bool:
        """Whether cells, four moves, slips and the cost of a step are all there is."""
        flags = (self.sticky, self.wall_penalty, self.shaping, self.time_decay, self.lava, self.door)
        return self.actions == "cardinal" and not any(flags) and self.goals == 1


class State(NamedTuple):
    """N mazes in play."""

    free: jax.Array  # uint32 (words, N): the free sites
    goal: jax.Array  # uint8 or uint16 (N,): site
    site: jax.Array  # uint8 or uint16 (N,): where the agent is
    time: jax.Array  # uint16 (N,): steps taken in this episode
    heading: Any = ()  # oriented: uint8 (N,): 0 north, 1 east, 2 south, 3 west
    last: Any = ()  # sticky: uint8 (N,): the action taken last; num_actions where there is none
    lava: Any = ()  # uint32 (words, N): sites that end the episode
    others: Any = ()  # sites (goals - 1, N): further goals
    key: Any = ()  # site (N,)
    door: Any = ()  # site (N,): free, but only for who holds the key
    held: Any = ()  # door: bool (N,): whether the agent has the key
    slope: Any = ()  # shaping: uint32 (3, words, N): the three lowest bits of each site's distance to the nearest goal
    distance: Any = ()  # shaping: int16 (N,): the distance of the agent's site


class Moved(NamedTuple):
    """What a move brought, before any reset."""

    state: State  # the state reached
    reward: jax.Array  # float32 (N,)
    terminated: jax.Array  # bool (N,): at a goal, or in lava
    truncated: jax.Array  # bool (N,): out of time, and only that
    success: jax.Array  # bool (N,): at a goal


def begin(levels: Level, rules: Rules) -> State:
    """The states in which episodes on ``levels`` (one leading axis N) begin."""
    walls = jnp.asarray(levels.walls)
    count = walls.shape[0]
    places = lambda cells: bits.pack(cells[:, 1:-1, 1:].reshape(count, -1))
    site = lambda cell: site_of(jnp.asarray(cell), rules).astype(rules.site_dtype)
    state = State(places(~walls), site(levels.goal), site(levels.start), jnp.zeros(count, jnp.uint16))
    full = lambda value, dtype: jnp.full(count, value, dtype)
    if rules.oriented:
        state = state._replace(heading=full(EAST, jnp.uint8))
    if rules.sticky:
        state = state._replace(last=full(rules.num_actions, jnp.uint8))
    if rules.lava:
        state = state._replace(lava=places(jnp.asarray(levels.lava)))
    if rules.goals > 1:
        state = state._replace(others=site(levels.others).T)
    if rules.door:
        state = state._replace(key=site(levels.key), door=site(levels.door), held=full(False, bool))
    if rules.shaping:
        further = [jnp.asarray(levels.others)] if rules.goals > 1 else []
        field = distances(walls, jnp.concatenate([jnp.asarray(levels.goal)[:, None], *further], axis=1), rules)
        state = state._replace(
            slope=jnp.stack([bits.pack((field >> power) & 1 == 1) for power in range(3)]),
            distance=field[jnp.arange(count), state.site.astype(jnp.int32)],
        )
    return state


def distances(walls: jax.Array, goals: jax.Array, rules: Rules) -> jax.Array:
    """Steps from each site to the nearest goal, int16 (N, sites), for walls (N, height, width) and cells (N, goals).

    0 where no path leads to a goal, for nobody gets there. Lava and doors are passed as if they were free.
    """
    flood = lambda goal: oracle.distances(walls, goal, diagonal=rules.actions == "diagonal")
    each = jnp.stack([flood(goals[:, k]) for k in range(goals.shape[1])])
    far = jnp.iinfo(jnp.int16).max
    nearest = jnp.min(jnp.where(each < 0, far, each), axis=0)
    nearest = jnp.where(nearest == far, 0, nearest)
    return nearest[:, 1:-1, 1:].reshape(walls.shape[0], -1)


def site_of(cell: jax.Array, rules: Rules) -> jax.Array:
    """Cell number -> site number."""
    return (cell // rules.width - 1) * rules.stride + cell % rules.width - 1


def cell_of(site: jax.Array, rules: Rules) -> jax.Array:
    """Site number -> cell number, int32."""
    site = site.astype(jnp.int32)
    # (row + 1) * width + column + 1, without the remainder that the column is.
    return site + site // rules.stride * (rules.width - rules.stride) + rules.width + 1


def row_column(site: jax.Array, rules: Rules) -> tuple[jax.Array, jax.Array]:
    """int32 row and column among the inner cells, counted from 0."""
    site = site.astype(jnp.int32)
    return site // rules.stride, site % rules.stride


def map_of(places: jax.Array, rules: Rules) -> jax.Array:
    """Sets of sites uint32 (words, N) -> bool (N, height, width); False on the border."""
    inner = bits.unpack(places.T, rules.sites) == 1
    return jnp.pad(inner.reshape(-1, rules.height - 2, rules.stride), ((0, 0), (1, 1), (1, 0)))


def walls_of(free: jax.Array, rules: Rules) -> jax.Array:
    """Free sites uint32 (words, N) -> walls bool (N, height, width)."""
    return ~map_of(free, rules)


def transition(
    state: State,
    action: jax.Array,
    draw: jax.Array | None,
    hypers: Any,
    rules: Rules,
    again: jax.Array | None = None,
) -> Moved:
    """One step of every maze, without reset: first chance, then ``move``.

    Args:
      state: N mazes.
      action: integer (N,), an index into ``ACTIONS[rules.actions]``.
      draw: uint32 (N,) of random bits where ``rules.slip``, else None. The upper 24 bits decide whether the agent
        slips, the lowest eight, modulo the number of actions, what it does instead.
      hypers: ``goal_reward``, ``step_cost`` and what the options of ``rules`` need: float32 scalars.
      rules: static.
      again: uint32 (N,) of random bits where ``rules.sticky``, else None: whether the action taken last is taken once
        more, whatever was chosen or slipped to (Machado et al. 2018, arXiv 1709.06009).
    """
    action = action.astype(jnp.int32)
    below = lambda word, share: (word >> 8).astype(jnp.float32) * 2.0**-24 < share
    if rules.slip:
        assert draw is not None, "slip needs random bits"
        instead = (draw & 0xFF) % jnp.uint32(rules.num_actions)
        action = jnp.where(below(draw, hypers.slip), instead.astype(jnp.int32), action)
    if rules.sticky:
        assert again is not None, "sticky actions need random bits"
        sticks = below(again, hypers.sticky) & (state.last < rules.num_actions)
        action = jnp.where(sticks, state.last.astype(jnp.int32), action)
    return move(state, action, hypers, rules)


def move(state: State, action: jax.Array, hypers: Any, rules: Rules) -> Moved:
    """The same without chance: ``action``, int32 (N,), is what is done. A move into a wall goes nowhere.

    The reward is ``-step_cost``; on entering a goal ``goal_reward`` more, for the k-th further goal ``goal_ratio**k``
    of it, less ``time_decay`` of it by the time limit; ``-wall_penalty`` for a move into a wall; ``-lava_penalty`` in
    lava; and ``shaping * (d(s) - gamma * d(s'))`` by the distance d to the nearest goal, 0 where the episode ends: a
    potential, which leaves the order of policies as it is (Ng et al. 1999).
    """
    here = state.site.astype(jnp.int32)
    if rules.oriented:
        turn = jnp.where(action == 0, 3, jnp.where(action == 1, 1, 0))
        heading, tries = (state.heading + turn.astype(jnp.uint8)) & 3, action == 2
        state = state._replace(heading=heading)
        target = here + jnp.where(tries, _step(heading, rules), 0)
    else:
        tries = jnp.ones_like(here, bool)
        target = here + _step(action, rules)
    enters = _passable(state, target, rules)
    if rules.actions == "diagonal":
        # Between two walls that touch at their corners nobody passes: one of the cells beside must be free.
        across, down = _diagonal(action, rules)
        beside = _passable(state, here + across, rules) | _passable(state, here + down, rules)
        enters &= (action < 4) | beside
    site = jnp.where(enters, target, here).astype(rules.site_dtype)
    state = state._replace(site=site, time=state.time + jnp.uint16(1))
    success = site == state.goal
    prize = jnp.where(success, hypers.goal_reward, 0.0)
    for k in range(rules.goals - 1):
        there = site == state.others[k]
        prize += jnp.where(there, hypers.goal_reward * hypers.goal_ratio ** (k + 1), 0.0)
        success |= there
    if rules.time_decay:
        prize *= 1.0 - hypers.time_decay * state.time.astype(jnp.float32) / rules.time_limit
    reward, terminated = prize - hypers.step_cost, success
    if rules.lava:
        burnt = bits.contains(state.lava, site.astype(jnp.int32))
        reward, terminated = reward - jnp.where(burnt, hypers.lava_penalty, 0.0), terminated | burnt
    if rules.wall_penalty:
        reward -= jnp.where(tries & ~enters, hypers.wall_penalty, 0.0)
    if rules.sticky:
        state = state._replace(last=action.astype(jnp.uint8))
    if rules.door:
        state = state._replace(held=state.held | (site == state.key))
    if rules.shaping:
        low = sum(
            bits.contains(plane, site.astype(jnp.int32)).astype(jnp.int32) << k for k, plane in enumerate(state.slope)
        )
        # No move changes the distance by more than 3, so that three bits tell it from the one before.
        before = state.distance.astype(jnp.int32)
        after = before + ((low - before + 3) & 7) - 3
        state = state._replace(distance=after.astype(jnp.int16))
        reward += hypers.shaping * (before - hypers.gamma * jnp.where(terminated, 0, after))
    truncated = ~terminated & (state.time >= rules.time_limit)
    return Moved(state, reward.astype(jnp.float32), terminated, truncated, success)


def _step(direction: jax.Array, rules: Rules) -> jax.Array:
    """What a move adds to the site, int32 (N,)."""
    straight = jnp.where(
        direction == 0, -rules.stride, jnp.where(direction == 1, 1, jnp.where(direction == 2, rules.stride, -1))
    )
    if rules.actions != "diagonal":
        return straight
    return jnp.where(direction < 4, straight, sum(_diagonal(direction, rules)))


def _diagonal(direction: jax.Array, rules: Rules) -> tuple[jax.Array, jax.Array]:
    """The two straight steps that a diagonal one consists of: along the row, and across rows."""
    across = jnp.where((direction == 4) | (direction == 5), 1, -1)
    return across, jnp.where((direction == 5) | (direction == 6), rules.stride, -rules.stride)


def _passable(state: State, target: jax.Array, rules: Rules) -> jax.Array:
    """Whether the agents may enter the sites ``target``, int32 (N,)."""
    inside = (target >= 0) & (target < rules.sites)
    # Where the target is outside, the shift inside ``contains`` is still well defined and its result unused.
    enters = inside & bits.contains(state.free, target)
    return enters & ((target != state.door) | state.held) if rules.door else enters
