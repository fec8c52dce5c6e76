"""A maze played by hand: the rules of the game in plain Python, and what its screen shows. Imports no jax."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from lepton_jax.report import ansi

if TYPE_CHECKING:
    from lepton_jax.envs.maze.level import Level

NAMES = ("north", "east", "south", "west")
_STEPS = ((-1, 0), (0, 1), (1, 0), (0, -1))
MOVE_KEYS = {
    **dict(zip(("up", "right", "down", "left"), range(4), strict=True)),
    **dict(zip("kljh", range(4), strict=True)),
    **dict(zip("wdsa", range(4), strict=True)),
}
HELP = "arrows, hjkl or wasd move  p path  v values  u undo  r restart  n next  q quit"


class Rewards(NamedTuple):
    """What a move pays, as in ``rules.move``."""

    gamma: float = 0.99
    step_cost: float = 0.0
    goal_reward: float = 1.0
    goal_ratio: float = 0.5  # the k-th further goal pays goal_reward * goal_ratio**k
    lava_penalty: float = 0.0


class Place(NamedTuple):
    """Where a game stands after some moves."""

    cell: int
    held: bool = False  # whether the key has been fetched
    steps: int = 0
    earned: float = 0.0  # discounted return
    end: str = ""  # "goal" or "lava" once the episode has ended


class Game(NamedTuple):
    """One level in play; ``trail`` holds every place since the start, the present one last."""

    level: Level
    rewards: Rewards
    trail: tuple[Place, ...]
    show_path: bool = False
    show_values: bool = False

    @property
    def now(self) -> Place:
        return self.trail[-1]


def begin(level: Level, rewards: Rewards) -> Game:
    """A fresh game."""
    return Game(level, rewards, (Place(int(level.start)),))


def press(game: Game, key: str) -> Game:
    """The game after a key: a move, or one of ``p``, ``v``, ``u`` and ``r``; any other key changes nothing.

    When the episode has ended moves do nothing; undo and restart go on with it.
    """
    if key in MOVE_KEYS:
        return game if game.now.end else game._replace(trail=(*game.trail, _moved(game, MOVE_KEYS[key])))
    match key:
        case "p":
            return game._replace(show_path=not game.show_path)
        case "v":
            return game._replace(show_values=not game.show_values)
        case "u":
            return game._replace(trail=game.trail[:-1] or game.trail[:1])
        case "r":
            return game._replace(trail=game.trail[:1])
    return game


def _moved(game: Game, action: int) -> Place:
    level, rewards, now = game.level, game.rewards, game.now
    cell = _step(level, now.cell, now.held, action)
    reward, end = -rewards.step_cost, ""
    if _is(level.lava, cell):
        reward, end = reward - rewards.lava_penalty, "lava"
    elif cell in (goals := goals_of(level)):
        reward, end = reward + rewards.goal_reward * rewards.goal_ratio ** goals.index(cell), "goal"
    earned = now.earned + rewards.gamma**now.steps * reward
    return Place(cell, now.held or _is(level.key, cell), now.steps + 1, earned, end)


def _step(level: Level, cell: int, held: bool, action: int) -> int:
    """The cell a move leads to; the same one in front of a wall or a locked door."""
    down, right = _STEPS[action]
    width = level.walls.shape[1]
    there = cell + down * width + right
    return cell if level.walls.flat[there] or (_is(level.door, there) and not held) else there


def goals_of(level: Level) -> list[int]:
    """The cells of all goals, the best first."""
    return [int(level.goal), *(int(cell) for cell in level.others)]


def _is(field: Any, cell: int) -> bool:
    """Whether an optional field of a level, a cell or a map of cells, names ``cell``."""
    if isinstance(field, tuple):
        return False
    return bool(field.flat[cell]) if field.ndim else int(field) == cell


def shortest(level: Level, cell: int, held: bool) -> list[int]:
    """The cells of a shortest way to the nearest goal, both ends included, by breadth-first search over cells and key;
    empty if there is none. Among equals north, east, south, west.
    """
    came: dict[tuple[int, bool], tuple[int, bool] | None] = {(cell, held): None}
    todo, goals = deque(came), goals_of(level)
    while todo:
        here: tuple[int, bool] | None = todo.popleft()
        if here[0] in goals:
            way = []
            while here:
                way.append(here[0])
                here = came[here]
            return way[::-1]
        for action in range(4):
            there = _step(level, *here, action)
            after = (there, here[1] or _is(level.key, there))
            if after not in came and not _is(level.lava, there):
                came[after] = here
                todo.append(after)
    return []


def screen(
    game: Game, title: str, values: Any = None, size: tuple[int, int] = (80, 24), colour: bool = True
) -> list[str]:
    """What the terminal shows.

    Args:
      game: the game.
      title: the first line.
      values: Q* of the four moves here, float (4,), or None where it is not shown.
      size: columns and rows; of a larger level the part around the agent is shown.
      colour: whether to colour the map.
    """
    level, now = game.level, game.now
    columns, rows = size
    height, width = level.walls.shape
    row, column = divmod(now.cell, width)
    window = window_around(row, height, rows - 4), window_around(column, width, columns // 2)
    way = shortest(level, now.cell, now.held) if game.show_path and not now.end else []
    first = game.trail[0]
    best = len(shortest(level, first.cell, first.held)) - 1
    status = f"steps {now.steps}   return {now.earned:.3f}   shortest {best}"
    if way:
        status += f"   still {len(way) - 1}"
    told = ""
    if now.end == "lava":
        told = f"burnt after {_steps(now.steps)}: r restart, u undo, n next level"
    elif now.end:
        told = f"goal reached in {_steps(now.steps)}, shortest {best}" + (": perfect" if now.steps == best else "")
    elif values is not None:
        top = max(values)
        told = "Q*  " + "   ".join(
            f"{name} {value:.4f}{'*' if value == top else ' '}" for name, value in zip(NAMES, values, strict=True)
        )
    picture = ansi.lines(level, now.cell, path=way[1:-1], colour=colour, held=now.held, window=window)
    short = lambda line: line[:columns]
    return [short(title), *picture, *map(short, (status, told, HELP))]


def window_around(place: int, side: int, room: int) -> slice:
    """The part of a side that is shown where only ``room`` cells are: with the agent in its middle, if possible."""
    room = max(room, 3)
    first = min(max(place - room // 2, 0), max(side - room, 0))
    return slice(first, first + room)


def _steps(count: int) -> str:
    return f"{count} step" if count == 1 else f"{count} steps"
