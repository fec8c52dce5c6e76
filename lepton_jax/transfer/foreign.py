"""Arrays by name in files that others have written: .npz, .safetensors, and checkpoints of Orbax.

Each is opened in two steps. The first reads metadata; the second reads the leaves that are wanted, and no others.
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.config import ConfigError
from lepton_jax.engine.integrity import CheckpointError
from lepton_jax.engine.quiet import first_line, quiet_orbax, told_once


class Leaf(NamedTuple):
    """An array, without its elements."""

    shape: tuple[int, ...]
    dtype: str  # as NumPy and JAX name it, such as float32 or bfloat16
    bytes: int
    # As the source states it, such as "crc32:1234abcd" or "sha256:ab..": of one lane in a stack that has one digest
    # only, that of the stack and the row, "sha256:ab..[3]". None where the source states none.
    digest: str | None


class Contents(NamedTuple):
    """What has been opened."""

    leaves: dict[str, Leaf]  # by name
    read: Callable[[Sequence[str]], dict[str, np.ndarray]]  # CheckpointError names the leaf that is damaged
    format: str


# https://github.com/huggingface/safetensors#format; little-endian. Packed types (4 and 6 bits) have no NumPy dtype.
_SAFETENSORS = {
    "BOOL": np.dtype(np.bool_),
    "BF16": np.dtype(jnp.bfloat16),
    "F8_E4M3": np.dtype(jnp.float8_e4m3fn),
    "F8_E5M2": np.dtype(jnp.float8_e5m2),
    "C64": np.dtype("<c8"),
    **{f"{sign}{8 * size}": np.dtype(f"<{sign.lower()}{size}") for sign in "IU" for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
}
_METADATA = "_METADATA"  # the file of Orbax that describes a tree
_UNFINISHED = ".orbax-checkpoint-tmp"
_LISTED = 8  # entries of a folder that an error names


def open_npz(path: Path) -> Contents:
    """Opens what ``numpy.savez`` has written; text is left out. The digests are those of the zip file.

    Raises:
      CheckpointError: damaged.
      ConfigError: an array is of Python objects, or of a dtype that is not a number.
    """
    leaves, files = {}, {}
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_twins(path, archive.namelist())
            for info in archive.infolist():
                if not info.filename.endswith(".npy"):
                    continue
                name = info.filename.removesuffix(".npy")
                with archive.open(info) as file:
                    shape, dtype = _npy_header(file)
                if dtype.kind in "OV":
                    raise ConfigError(
                        f"{path}: leaf '{name}' is of dtype {dtype}"
                        f"{' (Python objects)' if dtype.kind == 'O' else ''}; expected numbers: save it as such, "
                        "bfloat16 as float32"
                    )
                if dtype.kind in "biufc":
                    size = math.prod(shape) * dtype.itemsize
                    leaves[name] = Leaf(shape, dtype.name, size, f"crc32:{info.CRC:08x}")
                    files[name] = info.filename
    except ConfigError:
        raise
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise CheckpointError(f"{path}: damaged, or no .npz file: {first_line(error)}") from error

    def read_one(name: str) -> np.ndarray:
        with zipfile.ZipFile(path) as archive:
            if f"crc32:{archive.getinfo(files[name]).CRC:08x}" != leaves[name].digest:
                raise ValueError("its CRC is another than when it was opened")
            with archive.open(files[name]) as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
                if file.read(1):  # at the end of the entry zipfile compares the CRC
                    raise ValueError("more bytes than its header says")
        return array.astype(array.dtype.newbyteorder("="), copy=False)

    return Contents(leaves, lambda names: {name: _checked(path, name, leaves[name], read_one) for name in names}, "npz")


def open_safetensors(path: Path) -> Contents:
    """Opens a .safetensors file. It states no digests.

    Raises:
      CheckpointError: damaged: cut short, or its header does not agree with its length.
      ConfigError: an array is of a dtype that NumPy does not have.
    """
    begin, table = _safetensors_header(path)
    leaves, places = {}, {}
    for name, entry in table.items():
        try:
            code, shape, (start, end) = entry["dtype"], tuple(map(int, entry["shape"])), map(int, entry["data_offsets"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: damaged: leaf '{name}' has no dtype, shape and data_offsets") from error
        if code not in _SAFETENSORS:
            raise ConfigError(f"{path}: leaf '{name}' is of dtype {code}; expected one of {', '.join(_SAFETENSORS)}")
        size = math.prod(shape) * _SAFETENSORS[code].itemsize
        if min(shape, default=0) < 0 or end - start != size:
            raise CheckpointError(f"{path}: damaged: leaf '{name}' is {code}{list(shape)} in {end - start:,} bytes")
        leaves[name], places[name] = Leaf(shape, _SAFETENSORS[code].name, size, None), (code, begin + start)
    _refuse_gaps(path, begin, leaves, places)

    def read_one(name: str) -> np.ndarray:
        code, start = places[name]
        block = np.fromfile(path, np.uint8, leaves[name].bytes, offset=start)
        return block.view(_SAFETENSORS[code]).reshape(leaves[name].shape)

    read = lambda names: {name: _checked(path, name, leaves[name], read_one) for name in names}
    return Contents(leaves, read, "safetensors")


def open_orbax(path: Path) -> Contents:
    """Opens a tree of arrays that Orbax has written, with whichever of its interfaces and formats.

    Args:
      path: the folder of the tree, or one with exactly one such folder in it, such as a step of a CheckpointManager.

    Leaves that are not numbers are left out; numbers of Python are arrays of no axes. There are no digests.

    Raises:
      ConfigError: no such tree, or several; or two leaves have one name.
      CheckpointError: damaged.
    """
    import orbax.checkpoint as ocp  # costs a third of a second: only when something is read

    quiet_orbax()
    folder = _tree_folder(path).absolute()
    # The older interface: it opens the folders of items too, and gives arrays of NumPy, so that no float64 is narrowed.
    handler: Any = ocp.PyTreeCheckpointHandler()  # its annotations ask for a Path of another package; any will do
    try:
        described = told_once(lambda: handler.metadata(folder))
    except ValueError as error:
        raise CheckpointError(f"{folder}: damaged: Orbax cannot read its metadata: {error}") from error
    tree = described.tree
    every = jax.tree.leaves_with_path(tree)
    _refuse_twins(path, [_name(key) for key, _ in every])
    leaves = {_name(key): leaf for key, node in every if (leaf := _described(node)) is not None}

    def restore(names: Iterable[str]) -> dict[str, np.ndarray]:
        wanted = set(names)
        item = jax.tree.map_with_path(lambda key, _: 0 if _name(key) in wanted else ocp.PLACEHOLDER, tree)
        restore_args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        arrays = handler.restore(folder, args=ocp.args.PyTreeRestore(item=item, restore_args=restore_args))
        named = ((_name(key), array) for key, array in jax.tree.leaves_with_path(arrays))
        return {name: np.asarray(array) for name, array in named if name in wanted}

    def read(names: Sequence[str]) -> dict[str, np.ndarray]:
        try:
            arrays = told_once(lambda: restore(names))
            return {name: _checked(folder, name, leaves[name], arrays.__getitem__) for name in names}
        except ValueError:  # one by one, to find out which it is
            alone = lambda name: told_once(lambda: restore([name]))[name]
            return {name: _checked(folder, name, leaves[name], alone) for name in names}

    return Contents(leaves, read, f"orbax {'zarr3' if described.use_zarr3 else 'zarr'}")


def _checked(path: Path, name: str, leaf: Leaf, read_one: Callable[[str], np.ndarray]) -> np.ndarray:
    """A leaf, which must be as its metadata says."""
    try:
        array = read_one(name)
    except Exception as error:
        raise CheckpointError(f"{path}: leaf '{name}' is damaged or has changed: {first_line(error)}") from error
    if (array.shape, array.dtype.name) != (leaf.shape, leaf.dtype):
        raise CheckpointError(
            f"{path}: leaf '{name}' is damaged or has changed: it is {array.dtype}{list(array.shape)}; expected "
            f"{leaf.dtype}{list(leaf.shape)}"
        )
    return array


def _npy_header(file: Any) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of a .npy file (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html)."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array in version {version} of the .npy format; expected 1.0 or 2.0")
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    return shape, dtype


def _safetensors_header(path: Path) -> tuple[int, dict[str, Any]]:
    """Where the arrays begin, and what the header says of each."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = _length(file)
        if length is None or 8 + length > size:
            raise CheckpointError(f"{path}: cut short, or no .safetensors file: its header is not all there")
        try:
            table = json.loads(file.read(length).decode("utf-8"), object_pairs_hook=_pairs)
            if not isinstance(table, dict):
                raise ValueError("no JSON object")
        except ValueError as error:
            raise CheckpointError(f"{path}: damaged, or no .safetensors file: header: {first_line(error)}") from error
    table.pop("__metadata__", None)
    return 8 + length, table


