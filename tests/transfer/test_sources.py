"""Sources: what is opened is what was written, bit for bit; little is read; every damage and mistake is named."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
import safetensors.numpy
from orbax.checkpoint import v1

from bench.flip import tiny
from lepton_jax.config import Config, ConfigError
from lepton_jax.engine import checkpoint
from lepton_jax.engine.folder import RunFolder
from lepton_jax.engine.integrity import CheckpointError
from lepton_jax.engine.launch import begin
from lepton_jax.engine.policies import read_run
from lepton_jax.engine.run import go
from lepton_jax.scale.design import from_text
from lepton_jax.scale.ledger import Ledger
from lepton_jax.scale.sweep_folder import DONE, group_folder, hold
from lepton_jax.settings import to_toml
from lepton_jax.transfer.sources import Source, open_source

KERNEL, BIAS = "params/torso/kernel", "params/torso/bias"
MIB = 2**20


def draw(seed: int = 0) -> dict[str, Any]:
    """A small tree. Its kernel is random bits, which no compression changes, so that it can be found in a file."""
    bits = np.random.default_rng(seed)
    kernel = bits.integers(0, 256, (64, 128), np.uint8)
    return {"params": {"torso": {"kernel": kernel, "bias": np.asarray([1.5, -0.0, np.inf], jnp.bfloat16) + seed}}}


def same(found: dict[str, np.ndarray], tree: Any) -> bool:
    wanted = checkpoint.names(tree)
    assert found.keys() <= wanted.keys()
    return all(
        (array.dtype, array.shape, array.tobytes()) == (wanted[name].dtype, wanted[name].shape, wanted[name].tobytes())
        for name, array in found.items()
    )


def comes_back(source: Source, tree: Any) -> None:
    """All of ``tree`` can be read from ``source``, and metadata says the same of it."""
    wanted = checkpoint.names(tree)
    assert source.leaves.keys() == wanted.keys()
    for name, leaf in source.leaves.items():
        assert leaf[:3] == (wanted[name].shape, str(wanted[name].dtype), wanted[name].nbytes)
    assert same(source.read([KERNEL]), tree)
    assert list(source.read([KERNEL])) == [KERNEL]
    assert same(source.read(list(wanted)), tree)
    assert json.loads(json.dumps(source.about)) == source.about


def flip(path: Path, block: np.ndarray) -> None:
    """Changes one bit in the middle of the bytes of ``block``, wherever under ``path`` they lie."""
    raw, places = block.tobytes(), 0
    for file in [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]:
        data = bytearray(file.read_bytes())
        if (start := data.find(raw)) >= 0:
            data[start + len(raw) // 2] ^= 1
            file.write_bytes(data)
            places += 1
    assert places == 1


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, Any]:
    """A run, trained, and its final policy."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    return folder, checkpoint.to_host(go(begin(tiny(folder))).final)


@pytest.mark.parametrize("policy", ["final", "latest"])
def test_a_run(run, policy):
    folder, final = run
    source = open_source(folder, policy)
    assert source.leaves.keys() == checkpoint.names(final).keys()
    assert same(source.read(list(source.leaves)), final), "at the end the newest checkpoint has the final policy"
    assert source.config == read_run(folder)
    about = {"path": str(folder), "kind": "run", "policy": policy, "lane": None, "env_steps": 4096}
    assert source.about == about | {"format": "lepton_jax 1", "iteration": {"final": None, "latest": 128}[policy]}
    assert source.ancestors == []


def test_the_best_policy_is_the_same_wherever_it_lies(run):
    folder, _ = run
    kept = open_source(folder, "best")
    saved = open_source(RunFolder(folder).saved()[0], "best")
    alone = open_source(folder / "policy" / "best")
    assert kept.leaves == saved.leaves == alone.leaves
    steps = json.loads((folder / "summary.json").read_text())["best"]["env_steps"]
    assert [source.about["env_steps"] for source in (kept, saved, alone)] == [steps] * 3
    assert [source.about["policy"] for source in (kept, saved, alone)] == ["best"] * 3
    assert [source.kind for source in (kept, saved, alone)] == ["run", "checkpoint", "checkpoint"]
    assert saved.config == alone.config == kept.config
    names = list(kept.leaves)
    assert same(saved.read(names), dict(kept.read(names)))
    assert not same(kept.read(names), dict(open_source(folder).read(names))), "the comparison can fail"


