"""Trees on disk: what is read is what was written, or an error that names the leaf."""

import json
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from lepton_jax.engine import checkpoint, integrity
from lepton_jax.engine.checkpoint import CheckpointError
from lepton_jax.engine.shard import make_mesh


class Pair(NamedTuple):
    left: object
    right: object


def some_tree(seed: int = 0):
    """Every kind of node and dtype that a state may hold."""
    draw = np.random.default_rng(seed)
    params = {
        "torso": {
            "kernel": jnp.asarray(draw.normal(size=(3, 5)), jnp.float32),
            "a.b": jnp.arange(3, dtype=jnp.bfloat16),
        }
    }
    ring = (
        jnp.asarray(draw.integers(0, 256, 7), jnp.uint8),
        jnp.asarray([True, False]),
        jnp.arange(4, dtype=jnp.uint16),
    )
    return {
        "state": Pair(params, (ring, optax.adam(1e-3).init(params), ())),
        "key": jax.random.key(7 + seed),
        "clock": jnp.int32(-5),
        "words": jnp.asarray([2**32 - 1, 1], jnp.uint32),
        "odd": jnp.asarray([np.nan, np.inf, -0.0], jnp.float32),
    }


def save(path: Path, tree=None, **more) -> Path:
    checkpoint.write(path, checkpoint.to_host(some_tree() if tree is None else tree), {"env_steps": 3}, **more)
    return path


def same_bits(a, b) -> bool:
    a, b = (jax.tree.leaves(checkpoint.to_host(tree)) for tree in (a, b))
    return len(a) == len(b) and all(
        x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True)
    )


def test_all_dtypes_and_nodes_come_back_bit_for_bit(tmp_path):
    path = save(tmp_path / "one", texts={"metrics.jsonl": "{}\n"})
    tree, about = checkpoint.read(path, jax.eval_shape(some_tree))
    assert same_bits(tree, some_tree())
    assert jax.tree.structure(tree) == jax.tree.structure(some_tree())
    assert tree["key"].dtype == jax.random.key(0).dtype
    assert about["env_steps"] == 3
    assert (path / "metrics.jsonl").read_text() == "{}\n"
    assert not same_bits(tree, some_tree(1)), "the comparison can fail"


def test_the_table_of_leaves(tmp_path):
    leaves = checkpoint.describe(save(tmp_path / "one"))["leaves"]
    assert leaves["state/left/torso/kernel"]["shape"] == [3, 5]
    assert leaves["state/left/torso/kernel"]["dtype"] == "float32"
    assert leaves["state/left/torso/kernel"]["bytes"] == 60
    assert leaves["key"] | {"sha256": ""} == {"shape": [2], "dtype": "uint32", "bytes": 8, "sha256": ""}
    assert len(leaves) == len(jax.tree.leaves(some_tree()))
    digests = [leaf["sha256"] for leaf in leaves.values()]
    # Adam's two moments are equal zeros; everything else differs.
    assert len(set(digests)) == len(digests) - 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tree: tree | {"clock": jnp.float32(0)}, ["'clock'", "int32[]", "float32[]"]),
        (lambda tree: tree | {"words": jnp.zeros(3, jnp.uint32)}, ["'words'", "uint32[2]", "uint32[3]"]),
        (lambda tree: tree | {"more": jnp.zeros(1)}, ["no leaf 'more'"]),
        (lambda tree: {name: leaf for name, leaf in tree.items() if name != "odd"}, ["a leaf 'odd'"]),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path, change, words):
    path = save(tmp_path / "one")
    with pytest.raises(CheckpointError) as told:
        checkpoint.read(path, change(some_tree()))
    for word in words:
        assert word in str(told.value)


def test_a_full_read_compares_every_file(tmp_path):
    path = save(tmp_path / "one")
    (path / "arrays" / "stranger").touch()
    with pytest.raises(CheckpointError, match="stranger"):
        checkpoint.read(path, some_tree())


def test_some_leaves_are_read_alone(tmp_path):
    path = save(tmp_path / "one")
    found = checkpoint.read_leaves(path, ["state/left/torso/a.b", "odd"])
    assert same_bits(found, {"state/left/torso/a.b": jnp.arange(3, dtype=jnp.bfloat16), "odd": some_tree()["odd"]})
    with pytest.raises(CheckpointError, match="has no leaf 'old'"):
        checkpoint.read_leaves(path, ["odd", "old"])
    tree, _ = checkpoint.read_part(
        path, some_tree()["state"].left, checkpoint.places(some_tree()["state"].left, "state/left")
    )
    assert same_bits(tree, some_tree()["state"].left)
    with pytest.raises(CheckpointError, match="'clock' is int32"):
        checkpoint.read_part(path, jnp.zeros(2), "clock")


