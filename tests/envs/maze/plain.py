"""The maze once more, in plain Python loops over one map: the independent answer that the tests compare with."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))


def random_walls(rng: np.random.Generator, height: int, width: int, share: float) -> np.ndarray:
    """bool (height, width): a closed border around walls that are independent with probability ``share``."""
    walls = np.ones((height, width), bool)
    walls[1:-1, 1:-1] = rng.random((height - 2, width - 2)) < share
    return walls


def two_cells(rng: np.random.Generator, walls: np.ndarray) -> tuple[int, int]:
    """Two different free cells, not necessarily joined by a path."""
    first, second = rng.choice(np.flatnonzero(~walls), 2, replace=False)
    return int(first), int(second)


def spanning_trees(rooms: int) -> Iterator[np.ndarray]:
    """The map of every perfect maze of ``rooms`` x ``rooms`` rooms, by trying every choice of doors."""
    places = list(itertools.product(range(rooms), repeat=2))
    doors = [((r, c), (r, c + 1)) for r, c in places if c + 1 < rooms]
    doors += [((r, c), (r + 1, c)) for r, c in places if r + 1 < rooms]
    for chosen in itertools.combinations(doors, rooms * rooms - 1):
        walls = np.ones((2 * rooms + 1, 2 * rooms + 1), bool)
        walls[1::2, 1::2] = False
        for (r, c), (s, d) in chosen:
            walls[r + s + 1, c + d + 1] = False
        if (distances(walls, walls.shape[1] + 1)[1::2, 1::2] >= 0).all():
            yield walls


def distances(walls: np.ndarray, goal: int) -> np.ndarray:
    """int (height, width): steps to the goal by breadth-first search, -1 where no path leads there."""
    width = walls.shape[1]
    steps = np.full(walls.shape, -1)
    row, column = divmod(goal, width)
    steps[row, column] = 0
    todo = deque([(row, column)])
    while todo:
        row, column = todo.popleft()
        for down, right in MOVES:
            there = row + down, column + right
            if not walls[there] and steps[there] < 0:
                steps[there] = steps[row, column] + 1
                todo.append(there)
    return steps


def move(walls: np.ndarray, cell: int, action: int) -> int:
    """The cell reached."""
    row, column = divmod(cell, walls.shape[1])
    down, right = MOVES[action]
    there = row + down, column + right
    return cell if walls[there] else there[0] * walls.shape[1] + there[1]


def slipped(action: int, draw: int, slip: float) -> int:
    """The action taken: the upper 24 bits of the draw say whether to slip, the lowest two where to."""
    return draw % 4 if (draw // 256) / 2**24 < np.float32(slip) else action


def unpack(free: np.ndarray, height: int, width: int) -> np.ndarray:
    """Walls from the words of one level's free sites: inner cells row by row, a place more at the end of each row."""
    walls = np.ones((height, width), bool)
    for row in range(height - 2):
        for column in range(width - 1):
            site = row * (width - 1) + column
            walls[row + 1, column + 1] = not (int(free[site // 32]) >> (site % 32)) & 1
    return walls


def site(cell: int, width: int) -> int:
    """Cell number -> site number."""
    row, column = divmod(cell, width)
    return (row - 1) * (width - 1) + column - 1


def see_full(walls: np.ndarray, cell: int, goal: int) -> np.ndarray:
    """uint8 (3, height, width)."""
    seen = np.zeros((3, walls.size), np.uint8)
    seen[0] = walls.reshape(-1)
    seen[1, cell] = seen[2, goal] = 1
    return seen.reshape(3, *walls.shape)


def see_centred(walls: np.ndarray, cell: int, goal: int, view: int) -> np.ndarray:
    """uint8 (2, rows, columns); ``view`` 0 reaches the far end of the inner map from any cell."""
    height, width = walls.shape
    rows, columns = (view, view) if view else (2 * (height - 2) - 1, 2 * (width - 2) - 1)
    row, column = divmod(cell, width)
    seen = np.zeros((2, rows, columns), np.uint8)
    for i in range(rows):
        for j in range(columns):
            r, c = row + i - rows // 2, column + j - columns // 2
            outside = not (0 <= r < height and 0 <= c < width)
            seen[0, i, j] = outside or walls[r, c]
            seen[1, i, j] = not outside and r * width + c == goal
    return seen


def see_vector(walls: np.ndarray, cell: int, goal: int, time: int, time_limit: int) -> np.ndarray:
    """float32 (10,)."""
    height, width = walls.shape
    (row, column), (goal_row, goal_column) = divmod(cell, width), divmod(goal, width)
    down, right = max(height - 3, 1), max(width - 3, 1)
    runs = []
    for action in range(4):
        place, length = cell, 0
        while (following := move(walls, place, action)) != place:
            place, length = following, length + 1
        runs.append(length / (right if action % 2 else down))
    manhattan = (abs(goal_row - row) + abs(goal_column - column)) / max(height + width - 6, 1)
    places = [(row - 1) / down, (column - 1) / right, (goal_row - 1) / down, (goal_column - 1) / right]
    return np.array([*places, *runs, manhattan, min(time / time_limit, 1)], np.float32)


class Place(NamedTuple):
    """Where a game stands."""

    cell: int
    heading: int = 1
    last: int | None = None
    held: bool = False
    time: int = 0


class Game:
    """One level under all options of the rules, cell by cell. ``level`` holds NumPy arrays of one maze."""

    def __init__(self, level: Any, rules: Any, hypers: Any):
        self.level, self.rules, self.hypers = level, rules, hypers
        self.walls, self.width = np.asarray(level.walls), np.asarray(level.walls).shape[1]
        self.goals = [int(level.goal), *(np.asarray(level.others).tolist() if rules.goals > 1 else [])]
        self.start = Place(int(level.start))
        fields = np.stack([self.flood(goal) for goal in self.goals])
        self.steps = np.where(fields < 0, 10**6, fields).min(0)

    def flood(self, goal: int) -> np.ndarray:
        """Steps to one goal from each cell, through lava and doors, by the moves there are."""
        steps = np.full(self.walls.size, -1)
        steps[goal], todo = 0, deque([goal])
        while todo:
            cell = todo.popleft()
            for direction in range(8 if self.rules.actions == "diagonal" else 4):
                there = self.beside(cell, direction)  # the rule for corners is the same both ways
                if there is not None and steps[there] < 0:
                    steps[there] = steps[cell] + 1
                    todo.append(there)
        return steps

    def beside(self, cell: int, direction: int) -> int | None:
        """The free cell in a direction, or None."""
        down, right = (*MOVES, (-1, 1), (1, 1), (1, -1), (-1, -1))[direction]
        row, column = divmod(cell, self.width)
        if self.walls[row + down, column + right]:
            return None
        if down and right and self.walls[row, column + right] and self.walls[row + down, column]:
            return None
        return (row + down) * self.width + column + right

    def move(self, place: Place, action: int) -> tuple[Place, float, bool, bool]:
        """The place reached by what is done, the reward, whether the episode ends, and whether at a goal."""
        rules, hypers = self.rules, self.hypers
        heading, there, bumped = place.heading, place.cell, False
        if rules.actions == "oriented":
            heading = (heading + (3, 1, 0)[action]) % 4
            direction = heading if action == 2 else None
        else:
            direction = action
        if direction is not None:
            target = self.beside(place.cell, direction)
            if target is None or (rules.door and target == int(self.level.door) and not place.held):
                bumped = True
            else:
                there = target
        held = place.held or (rules.door and there == int(self.level.key))
        time = place.time + 1
        reward = -hypers.step_cost
        success = there in self.goals
        if success:
            prize = hypers.goal_reward * hypers.goal_ratio ** self.goals.index(there)
            reward += prize * (1 - hypers.time_decay * time / rules.time_limit if rules.time_decay else 1)
        burnt = rules.lava and bool(np.asarray(self.level.lava).reshape(-1)[there])
        reward -= hypers.lava_penalty * burnt + hypers.wall_penalty * (bumped and rules.wall_penalty)
        ended = success or burnt
        if rules.shaping:
            after = 0 if ended else self.steps[there]
            reward += hypers.shaping * (self.steps[place.cell] - hypers.gamma * after)
        last = action if rules.sticky else None
        return Place(there, heading, last, held, time), float(reward), ended, success

    def chances(self, place: Place, action: int) -> list[float]:
        """The probability of each move if ``action`` is chosen."""
        count = self.rules.num_actions
        chance = np.eye(count)[action]
        if self.rules.slip:
            instead = np.array([sum(word % count == k for word in range(256)) for k in range(count)]) / 256
            chance = (1 - self.hypers.slip) * chance + self.hypers.slip * instead
        if self.rules.sticky and place.last is not None:
            chance = (1 - self.hypers.sticky) * chance + self.hypers.sticky * np.eye(count)[place.last]
        return chance.tolist()

    def solve(self, sweeps: int) -> dict[Place, np.ndarray]:
        """Q* of every place that play can come to, without the time, by ``sweeps`` rounds of backups.

        With time decay: of the first step of an episode, by counting the time back from its end.
        """
        timeless = lambda place: place._replace(time=0)
        found, todo = {self.start: None}, [self.start]
        table: dict[Place, list[tuple[Place, bool]]] = {}
        while todo:
            place = todo.pop()
            table[place] = [(timeless(there), ended) for there, _, ended, _ in map_moves(self, place)]
            for there, ended in table[place]:
                if not ended and there not in found:
                    found[there] = None
                    todo.append(there)
        number = {place: k for k, place in enumerate(table)}
        ended = np.array([[over for _, over in row] for row in table.values()])
        into = np.array([[number.get(there, 0) for there, _ in row] for row in table.values()])
        chance = np.array([[self.chances(place, a) for a in range(self.rules.num_actions)] for place in table])
        reward_at = lambda time: np.array([[r for _, r, _, _ in map_moves(self, p._replace(time=time))] for p in table])
        reward, value, q = reward_at(0), np.zeros(len(table)), np.zeros((0, 0))
        for sweep in reversed(range(self.rules.time_limit if self.rules.time_decay else sweeps)):
            if self.rules.time_decay:
                reward = reward_at(sweep)
            sure = reward + self.hypers.gamma * np.where(ended, 0.0, value[into])
            q = np.einsum("pam,pm->pa", chance, sure)
            value = q.max(1)
        return {place: q[k] for place, k in number.items()}


def map_moves(game: Game, place: Place) -> list[tuple[Place, float, bool, bool]]:
    """What each move does."""
    return [game.move(place, action) for action in range(game.rules.num_actions)]
