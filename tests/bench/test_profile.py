"""Where the time of a program goes: operations to parts of the engine, nested events, a real trace."""

from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from bench import profiling, sources
from bench.__main__ import main
from bench.profiling import Event, Profile, Spent
from bench.sources import AVERAGE, PRODUCTS, Frame, Operation
from lepton_jax.config import ConfigError
from lepton_jax.engine.program import make_hypers, make_program
from lepton_jax.engine.setup import make_setup
from lepton_jax.presets import from_preset
from lepton_jax.settings import overlay

HERE = "/anywhere/lepton_jax/"
ROLLOUT = Frame(HERE + "engine/program.py", "make_program.<locals>.rollout.<locals>.step", 145)
ITERATION = Frame(HERE + "engine/program.py", "make_program.<locals>.iteration", 189)


def test_a_part_is_known_by_the_lines_that_asked():
    network = Frame(HERE + "agents/networks.py", "Torso.__call__", 46)
    learn = Frame(HERE + "agents/dqn.py", "make_dqn.<locals>.learn", 106)
    observe = Frame(HERE + "envs/maze/world.py", "make_env.<locals>.observe", 201)
    part = lambda *frames: sources.part_of([*frames, ITERATION])
    assert part(network, ROLLOUT) == "act: network and choice"
    assert part(network, Frame(learn.file, learn.function + ".<locals>.measure", 93), learn) == (
        "learn: loss and gradient"
    )
    assert part(learn) == "learn: optimiser, target network, the rest of an update"
    assert part(observe, ROLLOUT) == "act: observe"
    assert part(observe, Frame(HERE + "engine/experience.py", "transitions", 20)) == "learn: observe"
    assert part(Frame(HERE + "envs/maze/rules.py", "transition", 100), ROLLOUT) == "environment step"
    assert part(Frame(HERE + "engine/shard.py", "average", 80), learn) == AVERAGE
    assert part() == "metrics, clock, what scans hand on"
    assert sources.part_of([Frame("/elsewhere/x.py", "write", 1)]) == "other"


def test_time_counts_once_where_it_is_spent():
    events = [
        Event("one", 0, 100, "while"), Event("one", 10, 30, "dot"), Event("one", 30, 60, "call"),
        Event("one", 35, 45, "dot"), Event("two", 20, 40, "dot"), Event("one", 200, 205, "dot"),
    ]  # fmt: skip
    assert profiling.own_times(events) == {"while": Spent(50, 1), "dot": Spent(55, 4), "call": Spent(20, 1)}
    # The devices come to the first sum at 0 and 6, to the second both at 20.
    together = [Event("one", 0, 10, "sum"), Event("two", 6, 10, "sum"), Event("one", 20, 23, "sum"),
                Event("two", 20, 23, "sum")]  # fmt: skip
    assert profiling.waited(together, 2) == 6