def test_a_training_checkpoint_has_the_policy_of_its_moment(run):
    folder, final = run
    source = open_source(RunFolder(folder).saved()[0])
    assert same(source.read(list(source.leaves)), final)
    assert (source.about["policy"], source.about["iteration"]) == ("latest", 128)


def kept_run(folder: Path, tree: Any) -> Path:
    """A run folder with ``tree`` as its final policy."""
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(to_toml(Config()))
    checkpoint.write(RunFolder(folder).policy("final"), tree, {"env_steps": 7})
    return folder


def test_a_checkpoint_alone_and_its_ancestors(tmp_path):
    path = kept_run(tmp_path / "run", draw())
    lineage = [{"path": "/b", "policy": "best"}, {"path": "/a"}]
    (path / "manifest.json").write_text(json.dumps({"graft": {"lineage": lineage}}))
    for source in (open_source(path), open_source(path / "policy" / "final")):
        assert source.ancestors == lineage
        comes_back(source, draw())
    shutil.copytree(path / "policy" / "final", tmp_path / "copy")
    source = open_source(tmp_path / "copy")
    assert (source.kind, source.config, source.ancestors, source.about["policy"]) == ("checkpoint", None, [], None)
    comes_back(source, draw())


def test_low_rank_adapters_are_refused_where_they_are_apart(tmp_path):
    path = kept_run(tmp_path / "run", draw())
    params = draw() | {"low_rank": {"torso": {"kernel": {"a": np.ones((64, 1)), "b": np.ones((1, 128))}}}}
    tree = {"state": {"agent_state": {"params": params}}, "best": draw()}
    checkpoint.write(RunFolder(path).checkpoint(4), tree, {"env_steps": 7, "progress": {"best_steps": 3}})
    with pytest.raises(ConfigError, match=r"low-rank.*best or final"):
        open_source(path, "latest")
    comes_back(open_source(path / "checkpoints" / "000000004", "best"), draw())


SWEEP = "seeds = 2\n[grid]\nagent.lr = [1e-3, 1e-4]\n[config]\nlog_points = 4\n"


def a_sweep(path: Path, ended: bool) -> tuple[Path, list[Any]]:
    """A sweep of four lanes, and their policies."""
    hold(from_text(SWEEP, "a sweep"), path).release()
    trees = [draw(seed) for seed in range(4)]
    stack = jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
    group, ledger = RunFolder(group_folder(path, 0)), Ledger.new(4, 2, {})
    if ended:
        about = {"env_steps": 9, "lanes": [0, 1, 2, 3], "env_steps_of_lanes": [9, 8, 7, 6]}
        checkpoint.write(group.policy("final"), stack, about, lanes=4)
        (group.path / DONE).write_text(json.dumps(ledger.to_json()))
        return path, trees
    ledger.seat_waiting()
    ledger.leave(0, "stopped")
    ledger.seat_waiting()  # lane 2 sits where lane 0 sat
    ledger.seats[2].points = 3
    mine = jax.tree.map(lambda leaf: leaf[[2, 1]], stack)
    tree = {"mine": {"agent_state": {"params": mine}}, "best": stack, "final": stack}
    about = {"env_steps": 9, "env_steps_each_point": 10, "env_steps_within": 5, "ledger": ledger.to_json()}
    checkpoint.write(group.checkpoint(4), tree, about)
    return path, trees


def test_a_lane(tmp_path):
    path, trees = a_sweep(tmp_path / "sweep", ended=True)
    for lane in (0, 3):
        source = open_source(path, lane=lane)
        comes_back(source, trees[lane])
        assert (source.kind, source.about["lane"], source.about["env_steps"]) == ("lane", lane, 9 - lane)
        assert source.config is not None
        assert source.config.seed == lane % 2
    digests = [open_source(path, lane=lane).leaves[KERNEL].digest for lane in range(4)]
    assert len(set(digests)) == 4
    flip(path, trees[1]["params"]["torso"]["kernel"])
    with pytest.raises(CheckpointError, match=KERNEL):
        open_source(path, lane=1).read([KERNEL, BIAS])
    assert same(open_source(path, lane=1).read([BIAS]), trees[1])


