"""What a sweep will take: lanes at once, and bytes, against the state of a run by itself."""

import jax
import pytest

from lepton_jax.config import ConfigError
from lepton_jax.engine import memory
from lepton_jax.engine.memory import tree_bytes
from lepton_jax.engine.program import make_hypers, make_program
from lepton_jax.presets import from_preset
from lepton_jax.scale import plan
from lepton_jax.scale.axes import Asked, Halving
from lepton_jax.scale.design import design
from lepton_jax.scale.lift import Lift
from lepton_jax.scale.plan import make_plan


def sweep(lanes=64, **asked):
    return design(from_preset("quick"), Asked(seeds=lanes, **asked))


def lift(monkeypatch, lanes, memory_bytes=None, devices=2, backend="cpu", **asked) -> Lift:
    """Where the lanes of a sweep go on a machine like this."""
    monkeypatch.setattr(plan, "memory_bytes", lambda: memory_bytes)
    monkeypatch.setattr(jax, "local_device_count", lambda: devices)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    return make_plan(sweep(lanes, **asked))[0].lift


def test_bytes_are_those_of_a_run_alone():
    (group,) = make_plan(sweep(3))
    config = group.lanes[0].config
    program = make_program(config, group.setup.env, group.setup.agent)
    state = jax.eval_shape(program.init, jax.random.key(0), jax.random.key(0), make_hypers(config, program.shape))
    assert group.lane_bytes == tree_bytes(state)
    policy = tree_bytes(group.setup.agent.policy(state.agent_state))
    assert group.checkpoint_bytes == group.lift.places * group.lane_bytes + 2 * 3 * policy
    (shared,) = make_plan(sweep(3, pools="shared"))
    assert shared.lane_bytes == group.lane_bytes - tree_bytes(state.worlds)


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        ({"lanes": 64}, Lift(8, 2, False)),
        ({"lanes": 64, "halving": Halving(3, 2)}, Lift(32, 2, False)),
        ({"lanes": 3}, Lift(4, 2, False)),  # a block of two for each core; one place stays empty
        ({"lanes": 1}, Lift(1, 1, False)),
        ({"lanes": 64, "places": 3}, Lift(2, 2, False)),  # never more than was asked for
        ({"lanes": 64, "places": 1}, Lift(1, 1, False)),
        ({"lanes": 64, "devices": 16}, Lift(64, 16, False)),
        ({"lanes": 64, "backend": "gpu", "devices": 1}, Lift(64, 1, True)),
        ({"lanes": 10, "backend": "gpu", "devices": 4}, Lift(12, 4, True)),
    ],
)
def test_lanes_at_once(monkeypatch, machine, expected):
    assert lift(monkeypatch, **machine) == expected


def test_no_more_at_once_than_fit(monkeypatch):
    (group,) = make_plan(sweep(64))
    # On a CPU each core computes with two copies of its lane, and every lane is copied twice when it is saved; a fifth
    # of the memory is left for anything else.
    room = lambda lanes, cores=2: int((3 * lanes + 2 * cores) * group.lane_bytes / 0.8) + 1000
    assert lift(monkeypatch, 64, room(5)) == Lift(4, 2, False)
    assert lift(monkeypatch, 64, room(1)) == Lift(1, 1, False)
    assert lift(monkeypatch, 64, int((40 + 2) * group.lane_bytes / 0.8) + 1000, 1, "gpu") == Lift(40, 1, True)
    with pytest.raises(ConfigError, match=r"places = 6: 5 lanes of .* fit .*; choose at most --places 5"):
        lift(monkeypatch, 64, room(5), places=6)
    assert lift(monkeypatch, 64, room(1, cores=1)) == Lift(1, 1, False)
    with pytest.raises(
        ConfigError, match=r"not even one lane fits: .* 5 times .*; choose a smaller replay.capacity, at"
    ):
        lift(monkeypatch, 64, room(1, cores=1) - 2000)
    monkeypatch.setattr(memory, "memory_bytes", lambda: group.lane_bytes - 1)
    with pytest.raises(ConfigError, match="do not fit"):
        make_plan(sweep(64))


def test_gone_on_with_as_begun(monkeypatch):
    begun = {"places": 8, "abreast": False}
    again = lambda: make_plan(sweep(64), [begun])[0].lift
    assert again() == Lift(8, jax.local_device_count(), False)
    monkeypatch.setattr(jax, "local_device_count", lambda: 3)
    assert again() == Lift(8, 2, False)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(ConfigError, match="begun on a CPU and cannot go on on a GPU"):
        again()
