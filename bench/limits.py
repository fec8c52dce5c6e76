"""What the device itself can do: move memory, multiply matrices. No program that does either is faster."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from bench.measure import Subject, compiled


def subjects() -> dict[str, Subject]:
    """A copy, and a product in each number format that a network may have; large enough that starting them is nothing.

    A copy counts what it reads and what it writes.
    """
    gpu = jax.default_backend() == "gpu"
    size, side = (2**30, 8192) if gpu else (2**27, 1024)
    source = jnp.arange(size // 4, dtype=jnp.uint32)
    copy, _ = compiled(lambda source: source + jnp.uint32(1), source)
    found = {f"limit: copy of {size / 2**20:.0f} MiB": Subject(copy, 2 * size, "B/s")}
    for dtype in ("float32", "bfloat16"):
        factor = jnp.ones((side, side), dtype)
        product, _ = compiled(_product, factor, factor)
        found[f"limit: product of {side} x {side}, {dtype}"] = Subject(product, 2 * side**3, "FLOP/s")
    return found


def _product(a: jax.Array, b: jax.Array) -> Any:
    return a @ b