def _length(file: BinaryIO) -> int | None:
    """Of the header; None where even that is cut short."""
    block = file.read(8)
    return int.from_bytes(block, "little") if len(block) == 8 else None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; ValueError if a name is there twice."""
    if len(made := dict(pairs)) < len(pairs):
        raise ValueError("a name is there twice")
    return made


def _refuse_gaps(path: Path, begin: int, leaves: Mapping[str, Leaf], places: Mapping[str, tuple[str, int]]) -> None:
    """The arrays must fill the file: one after the other, from the header to the end."""
    here, size = begin, path.stat().st_size
    for name in sorted(leaves, key=lambda name: (places[name][1], leaves[name].bytes)):
        start, end = places[name][1], places[name][1] + leaves[name].bytes
        if start != here:
            raise CheckpointError(f"{path}: damaged: leaf '{name}' begins at byte {start:,}; expected {here:,}")
        if end > size:
            raise CheckpointError(f"{path}: cut short: leaf '{name}' ends at byte {end:,}, and the file has {size:,}")
        here = end
    if here != size:
        raise CheckpointError(f"{path}: damaged: {size - here:,} bytes after its last leaf belong to none")


def _tree_folder(path: Path) -> Path:
    """The folder of the one tree in ``path``."""
    if (path / _METADATA).is_file():
        return path
    below = (file.parent for pattern in ("*", "*/*") for file in sorted(path.glob(f"{pattern}/{_METADATA}")))
    found = [folder for folder in below if _UNFINISHED not in str(folder.relative_to(path))]
    if len(found) == 1:
        return found[0]
    if found:
        names = _some([str(folder.relative_to(path)) for folder in found])
        raise ConfigError(f"{path} holds {len(found)} trees of Orbax; name one of them: {names}")
    there = _some(sorted(entry.name for entry in path.iterdir())) or "nothing"
    raise ConfigError(
        f"{path} is no source; expected a run, a sweep, a checkpoint or what Orbax has written (a folder with "
        f"{_METADATA}), and there is {there}"
    )


def _described(node: Any) -> Leaf | None:
    """A leaf from what Orbax says of it; None if it is not of numbers."""
    shape, dtype = getattr(node, "shape", None), getattr(node, "dtype", None)
    if shape is None or dtype is None:
        return None
    try:
        dtype = np.dtype(dtype)
    except TypeError:
        return None
    return Leaf(tuple(shape), dtype.name, math.prod(shape) * dtype.itemsize, None)


def _refuse_twins(path: Path, names: Sequence[str]) -> None:
    twins = [name for name, times in Counter(names).items() if times > 1]
    if twins:
        raise ConfigError(
            f"{path}: two leaves are named '{twins[0]}'; expected one; rename one of them (a '/' may be in a key)"
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _name(key: Any) -> str:
    return jax.tree_util.keystr(key, simple=True, separator="/")
