"""What each lane of a group is given: keys, hyperparameters, and the levels it is judged on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from lepton_jax.config import Config, Hypers
from lepton_jax.engine.program import Shape, make_hypers, strong
from lepton_jax.engine.setup import LevelSet, Setup, level_set
from lepton_jax.scale.design import Lane
from lepton_jax.scale.lanes import Birth
from lepton_jax.scale.lift import LANES, Lift, shardings
from lepton_jax.transfer.graft import Grafts


class Judged(NamedTuple):
    """The levels a lane is judged on, and of their exact solution what an evaluation needs."""

    worlds: Any
    exact: Any  # Exact without its tables; None where there is none


class Case(NamedTuple):
    """All that a lane is given."""

    birth: Birth
    validation: Judged
    test: Judged


class Cases:
    """Makes the cases of lanes, in the host's memory, and lays them out by place on the devices."""

    def __init__(self, lanes: tuple[Lane, ...], setup: Setup, shape: Shape, lift: Lift, grafts: Grafts | None):
        self._lanes, self._shape, self._lift, self._grafts = lanes, shape, lift, grafts
        self._sets: dict[tuple[int, str], LevelSet] = {}
        self._known: dict[int, Case] = {}
        solve = setup.env.solve
        self._solve = jax.jit(lambda worlds, hypers: solve(worlds, strong(hypers))) if solve else None
        config = lanes[0].config  # sizes are the same for all lanes of a group
        self.counts = {name: level_set(config, name, size).size for name, size in _sizes(config).items()}

    def at(self, places: Mapping[int, int]) -> Case:
        """The cases of the lanes in these places; in the others, that of one of them, which nobody looks at."""
        self._known = {lane: self._known.get(lane) or self._make(lane) for lane in places.values()}
        anyone = next(iter(self._known.values()))
        there = [self._known[places[place]] if place in places else anyone for place in range(self._lift.places)]
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *there)
        return jax.device_put(stacked, shardings(self._lift, LANES, stacked))

    def _make(self, lane: int) -> Case:
        config = self._lanes[lane].config
        data = lambda seed: np.array(jax.random.key_data(jax.random.key(seed)))
        hypers = make_hypers(config, self._shape)
        given = self._grafts.given(config) if self._grafts else None
        birth = Birth(data(config.seed), data(config.env.level_seed), Hypers(*map(np.float32, hypers)), given)
        judged = {name: self._judged(config, hypers, name, size) for name, size in _sizes(config).items()}
        return Case(birth, **judged)

    def _judged(self, config: Config, hypers: Hypers, name: str, size: int) -> Judged:
        which = (config.env.level_seed, name)
        if which not in self._sets:
            self._sets[which] = level_set(config, name, size)
        worlds = self._sets[which].worlds
        exact = None
        if self._solve is not None:
            exact = self._solve(worlds, hypers)._replace(q=(), episode=(), step=(), counts=())
        return jax.tree.map(np.asarray, Judged(worlds, exact))


def _sizes(config: Config) -> dict[str, int]:
    return {"validation": config.eval.validation_levels, "test": config.eval.test_levels}
