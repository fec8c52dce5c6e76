"""Trees of arrays on disk: the only module that writes through Orbax; transfer/foreign.py reads what others wrote.

A checkpoint is a sealed folder (``engine/integrity.py``): ``arrays/`` written by Orbax, ``about.json`` with a table of
the leaves, and text files that belong to it. Arrays are saved from the host, so that no device is named in them: what a
GPU has written opens on a CPU and the reverse.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.engine import integrity
from lepton_jax.engine.integrity import ABOUT, CheckpointError
from lepton_jax.engine.quiet import quiet_orbax

_FORMAT = 1
_ARRAYS = "arrays"


def to_host(tree: Any) -> Any:
    """Copies of all arrays in the host's memory; typed keys as their data. The originals may be donated afterwards."""
    return jax.tree.map(np.array, without_keys(tree))


def write(
    path: Path,
    tree: Any,
    about: Mapping[str, Any],
    texts: Mapping[str, str] | None = None,
    lanes: int = 0,
) -> None:
    """Writes a checkpoint. It appears at ``path``, in place of what was there, when it is complete, and not before.

    Args:
      path: a folder; its parents are made.
      tree: of arrays as ``to_host`` gives them.
      about: JSON to be kept with it.
      texts: other files, by name.
      lanes: if not 0, the length of a leading axis of every leaf; each lane then has a digest of its own.

    Raises:
      CheckpointError: it cannot be written; what was at ``path`` is still there.
    """
    from orbax.checkpoint import v1 as ocp  # costs a third of a second: only when something is saved

    quiet_orbax()
    made = path.with_name(f".writing-{path.name}")
    try:
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        integrity.reserve(made, sum(leaf.nbytes for leaf in jax.tree.leaves(tree)))
        leaves = {name: _entry(name, leaf, lanes) for name, leaf in names(tree).items()}
        ocp.save(str((made / _ARRAYS).absolute()), tree)
        about = {"format": _FORMAT, **about, "leaves": leaves}
        for name, text in {**(texts or {}), ABOUT: json.dumps(about, indent=1) + "\n"}.items():
            (made / name).write_text(text, encoding="utf-8")
        integrity.seal(made)
        integrity.publish(made, path)
    except Exception as error:  # Orbax and TensorStore raise what they like
        shutil.rmtree(made, ignore_errors=True)
        raise CheckpointError(f"{path}: cannot be written: {_reason(error)}") from error


def read(path: Path, like: Any, shardings: Any = None) -> tuple[Any, dict[str, Any]]:
    """Reads a whole checkpoint after comparing every byte with its sum.

    Args:
      path: the checkpoint.
      like: a tree of arrays or shapes that the checkpoint must hold, leaf by leaf; nothing is cast or reshaped.
      shardings: a tree like it; by default everything goes to the default device.

    Returns:
      The arrays, with typed keys where ``like`` has them, and the JSON kept with them.

    Raises:
      CheckpointError: damaged, or a leaf is missing, unexpected or of another shape or dtype.
    """
    from orbax.checkpoint import v1 as ocp

    about = describe(path)
    integrity.verify(path)
    plain = raw_shapes(like)
    check_leaves(path, about, names(plain))
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    template = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        plain,
        shardings or jax.tree.map(lambda _: here, plain),
    )
    try:
        arrays = ocp.load(str((path / _ARRAYS).absolute()), template)
    except Exception as error:
        raise CheckpointError(f"{path}: Orbax cannot read it: {_reason(error)}") from error
    return with_keys(like, arrays), about


def raw_shapes(tree: Any) -> Any:
    """The shapes of what ``to_host`` gives of a tree of arrays."""
    return jax.eval_shape(without_keys, tree)


def with_keys(like: Any, tree: Any) -> Any:
    """``tree``, in which keys are as ``to_host`` leaves them, with typed keys where ``like`` has them."""
    wrap = lambda leaf, array: jax.random.wrap_key_data(array, impl="threefry2x32") if _is_key(leaf) else array
    return jax.tree.map(wrap, like, tree)


def read_leaves(path: Path, wanted: Sequence[str], lane: int | None = None) -> dict[str, np.ndarray]:
    """Reads some leaves, or one lane of them, and compares those alone with their digests.

    Args:
      path: the checkpoint.
      wanted: names as in the table of leaves, such as ``state/agent_state/params/params/Dense_0/kernel``.
      lane: of a checkpoint written with lanes; None for the whole leaf.

    Raises:
      CheckpointError: there is no such leaf or lane, or what was read is not what was written; names the leaf.
    """
    table = describe(path)["leaves"]
    found: dict[str, np.ndarray] = {}
    for name in wanted:
        if name not in table:
            raise CheckpointError(f"{path}: has no leaf '{name}'; python -m lepton_jax.inspect {path} lists them")
        digest = table[name]["sha256"]
        lanes = len(digest) if isinstance(digest, list) else 0
        if (lane is None) != (lanes == 0) or (lane is not None and not 0 <= lane < lanes):
            raise CheckpointError(f"{path}: leaf '{name}' has {lanes or 'no'} lanes; lane {lane} was asked for")
        try:
            array = _open(path, name)
            found[name] = np.asarray(array.read().result() if lane is None else array[lane].read().result())
        except Exception as error:
            raise CheckpointError(f"{path}: leaf '{name}' is damaged: {_reason(error)}") from error
        if _digest(found[name]) != (digest if lane is None else digest[lane]):
            raise CheckpointError(f"{path}: leaf '{name}' is damaged: its sha256 is not the one written in {ABOUT}")
    return found