def test_a_lane_of_a_sweep_that_runs(tmp_path):
    path, trees = a_sweep(tmp_path / "sweep", ended=False)
    source = open_source(path, "latest", lane=2)
    comes_back(source, trees[2])
    assert source.about["env_steps"] == 3 * 10 + 5
    digest = source.leaves[KERNEL].digest
    assert digest is not None
    assert digest.endswith("[0]"), "the digest of the stack, and the row"
    comes_back(open_source(path, "latest", lane=0), trees[0])  # it was stopped, so that this is its final policy
    with pytest.raises(ConfigError, match=r"several lanes.*name the sweep"):
        open_source(path / "g0" / "checkpoints" / "000000004")


def handler(ocdbt: bool, zarr3: bool) -> Callable[[Path, Any], None]:
    def save(path: Path, tree: Any) -> None:
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=ocdbt, use_zarr3=zarr3)) as writer:
            writer.save(path, tree)

    return save


def standard(path: Path, tree: Any) -> None:
    with ocp.StandardCheckpointer() as writer:
        writer.save(path, tree)


def manager(path: Path, tree: Any) -> None:
    with ocp.CheckpointManager(path) as writer:
        writer.save(5, args=ocp.args.StandardSave(tree))


WRITERS = {
    "v1": (lambda path, tree: v1.save(str(path), tree), ["", "state"], "zarr3"),
    "standard": (standard, [""], "zarr"),
    "manager": (manager, ["", "5", "5/default"], "zarr"),
    **{
        f"pytree-{ocdbt=}-{zarr3=}": (handler(ocdbt, zarr3), [""], "zarr3" if zarr3 else "zarr")
        for ocdbt in (False, True)
        for zarr3 in (False, True)
    },
}


@pytest.mark.parametrize("writer", WRITERS)
def test_what_orbax_has_written(tmp_path, writer):
    save, folders, form = WRITERS[writer]
    tree = draw() | {"more": [np.arange(3.0), jnp.int32(-4)], "wide": np.asarray([0.1, 1e300])}
    save(tmp_path / "tree", tree | {"none": None, "empty": {}})
    for folder in folders:
        source = open_source(tmp_path / "tree" / folder)
        comes_back(source, tree)
        assert source.leaves["more/1"] == ((), "int32", 4, None)
        assert (source.kind, source.about["format"], source.config) == ("orbax", f"orbax {form}", None)


def test_what_is_no_array_in_a_tree_of_orbax(tmp_path):
    handler(True, False)(tmp_path / "tree", draw() | {"step": 3, "rate": 0.5, "name": "text"})
    source = open_source(tmp_path / "tree")
    assert source.leaves.keys() == {KERNEL, BIAS, "step", "rate"}
    found = source.read(["rate", "step"])
    assert {name: (array.shape, array.item()) for name, array in found.items()} == {"rate": ((), 0.5), "step": ((), 3)}
    handler(True, False)(tmp_path / "twins", {"a": {"b": np.ones(1)}, "a/b": np.zeros(1)})
    with pytest.raises(ConfigError, match="two leaves are named 'a/b'"):
        open_source(tmp_path / "twins")


def test_several_trees_of_orbax_are_listed(tmp_path):
    for name in ("params", "optimiser"):
        standard(tmp_path / "5" / name, draw())
    with pytest.raises(ConfigError, match=r"2 trees of Orbax.*optimiser, params"):
        open_source(tmp_path / "5")
    (tmp_path / "5" / "optimiser").rename(tmp_path / "5" / "optimiser.orbax-checkpoint-tmp")
    comes_back(open_source(tmp_path / "5"), draw())  # what was never finished is none


