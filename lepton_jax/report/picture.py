"""Pictures as files: one as PNG, several as an animated GIF. Pillow is imported when the first one is written."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

_GIF_COLOURS = 256


def save_png(path: str | Path, rgb: Any) -> None:
    """Writes one picture, uint8 (height, width, 3) of jax or NumPy, without loss.

    Raises:
      ValueError: it is no such array.
    """
    from PIL import Image

    Image.fromarray(_checked(rgb, "save_png")).save(path, format="PNG")


def save_gif(path: str | Path, frames: Iterable[Any], fps: float = 8.0, rest: float = 0.0) -> None:
    """Writes an animation that repeats for ever.

    Args:
      path: the file.
      frames: pictures uint8 (height, width, 3), all of one size; exact where they have up to 256 colours together,
        else each frame is brought to 256 of its own.
      fps: frames a second, to 50; a GIF counts hundredths of a second, so 8 become 12 or 13 hundredths a frame.
      rest: seconds for which the last frame stays beyond its own time.

    Raises:
      ValueError: there is no frame, they differ in size, or ``fps`` is out of range.
    """
    pictures = [_checked(frame, "save_gif") for frame in frames]
    if not pictures:
        raise ValueError("save_gif: no frames; expected at least one")
    if not 0 < fps <= 50:
        raise ValueError(
            f"save_gif: fps={fps!r}; expected more than 0 and at most 50, as viewers slow faster ones down"
        )
    sizes = {picture.shape for picture in pictures}
    if len(sizes) > 1:
        raise ValueError(f"save_gif: frames of {len(sizes)} sizes, {sorted(sizes)}; expected one size")
    images = _indexed(pictures)
    # The k-th frame begins at the hundredth of a second nearest to k / fps, so that rounding does not add up.
    begins = [round(100 * number / fps) for number in range(len(images) + 1)]
    durations = [10 * (end - begin) for begin, end in itertools.pairwise(begins)]
    durations[-1] += round(1000 * rest)
    first, *others = images
    first.save(path, format="GIF", save_all=True, append_images=others, duration=durations, loop=0)


def _checked(rgb: Any, who: str) -> np.ndarray:
    array = np.asarray(rgb)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] != 3 or 0 in array.shape:
        raise ValueError(f"{who}: {array.dtype} of shape {array.shape}; expected uint8 (height, width, 3)")
    return array


def _indexed(pictures: list[np.ndarray]) -> list[Image]:
    """uint8 (height, width, 3) each -> images with a palette; one for all of them, if it can hold their colours."""
    from PIL import Image

    code = lambda picture: picture.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    there = np.zeros(1 << 24, bool)  # of every colour: looking it up is many times faster than sorting all pixels
    for picture in pictures:
        there[code(picture)] = True
    colours = np.flatnonzero(there)
    if len(colours) > _GIF_COLOURS:
        quantise = lambda picture: Image.fromarray(picture).quantize(_GIF_COLOURS, dither=Image.Dither.NONE)
        return [quantise(picture) for picture in pictures]
    palette = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], -1).astype(np.uint8).tobytes()
    number = np.zeros(1 << 24, np.uint8)
    number[colours] = np.arange(len(colours))
    images = []
    for picture in pictures:
        image = Image.fromarray(number[code(picture)], mode="L")
        image.putpalette(palette)
        images.append(image)
    return images
