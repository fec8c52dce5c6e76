"""The maze once more, in plain Python loops over one map: the independent answer that the tests compare with."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator

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
