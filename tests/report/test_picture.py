import numpy as np
import pytest
from PIL import Image

from lepton_jax.report.picture import save_gif, save_png


@pytest.fixture
def frames() -> np.ndarray:
    """Twelve different pictures of 24 colours in all."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (24, 3), np.uint8)
    return colours[rng.integers(0, 24, (12, 6, 9))]


def read(path) -> tuple[np.ndarray, list[int]]:
    """The frames of a file and how many milliseconds each is shown."""
    shown, times = [], []
    with Image.open(path) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            shown.append(np.asarray(image.convert("RGB")))
            times.append(image.info.get("duration", 0))
    return np.stack(shown), times


def test_png_is_exact(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    save_png(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(read(tmp_path / "a.png")[0], picture[None])


def test_gif_is_exact_where_it_can_be(tmp_path, frames):
    save_gif(tmp_path / "a.gif", frames, fps=8)
    shown, times = read(tmp_path / "a.gif")
    np.testing.assert_array_equal(shown, frames)
    # 12.5 hundredths of a second each: 12 or 13 of them, and 150 in all.
    assert set(times) == {120, 130}
    assert sum(times) == 1500
    with Image.open(tmp_path / "a.gif") as image:
        assert image.info["loop"] == 0  # for ever


def test_gif_of_many_colours_is_near(tmp_path):
    ramp = np.linspace(0, 255, 40).astype(np.uint8)
    picture = np.stack(
        [np.broadcast_to(ramp[:, None], (40, 40)), np.broadcast_to(ramp, (40, 40)), 0 * ramp[:, None] + ramp], -1
    )
    save_gif(tmp_path / "a.gif", [picture, picture[::-1]], fps=4)
    shown, times = read(tmp_path / "a.gif")
    assert np.abs(shown - np.stack([picture, picture[::-1]]).astype(float)).max() < 40
    assert times == [250, 250]


@pytest.mark.parametrize(
    ("given", "fps", "told"),
    [
        ([], 8, "no frames; expected at least one"),
        ([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)], 8, "frames of 2 sizes"),
        ([np.zeros((4, 4, 3), np.uint8)], 0, "fps=0; expected more than 0"),
        ([np.zeros((4, 4, 3), np.uint8)], 60, "at most 50"),
        ([np.zeros((4, 4, 3))], 8, r"float64 of shape \(4, 4, 3\); expected uint8 \(height, width, 3\)"),
        ([np.zeros((4, 4), np.uint8)], 8, r"uint8 of shape \(4, 4\); expected"),
    ],
)
def test_what_is_no_animation_is_refused(tmp_path, given, fps, told):
    with pytest.raises(ValueError, match=told):
        save_gif(tmp_path / "a.gif", given, fps)
    assert not (tmp_path / "a.gif").exists()