def test_damage_to_a_tree_of_orbax_is_named(tmp_path):
    handler(False, False)(tmp_path / "tree", draw())
    (tmp_path / "tree" / "params.torso.kernel" / "0.0").unlink()
    source = open_source(tmp_path / "tree")
    with pytest.raises(CheckpointError, match=f"'{KERNEL}' is damaged.*missing"):
        source.read([BIAS, KERNEL])
    assert same(source.read([BIAS]), draw())
    (tmp_path / "tree" / "_METADATA").write_text("{")
    with pytest.raises(CheckpointError, match="metadata"):
        open_source(tmp_path / "tree")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz(tmp_path, save):
    arrays = {KERNEL: draw()["params"]["torso"]["kernel"], "a.b": np.asfortranarray(np.arange(6.0).reshape(2, 3))}
    arrays |= {"big": np.arange(3, dtype=">i4"), "none": np.zeros((0, 2)), "scalar": np.float32(2)}
    save(tmp_path / "x.npz", **arrays, text=np.asarray("words"))
    source = open_source(tmp_path / "x.npz")
    assert source.leaves.keys() == arrays.keys()
    assert source.leaves["big"][:3] == ((3,), "int32", 12)
    found = source.read(list(arrays))
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found[name], array)
    assert (source.kind, source.about["format"]) == ("npz", "npz")


def test_damage_to_an_npz_is_named(tmp_path):
    path, kernel = tmp_path / "x.npz", draw()["params"]["torso"]["kernel"]
    np.savez(path, **{"k": kernel, "b": np.ones(3)})
    source = open_source(path)
    flip(path, kernel)
    with pytest.raises(CheckpointError, match=r"leaf 'k' is damaged.*CRC"):
        source.read(["b", "k"])
    np.testing.assert_array_equal(source.read(["b"])["b"], np.ones(3))
    np.savez(path, **{"k": kernel + 1, "b": np.ones(3)})
    with pytest.raises(CheckpointError, match=r"leaf 'k'.*another"):
        source.read(["k"])
    with zipfile.ZipFile(path) as archive:
        entry = archive.read("k.npy")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("k.npy", entry + b"more")
    with pytest.raises(CheckpointError, match=r"leaf 'k'.*more bytes"):
        open_source(path).read(["k"])
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"x\.npz: damaged"):
        open_source(path)


@pytest.mark.parametrize("array", [np.asarray([{}], object), np.ones(2, jnp.bfloat16)])
def test_an_npz_of_what_are_no_numbers_to_numpy(tmp_path, array):
    np.savez(tmp_path / "x.npz", odd=array)
    with pytest.raises(ConfigError, match="leaf 'odd' is of dtype"):
        open_source(tmp_path / "x.npz")


def test_a_safetensors(tmp_path):
    dtypes = "bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 float16 bfloat16 float32 float64 complex64"
    dtypes += " float8_e4m3fn float8_e5m2"
    arrays = {name: np.asarray([[0, 1, 2]]).astype(np.dtype(name)) for name in dtypes.split()}
    arrays |= {KERNEL: draw()["params"]["torso"]["kernel"], "scalar": np.asarray(2.5), "none": np.zeros((0, 3))}
    safetensors.numpy.save_file(arrays, tmp_path / "x.safetensors", metadata={"format": "np"})
    source = open_source(tmp_path / "x.safetensors")
    comes_back(source, arrays)
    assert source.leaves["bfloat16"] == ((1, 3), "bfloat16", 6, None)
    assert source.kind == "safetensors"


def a_safetensors(path: Path, header: bytes, data: bytes) -> Path:
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    return path


@pytest.mark.parametrize(
    ("header", "size", "error", "words"),
    [
        (b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}', 7, CheckpointError, "cut short: leaf 'a'"),
        (b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}', 9, CheckpointError, "1 bytes after"),
        (b'{"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}', 8, CheckpointError, r"'a' is F32\[3\] in 8"),
        (b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}', 12, CheckpointError, "'a' begins at"),
        (b'{"a": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}', 1, ConfigError, "'a' is of dtype F4"),
        (b'{"a": {"dtype": "F32", "shape": [2]}}', 8, CheckpointError, "'a' has no dtype"),
        (b'{"a": 1, "a": 2}', 8, CheckpointError, "twice"),
        (b"[]", 0, CheckpointError, "no JSON object"),
        (b"\xff", 0, CheckpointError, "header"),
    ],
)
def test_damage_to_a_safetensors_is_named(tmp_path, header, size, error, words):
    with pytest.raises(error, match=words):
        open_source(a_safetensors(tmp_path / "x.safetensors", header, bytes(size)))


