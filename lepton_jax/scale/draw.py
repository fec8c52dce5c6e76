"""Samples of a sweep's knobs: at random, or as points of a Sobol sequence. Imports no jax."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np

from lepton_jax.config import ConfigError
from lepton_jax.scale.axes import SETTINGS, Asked, Axis, Range, shown, twice


def draw(asked: Asked) -> list[dict[str, Any]]:
    """The samples that ``asked``, already checked, wants: their knobs, in the types of the settings.

    Raises:
      ConfigError: two samples are the same.
    """
    assert asked.samples is not None
    generator = np.random.default_rng(asked.design_seed or 0)
    shape = (asked.samples, len(asked.drawn))
    shares = generator.random(shape) if asked.method == "random" else _sobol(*shape, generator)
    columns = [
        _at(share, axis, SETTINGS[name]) for share, (name, axis) in zip(shares.T, asked.drawn.items(), strict=True)
    ]
    samples = [dict(zip(asked.drawn, values, strict=True)) for values in zip(*columns, strict=True)]
    if (same := twice(tuple(sample.values()) for sample in samples)) is not None:
        raise ConfigError(
            f"sweep: samples {same[0]} and {same[1]} are the same, {shown(samples[same[0]])}; ask for fewer "
            "samples, or list the values in grid"
        )
    return samples


def _sobol(count: int, axes: int, generator: np.random.Generator) -> np.ndarray:
    """float64 (count, axes): the first points of a scrambled Sobol sequence, in [0, 1)."""
    from scipy.stats import qmc  # takes a second

    name = "rng" if "rng" in inspect.signature(qmc.Sobol).parameters else "seed"  # before SciPy 1.15
    source: Any = {name: generator}
    sequence = qmc.Sobol(axes, scramble=True, **source)
    return sequence.random_base2(math.ceil(math.log2(count)))[:count]  # which does not warn of other counts


def _at(shares: np.ndarray, axis: Axis, kind: Any) -> list[Any]:
    """The values at shares in [0, 1) of an axis."""
    if not isinstance(axis, Range):
        return [axis[int(share * len(axis))] for share in shares]
    # Half a step more at both ends, so that the first and last integer are drawn as often as those between.
    half = 0.5 if kind is int else 0.0
    ends = np.array([axis.low - half, axis.high + half])
    low, high = np.log(ends) if axis.log else ends
    values = low + shares * (high - low)
    values = np.exp(values) if axis.log else values
    return [kind(min(max(value, axis.low), axis.high)) for value in (np.rint(values) if half else values).tolist()]
