"""Pictures of recorded episodes, pixel for pixel where it matters, and their vectors as XML."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from lepton_jax.engine.playback import Playback
from lepton_jax.envs.maze.level import Level
from lepton_jax.envs.maze.render import PALETTE, draw
from lepton_jax.envs.maze.text import from_text
from lepton_jax.report import movie, vector

SVG = "{http://www.w3.org/2000/svg}"
PAPER = (255, 255, 255)
# Both of 5 x 7 cells, the second one with walls that only fill: its own part is 3 x 7.
LEVELS = from_text("#######\n#S   G#\n#     #\n# ~   #\n#######\n\n#######\n#SK DG#\n#######\n#######\n#######")


@pytest.fixture(scope="module")
def recorded() -> Playback:
    """One arrives in 4 steps; the other one fetches the key and then stays before the door, 2 steps in all."""
    wet, locked = LEVELS
    both = Level(
        walls=np.stack([wet.walls, locked.walls]),
        start=np.array([8, 8], np.int32),
        goal=np.array([12, 12], np.int32),
        lava=np.stack([wet.lava, np.zeros_like(wet.walls)]),
        key=np.array([16, 9], np.int32),
        door=np.array([17, 11], np.int32),
    )
    return Playback(
        levels=both,
        cell=np.array([[8, 9, 10, 11, 12], [8, 9, 9, 9, 9]], np.int32),
        heading=np.array([[1, 1, 1, 1, 1], [1, 1, 2, 2, 2]], np.int8),
        held=np.array([[False] * 5, [False, True, True, True, True]]),
        q=np.zeros((2, 4, 3), np.float32),
        action=np.zeros((2, 4), np.int32),
        reward=np.zeros((2, 4), np.float32),
        length=np.array([4, 2], np.int32),
        success=np.array([True, False]),
        total=np.zeros(2, np.float32),
    )


def test_a_movie_frame_by_frame(recorded, tmp_path):
    movie.save_movie(tmp_path / "two.gif", recorded)
    tile, gap = 16, 4
    panel_width, panel_height = 7 * tile + 2 * gap, 5 * tile + 2 * gap
    with Image.open(tmp_path / "two.gif") as film:
        assert getattr(film, "n_frames", 1) == 5
        assert film.size == (2 * (panel_width + gap) + gap, panel_height + 2 * gap)
        durations = []
        for time in range(5):
            film.seek(time)
            durations.append(film.info["duration"])
            frame = np.asarray(film.convert("RGB"))
            for episode, height in enumerate((5, 3)):
                left = gap + episode * (panel_width + gap)
                panel = frame[gap : gap + panel_height, left : left + panel_width]
                top = (panel_height - height * tile) // 2
                level = Level(*(field if isinstance(field, tuple) else field[episode] for field in recorded.levels))
                states = (array[episode, time] for array in (recorded.cell, recorded.heading, recorded.held))
                expected = np.asarray(draw(level, *states, tile=tile))[: height * tile]
                np.testing.assert_array_equal(panel[top : top + height * tile, gap:-gap], expected)
                over = time >= recorded.length[episode]
                colour = (PALETTE["goal"] if episode == 0 else PALETTE["lava"]) if over else PAPER
                assert tuple(panel[top - 1, gap]) == colour
                assert tuple(panel[top + height * tile, -1]) == colour
        assert sum(durations[:4]) == 500  # eight a second
        assert durations[4] in (2120, 2130)


def test_a_still_picture_has_the_paths(recorded):
    picture = movie.still(recorded)
    tile = 32
    at = lambda episode, row, column: tuple(
        picture[8 + row * tile + tile // 2 + 32 * episode, 8 + episode * (7 * tile + 12) + column * tile + tile // 2]
    )
    assert [at(0, 1, column) for column in range(1, 4)] == [PALETTE["path"]] * 3
    assert at(0, 1, 5) == PALETTE["agent"]
    assert at(0, 2, 1) == PALETTE["free"]
    assert at(1, 1, 2) == PALETTE["agent"]
    assert at(1, 1, 3) == PALETTE["free"]


def test_large_grids_keep_within_their_width():
    boxes = [(0, 0, 13, 13)] * 7
    grid = movie.grid_of(boxes)
    assert (grid.columns, grid.rows, grid.width, grid.height) == (3, 3, 13, 13)
    assert grid.tile(480, 16) == 12
    assert movie.grid_of([(0, 0, 61, 61)] * 64).tile(480, 16) == 3


def test_the_drawing(recorded):
    text = movie.drawing(recorded, ["one <&>", "two"])
    root = ET.fromstring(text)
    assert [node.text for node in root.iter(f"{SVG}text")] == ["one <&>", "two"]
    trails = [node.get("d") for node in root.iter(f"{SVG}path") if node.get("class") == "trail"]
    assert trails == ["M1.5 1.5L2.5 1.5L3.5 1.5L4.5 1.5L5.5 1.5", "M1.5 1.5L2.5 1.5"]
    frames = [node.get("stroke") for node in root.iter(f"{SVG}path") if node.get("class") == "frame"]
    assert frames == [vector.colour("goal"), vector.colour("lava")]
    turned = [node.get("transform") for node in root.iter(f"{SVG}g") if "rotate" in (node.get("transform") or "")]
    assert turned == ["translate(5.5 1.5) rotate(90)", "translate(2.5 1.5) rotate(180)"]
    assert [node.get("class") for node in root.iter(f"{SVG}g")].count("held") == 1
    assert "var(" not in text  # which many programs that read SVG do not know