def test_the_table_accounts_for_all_time():
    known = {
        "sum": Operation(AVERAGE, "all-reduce", "f32[4]", "shard.py:80"),
        "dot": Operation("learn: loss and gradient", "dot", "f32[2,2]", "networks.py:46"),
    }
    spent = {"sum": Spent(4e6, 6), "dot": Spent(10e6, 20), "strange": Spent(2e6, 2)}
    found = Profile(7, 2, [0.009, 0.008, 0.010], [0.02, 0.012], spent, known, 1e6)
    table = profiling.rows(found)
    assert [(line["name"], round(1e3 * line["median"], 6), line["times"]) for line in table] == [
        ("learn: loss and gradient", 5.0, 10), (AVERAGE, 1.5, 3), ("unknown", 1.0, 1),
        ("waiting for the other devices there", 0.5, 0), ("not in any operation", 4.0, 0),
    ]  # fmt: skip
    assert sum(line["share"] for line in table) == pytest.approx(1.0)
    told = profiling.lines("quick", found, table)
    assert told[0] == (
        "quick: 7 iterations on 2 devices take 8.0 ms at the fastest (median 9.0), under a trace 12.0 ms (+50 %)"
    )
    assert told[2].split() == ["learn:", "loss", "and", "gradient", "5.00", "41.7%", "10"]
    assert told[3].split() == ["dot", "f32[2,2]", "networks.py:46", "5.00", "41.7%", "10"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_trace_tells_how_often_each_operation_ran(tmp_path: Path):
    @jax.jit
    def program(x: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, 7, lambda _, x: jnp.tanh(x @ x), x)

    x = jnp.eye(64)
    compiled = program.lower(x).compile()
    other = jax.jit(lambda x: jnp.sin(x) @ x).lower(x).compile()
    text = compiled.as_text() or ""
    with jax.profiler.trace(str(tmp_path)):
        jax.block_until_ready([compiled(x), other(x)])
    events = profiling.read(tmp_path, profiling.module_of(text))
    spent, known = profiling.own_times(events), sources.operations(text)
    assert spent.keys() <= known.keys(), "operations of the other program"
    products = [name for name in spent if known[name].result == "f32[64,64]" and spent[name].times == 7]
    assert products
    assert any(known[name].source.startswith("test_profile.py:") for name in products)
    assert "other" + PRODUCTS in {known[name].part for name in products}
    assert all(each.ns >= 0 for each in spent.values())
    loop = next(name for name in spent if known[name].part == "running loops")
    whole = sum(event.end - event.start for event in events if event.operation == loop)
    assert spent[loop].ns < whole, "what runs in a loop is not its own"


def test_a_gpu_is_told_by_its_own_plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    event = lambda start, length, op, module="jit_chunk": SimpleNamespace(
        start_ns=start, duration_ns=length, stats=[("hlo_op", op), ("hlo_module", module)]
    )
    line = lambda name, *events: SimpleNamespace(name=name, events=events)
    plane = lambda name, *lines: SimpleNamespace(name=name, lines=lines)
    launched = plane("/host:CPU", line("python", event(0, 90, "dot")))
    ran = plane("/device:GPU:0", line("Stream #7", event(5, 2, "dot"), event(8, 1, "sum", "jit_other")))
    again = plane("/device:GPU:1", line("XLA Ops", event(6, 3, "dot")), line("Stream #7", event(6, 3, "dot")))
    (tmp_path / "host.xplane.pb").touch()
    told = lambda *planes: SimpleNamespace(from_file=lambda _: SimpleNamespace(planes=planes))
    monkeypatch.setattr(profiling, "ProfileData", told(launched, ran, again))
    assert profiling.own_times(profiling.read(tmp_path, "jit_chunk")) == {"dot": Spent(5, 2)}
    monkeypatch.setattr(profiling, "ProfileData", told(launched))
    assert profiling.own_times(profiling.read(tmp_path, "jit_chunk")) == {"dot": Spent(90, 1)}


def test_what_a_profile_does_not_go_with():
    with pytest.raises(ConfigError, match="--profile: does not go with --tier"):
        main(["--profile", "quick", "--tier", "env"])
    with pytest.raises(ConfigError, match="and --quick; leave them away"):
        main(["--profile", "--quick"])
    with pytest.raises(ConfigError, match="--out: goes with --profile"):
        main(["--out", "there"])


def test_the_parts_of_a_real_chunk_are_found():
    tiny = {"total_steps": 4096, "log_points": 1, "shards": 1, "net": {"width": 8},
            "env": {"num_envs": 16, "pool": 64, "refresh_levels": 64},
            "replay": {"capacity": 1024, "warmup": 64, "batch_size": 8}}  # fmt: skip
    config = overlay(from_preset("quick"), tiny, "test")
    setup = make_setup(config)
    program = make_program(config, setup.env, setup.agent)
    hypers = make_hypers(config, program.shape)
    like = jax.eval_shape(program.init, jax.random.key(0), jax.random.key(0), hypers)
    text = program.chunk.lower(like, hypers, jax.ShapeDtypeStruct((), jnp.int32)).compile().as_text() or ""
    found = sources.operations(text)
    assert profiling.module_of(text) == "jit_chunk"
    parts = {each.part for each in found.values()}
    assert {part for part, _ in sources.PARTS} - parts == {AVERAGE}
    network = {"act: network and choice" + PRODUCTS, "learn: loss and gradient" + PRODUCTS}
    assert network <= parts
    assert sources.OTHER + PRODUCTS not in parts
