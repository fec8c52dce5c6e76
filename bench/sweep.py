"""Lanes against runs alone: env-steps a second of all together, compile time, bytes of the states, peak memory."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import jax
import numpy as np

from bench.measure import Subject, peak_memory, rates, row, tell
from bench.train import chunk
from lepton_jax.config import Config, Hypers
from lepton_jax.engine.memory import tree_bytes
from lepton_jax.engine.program import make_hypers
from lepton_jax.engine.setup import make_setup
from lepton_jax.presets import from_preset
from lepton_jax.scale.lanes import Birth, make_lanes
from lepton_jax.scale.lift import LANES, Lift, shardings, which


def rows(quick: bool) -> list[dict[str, Any]]:
    """On a CPU lanes take turns on each core; on a GPU they run side by side, more and more of them."""
    config = from_preset("quick")
    gpu, devices = jax.default_backend() != "cpu", jax.local_device_count()
    subjects, others = {}, []
    for name, shards in {"over all devices": 0, "on one device": 1}.items():
        tell(f"quick alone, {name}: compiling")
        alone = chunk(dataclasses.replace(config, shards=shards))
        subjects[f"quick alone, {name}"] = Subject(alone.call, alone.work, "env-steps/s")
        others.append(row(f"compile quick alone, {name}", "s", [alone.seconds]))
        others += peak_memory(f"quick alone, {name}", alone.program)
    for places in (1, 4, 16, 64, 256) if gpu else (devices, 4 * devices, 32 * devices):
        tell(f"{places} lanes: compiling")
        call, work, seconds, size, program = lanes(dataclasses.replace(config, shards=1), Lift(places, devices, gpu))
        subjects[f"quick, {places} lanes"] = Subject(call, work, "env-steps/s")
        others.append(row(f"compile quick, {places} lanes", "s", [seconds]))
        others.append(row(f"state of quick, {places} lanes", "bytes", [size]))
        others += peak_memory(f"quick, {places} lanes", program)
    return rates(subjects, 3 if quick else 5) + others


def lanes(config: Config, lift: Lift) -> tuple[Any, float, float, float, jax.stages.Compiled]:
    """A call that trains a segment of each lane; its env-steps; seconds to compile; bytes of all states; program."""
    parts = make_setup(config)
    made = make_lanes(config, parts, lift, shared=False)
    put = lambda tree: jax.device_put(tree, shardings(lift, LANES, tree))
    data = lambda seed: np.array(jax.random.key_data(jax.random.key(seed)))
    stack = lambda of: np.stack([of(lane) for lane in range(lift.places)])
    hypers = make_hypers(config, made.shape)
    births = put(
        Birth(stack(data), stack(lambda _: data(0)), Hypers(*(np.full(lift.places, h, np.float32) for h in hypers)))
    )
    everyone, segments = put(which(lift, range(lift.places))), np.int32(1)
    began = time.perf_counter()
    blank = made.blank()
    fill = made.fill.lower(blank, births, everyone).compile()
    advance = made.advance.lower(blank, births.hypers, everyone, segments).compile()
    seconds = time.perf_counter() - began
    box = [fill(blank, births, everyone)]

    def call() -> Any:
        box[0] = advance(box[0], births.hypers, everyone, segments)
        return box[0].mine.birth

    work = lift.places * made.shape.per_segment * made.shape.steps
    return call, work, seconds, tree_bytes(box[0]), advance
