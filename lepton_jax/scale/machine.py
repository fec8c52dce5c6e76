"""The lanes of a group on the devices: seated, advanced, read, judged, taken down and put up again."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from lepton_jax.engine import checkpoint
from lepton_jax.engine.loop import wait_for
from lepton_jax.engine.program import State
from lepton_jax.scale.cases import Case, Cases
from lepton_jax.scale.lanes import MARKS, Running, make_lanes
from lepton_jax.scale.lift import LANES, shardings, which
from lepton_jax.scale.plan import GroupPlan

Places = Mapping[int, int]  # places and the lane in each, by its number within the group


class Reading(NamedTuple):
    """What the lanes say of themselves, W places."""

    sums: dict[str, np.ndarray]  # float32 (W,): metrics summed over the segments since they were cleared
    bad: np.ndarray  # int32 (W,): the first iteration of the lane with a metric that is not finite, or NEVER
    sound: np.ndarray  # bool (W,): every number of the agent is finite


class Machine:
    """All that a group has on devices."""

    def __init__(self, plan: GroupPlan, shared: bool):
        """``shared``: one pool of levels serves all lanes."""
        self._lift, self._agent = plan.lift, plan.setup.agent
        given = plan.grafts.shapes if plan.grafts else None
        self._lanes = make_lanes(plan.lanes[0].config, plan.setup, plan.lift, shared, given)
        self._cases = Cases(plan.lanes, plan.setup, plan.shape, plan.lift, plan.grafts)
        self._running: Running | None = None  # until somebody sits: a blank beside what is put up would not fit
        self._shapes: Running = jax.eval_shape(self._lanes.blank)
        self._case: Case | None = None
        self._compiled: dict[str, Any] = {}
        self.compile_seconds = 0.0

    def seat(self, given: Places, running: Places) -> None:
        """The lanes ``given`` begin in their places; ``running`` are all that sit then."""
        self._case = self._cases.at(running)
        if self._running is None:
            self._running = self._lanes.blank()
        self._running = self._call("fill", self._lanes.fill, self._running, self._case.birth, self._which(given))

    def advance(self, running: Collection[int], segments: int, expected: float) -> float:
        """Runs ``segments`` segments of the lanes in the places ``running``; the seconds it took."""
        assert self._case is not None
        args = (self._running, self._case.birth.hypers, self._which(running), np.int32(segments))
        advance = self._ready("advance", self._lanes.advance, *args)
        began = time.perf_counter()
        self._running = advance(*args)
        return wait_for(self._mine.birth, began, expected)

    def read(self) -> Reading:
        """What the lanes say since ``clear``."""
        mine = self._mine
        sound = self._call("sound", self._lanes.sound, mine.agent_state)
        return Reading(*jax.device_get((mine.sums, mine.bad, sound)))

    def clear(self) -> None:
        """Sets the sums of metrics to zero."""
        assert self._running is not None
        zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), self._mine.sums)
        self._running = self._running._replace(mine=self._mine._replace(sums=self._put(zeros)))

    def policies(self) -> Any:
        """The policies in all places, (W, ...) each leaf, in the host's memory."""
        return checkpoint.to_host(self._agent.policy(self._mine.agent_state))

    def agent_state(self, place: int) -> Any:
        """The agent in one place, in the host's memory."""
        return jax.device_get(jax.tree.map(lambda leaf: leaf[place], self._mine.agent_state))

    def judge(self, name: str, places: Places, policies: Any = None) -> dict[int, dict[str, float]]:
        """The figures of the lanes in ``places`` on the levels ``name``, validation or test.

        Args:
          name: of the set. places: whom to judge.
          policies: (W, ...) to be judged instead of those the lanes have now.
        """
        if not places:
            return {}
        judged, states = getattr(self._case, name), self._states(policies)
        count = self._cases.counts[name]
        args = (states, self._hypers, judged.worlds, judged.exact, self._which(places))
        figures = jax.device_get(self._call(f"judge {count}", self._lanes.judge(count), *args))
        return {place: {figure: float(values[place]) for figure, values in figures.items()} for place in places}

    def q_error(self, name: str, places: Places, policies: Any = None) -> dict[int, float]:
        """The error of Q on these levels; nothing where it cannot be told."""
        if not places or self._lanes.q_error is None:
            return {}
        worlds = getattr(self._case, name).worlds
        args = (self._states(policies), self._hypers, worlds, self._which(places))
        values = jax.device_get(self._call(f"q_error {name}", self._lanes.q_error, *args))
        return {place: float(values[place]) for place in places}

    def take_down(self, running: Places) -> dict[str, Any]:
        """The whole state of the lanes in these places and of what they share, in the host's memory. To be copied
        before the next chunk."""
        here = jax.device_get(checkpoint.without_keys(self._running))  # on a CPU no copy
        rows = list(running)
        taken = lambda leaf: leaf if len(rows) == len(leaf) else leaf[rows]
        return {"common": here.common, "mine": jax.tree.map(taken, here.mine)}

    def like(self, running: Places) -> dict[str, Any]:
        """The shapes of what ``take_down`` gives."""
        raw = checkpoint.raw_shapes(self._shapes)
        row = lambda leaf: jax.ShapeDtypeStruct((len(running), *leaf.shape[1:]), leaf.dtype)
        return {"common": raw.common, "mine": jax.tree.map(row, raw.mine)}

    @property
    def policy_shapes(self) -> Any:
        """The shapes of one lane's policy."""
        states = jax.eval_shape(self._agent.policy, self._shapes.mine.agent_state)
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), states)

    def put_up(self, tree: Mapping[str, Any], running: Places) -> None:
        """The reverse of ``take_down``."""
        rows = list(running)

        def spread(leaf: Any) -> np.ndarray:
            whole = np.zeros((self._lift.places, *leaf.shape[1:]), leaf.dtype)
            whole[rows] = leaf
            return whole

        mine = jax.tree.map(spread, tree["mine"])
        raw = Running(jax.tree.map(np.asarray, tree["common"]), mine)
        there = jax.device_put(raw, shardings(self._lift, MARKS, raw))
        self._running = checkpoint.with_keys(self._shapes, there)
        self._case = self._cases.at(running)

    @property
    def _mine(self) -> State:
        assert self._running is not None
        return self._running.mine

    @property
    def _hypers(self) -> Any:
        assert self._case is not None
        return self._case.birth.hypers

    def _states(self, policies: Any) -> Any:
        states = self._mine.agent_state
        return states if policies is None else self._agent.with_policy(states, self._put(policies))

    def _which(self, places: Collection[int]) -> Any:
        return self._put(which(self._lift, places))

    def _put(self, tree: Any) -> Any:
        return jax.device_put(tree, shardings(self._lift, LANES, tree))

    def _call(self, name: str, function: Any, *args: Any) -> Any:
        return self._ready(name, function, *args)(*args)

    def _ready(self, name: str, function: Any, *args: Any) -> Any:
        """Compiled once by name, apart from what is measured as training."""
        if name not in self._compiled:
            began = time.perf_counter()
            self._compiled[name] = function.lower(*args).compile()
            self.compile_seconds += time.perf_counter() - began
        return self._compiled[name]