def test_a_safetensors_cut_short_anywhere(tmp_path):
    path = tmp_path / "x.safetensors"
    safetensors.numpy.save_file({"a": np.arange(4.0), "b": np.ones(3, np.float32)}, path)
    source, whole = open_source(path), path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"x\.safetensors: cut short"):
            open_source(path)
    with pytest.raises(CheckpointError, match="leaf 'b' is damaged"):
        source.read(["b"])  # the last one; it was whole when it was opened


def test_damage_to_our_checkpoint_is_named(tmp_path):
    path = kept_run(tmp_path / "run", draw())
    flip(path, draw()["params"]["torso"]["kernel"])
    source = open_source(path)
    with pytest.raises(CheckpointError, match=f"leaf '{KERNEL}' is damaged"):
        source.read([BIAS, KERNEL])
    assert same(source.read([BIAS]), draw())
    checkpoint.write(path / "policy" / "final", draw(1), {"env_steps": 7})
    with pytest.raises(CheckpointError, match=f"leaf '{KERNEL}' is another"):
        source.read([KERNEL])
    with (path / "policy" / "final" / "about.json").open("a") as file:
        file.write(" ")
    with pytest.raises(CheckpointError, match=r"about\.json: damaged"):
        open_source(path)


def test_mistakes_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kept_run(Path("teacher-s0"), draw())
    a_sweep(Path("sweep"), ended=True)
    np.savez("x.npz", a=np.ones(1))
    Path("x.h5").touch()
    Path("empty").mkdir()
    Path("other/deep").mkdir(parents=True)
    for words, asked in {
        "teacher-so: no such file.*did you mean 'teacher-s0'": ("teacher-so",),
        "nowhere/x.npz: no such file.*expected a run": ("nowhere/x.npz",),
        "policy 'fnal'; did you mean 'final'.*expected one of final, best, latest": ("teacher-s0", "fnal"),
        "lane 1: teacher-s0 is no sweep": ("teacher-s0", "final", 1),
        "lane 1: x.npz is no sweep": ("x.npz", "final", 1),
        "sweep is a sweep; choose one of its lanes.*0 to 3": ("sweep",),
        "lane 4.*lanes 0 to 3": ("sweep", "final", 4),
        "policy 'best': x.npz is no run": ("x.npz", "best"),
        "policy 'best': .*holds one policy": ("teacher-s0/policy/final", "best"),
        "several lanes of a sweep": ("sweep/g0/policy/final",),
        "x.h5: its name ends in '.h5'; expected .npz or .safetensors": ("x.h5",),
        "empty is no source; expected a run.*there is nothing": ("empty",),
        "other is no source; expected a run.*there is deep": ("other",),
        "holds no checkpoint yet": ("teacher-s0", "latest"),
    }.items():
        with pytest.raises(ConfigError, match=words) as told:
            open_source(Path(asked[0]), *asked[1:])
        assert "\n" not in str(told.value)


def bytes_read() -> int:
    """By this process, from whatever it has read."""
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the system does not count what is read")
@pytest.mark.parametrize("kind", ["run", "orbax", "npz", "safetensors"])
def test_planning_reads_metadata_and_reading_what_is_wanted(tmp_path, kind):
    def write(path: Path, tree: dict[str, Any]) -> Path:
        if kind == "run":
            return kept_run(path, tree)
        if kind == "orbax":
            standard(path, tree)
            return path
        path = path.with_suffix(f".{kind}")
        np.savez(path, **tree) if kind == "npz" else safetensors.numpy.save_file(tree, path)
        return path

    random = np.random.default_rng(0)
    tree = {f"leaf{number:02d}": random.integers(0, 256, (1024, 1024), np.uint8) for number in range(20)}
    warm = open_source(write(tmp_path / "warm", {"leaf07": np.ones(3)}))
    warm.read(["leaf07"])  # imports are read too
    path = write(tmp_path / "large", tree)
    before = bytes_read()
    source = open_source(path)
    planned = bytes_read()
    found = source.read(["leaf07"])
    after = bytes_read()
    assert planned - before < 0.2 * MIB
    assert MIB <= after - planned < 1.1 * MIB
    assert same(found, tree)