def read_part(path: Path, like: Any, places: Any, row: int | None = None) -> tuple[Any, dict[str, Any]]:
    """Reads a tree that is part of a checkpoint, and compares those leaves alone with their digests.

    Args:
      path: the checkpoint.
      like: a tree of arrays or shapes.
      places: the same tree of the names that its leaves have in the checkpoint; see ``places``.
      row: of leaves that are stacked there, with one more leading axis. Of a checkpoint written with lanes it is read
        alone.

    Raises:
      CheckpointError: a leaf is missing, damaged or of another shape or dtype.
    """
    about = describe(path)
    wanted = dict(zip(jax.tree.leaves(places), jax.tree.leaves(like), strict=True))
    there = {name: about["leaves"][name] for name in wanted if name in about["leaves"]}
    if row is not None:
        there = {name: leaf | {"shape": leaf["shape"][1:]} for name, leaf in there.items()}
    check_leaves(path, {"leaves": there}, wanted)
    by_lane = row is not None and all(isinstance(leaf["sha256"], list) for leaf in there.values())
    arrays = read_leaves(path, list(wanted), row if by_lane else None)
    if row is not None and not by_lane:
        arrays = {name: array[row] for name, array in arrays.items()}
    return jax.tree.map(arrays.__getitem__, places), about


def places(tree: Any, within: str) -> Any:
    """The tree of its leaves' names in a checkpoint that holds it at the path ``within``, "" for the root."""
    return jax.tree_util.tree_map_with_path(lambda key, _: f"{within}/{_name(key)}".lstrip("/"), tree)


def describe(path: Path) -> dict[str, Any]:
    """The JSON kept with a checkpoint and its table of leaves, without reading arrays.

    Raises:
      CheckpointError: no checkpoint, damaged, or of a format this version cannot read.
    """
    about = integrity.describe(path)
    if about.get("format") != _FORMAT:
        raise CheckpointError(
            f"{path}: is of format {about.get('format')}, and this lepton_jax reads format {_FORMAT}; use the "
            "lepton_jax that wrote it"
        )
    return about


def check_leaves(path: Path, about: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Compares the table of leaves with arrays or shapes by name.

    Raises:
      CheckpointError: a leaf is missing, unexpected or of another shape or dtype.
    """
    stored = about["leaves"]
    for name in sorted(stored.keys() | wanted.keys()):
        if name not in stored:
            raise CheckpointError(f"{path}: has no leaf '{name}'; made with other settings?")
        if name not in wanted:
            raise CheckpointError(f"{path}: has a leaf '{name}' that is not known here; made with other settings?")
        found, needed = (
            f"{leaf['dtype']}{leaf['shape']}"
            for leaf in (stored[name], {"dtype": wanted[name].dtype, "shape": list(wanted[name].shape)})
        )
        if found != needed:
            raise CheckpointError(
                f"{path}: leaf '{name}' is {found} where {needed} is needed; made with a net or levels of another size?"
            )


def names(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by their paths."""
    return {_name(path): leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def _entry(name: str, leaf: np.ndarray, lanes: int) -> dict[str, Any]:
    if leaf.size == 0:
        raise ValueError(f"leaf '{name}' of shape {leaf.shape} has no elements, and Orbax keeps no such array")
    if lanes and leaf.shape[:1] != (lanes,):
        raise ValueError(f"leaf '{name}' of shape {leaf.shape} has no leading axis of {lanes} lanes")
    digest = [_digest(lane) for lane in leaf] if lanes else _digest(leaf)
    return {"shape": list(leaf.shape), "dtype": str(leaf.dtype), "bytes": leaf.nbytes, "sha256": digest}


def _digest(block: np.ndarray) -> str:
    """The sha256 of an array's dtype, shape and elements in C order."""
    about = f"{block.dtype} {list(block.shape)}".encode()
    data = np.ascontiguousarray(block).reshape(-1).view(np.uint8)
    return hashlib.sha256(about + b"\n" + data.data).hexdigest()


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def without_keys(tree: Any) -> Any:
    """``tree`` with typed keys as their data."""
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, tree)


def _open(path: Path, name: str) -> Any:
    """One leaf as Orbax has laid it down. Read through TensorStore: Orbax would open every leaf to read one."""
    import tensorstore

    base = {"driver": "file", "path": f"{(path / _ARRAYS / 'state').absolute()}/"}
    where = {"driver": "ocdbt", "base": base, "path": f"{name.replace('/', '.')}/"}
    return tensorstore.open({"driver": "zarr3", "kvstore": where}, read=True).result()


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _reason(error: Exception) -> str:
    """An error in words a person can use; TensorStore hides those of the system in a page of its own."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).strip()
    common = map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO))
    return next((words for words in common if words in text), (text.splitlines() or [type(error).__name__])[0][:300])