def rewritten(path: Path, **changes) -> None:
    """Other contents of about.json, with sums that agree: damage that only the digests of leaves can tell."""
    about = json.loads((path / "about.json").read_text())
    for name, change in changes.items():
        about[name] = change(about[name])
    (path / "about.json").write_text(json.dumps(about))
    integrity.seal(path)


def test_a_leaf_is_compared_with_its_own_digest(tmp_path):
    path = save(tmp_path / "one")
    rewritten(path, leaves=lambda leaves: leaves | {"odd": leaves["odd"] | {"sha256": leaves["words"]["sha256"]}})
    checkpoint.read_leaves(path, ["words"])
    with pytest.raises(CheckpointError, match="leaf 'odd' is damaged"):
        checkpoint.read_leaves(path, ["words", "odd"])


def test_lanes_have_digests_of_their_own(tmp_path):
    stacked = {"w": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.arange(3, dtype=np.int32)}
    checkpoint.write(tmp_path / "lanes", stacked, {}, lanes=3)
    path = tmp_path / "lanes"
    for lane in range(3):
        found = checkpoint.read_leaves(path, ["w", "b"], lane=lane)
        np.testing.assert_array_equal(found["w"], stacked["w"][lane])
        np.testing.assert_array_equal(found["b"], stacked["b"][lane])
    swapped = lambda leaves: leaves | {"w": leaves["w"] | {"sha256": leaves["w"]["sha256"][::-1]}}
    rewritten(path, leaves=swapped)
    checkpoint.read_leaves(path, ["w"], lane=1)
    with pytest.raises(CheckpointError, match="leaf 'w' is damaged"):
        checkpoint.read_leaves(path, ["w"], lane=0)
    for lane in (3, -1, None):
        with pytest.raises(CheckpointError, match="has 3 lanes"):
            checkpoint.read_leaves(path, ["b"], lane=lane)
    with pytest.raises(CheckpointError, match="no leading axis of 2 lanes"):
        checkpoint.write(tmp_path / "not", stacked, {}, lanes=2)


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = save(tmp_path / "one")
    before = (path / "SHA256SUMS").read_bytes()
    with pytest.raises(CheckpointError, match="one: cannot be written: leaf 'none' of shape"):
        checkpoint.write(path, {"none": np.zeros((0, 3))}, {})
    with pytest.raises(CheckpointError, match="one: cannot be written: No such file"):
        save(path, texts={"after/the/arrays": ""})
    integrity.verify(path)
    assert (path / "SHA256SUMS").read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["one"]
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="file/two: cannot be written: Not a directory"):
        save(tmp_path / "file" / "two")


def test_formats_of_other_versions_are_refused(tmp_path):
    path = save(tmp_path / "one")
    rewritten(path, format=lambda _: 99)
    with pytest.raises(CheckpointError, match="of format 99, and this lepton_jax reads format 1"):
        checkpoint.read(path, some_tree())


def test_no_device_is_named_so_that_any_device_can_read(tmp_path):
    """Saved from two devices, read onto one, onto two, and spread in another way."""
    mesh = make_mesh(2)
    spread, whole = NamedSharding(mesh, PartitionSpec("shard")), NamedSharding(mesh, PartitionSpec())
    tree = {
        "own": jax.device_put(jnp.arange(6.0).reshape(2, 3), spread),
        "shared": jax.device_put(jnp.arange(2.0), whole),
    }
    path = save(tmp_path / "two", tree)
    for file in path.rglob("*"):
        assert file.name != "_sharding"
        assert not file.is_file() or b"cpu" not in file.read_bytes().lower(), file
    here = jax.sharding.SingleDeviceSharding(jax.devices()[1])
    for shardings in (None, {"own": here, "shared": here}, {"own": whole, "shared": spread}):
        found, _ = checkpoint.read(path, jax.eval_shape(lambda: tree), shardings)
        assert same_bits(found, tree)
        for name, sharding in (shardings or {}).items():
            assert found[name].sharding == sharding
