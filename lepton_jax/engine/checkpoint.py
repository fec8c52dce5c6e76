"""Parameters on disk: the only module that calls Orbax."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax


class CheckpointError(ValueError):
    """A checkpoint that cannot be read; the message names it and says what was expected."""


def save_policy(path: Path, policy: Any, about: dict[str, Any]) -> None:
    """Writes a tree of arrays to the new folder ``path``. ``about`` is JSON kept beside it."""
    from orbax.checkpoint import v1 as ocp  # costs a third of a second: only when something is saved

    ocp.save(str(path.absolute()), policy, custom_metadata=about)


def load_policy(path: Path, like: Any) -> tuple[Any, dict[str, Any]]:
    """Reads what ``save_policy`` wrote.

    Args:
      path: folder of the policy.
      like: a tree of arrays or shapes that the policy must have, leaf by leaf; nothing is cast or reshaped.

    Returns:
      The policy on the default device, and ``about``.

    Raises:
      CheckpointError: no checkpoint there, or a leaf is missing, unexpected or of another shape or dtype.
    """
    from orbax.checkpoint import v1 as ocp

    path = path.absolute()
    if not path.is_dir() or not ocp.is_orbax_checkpoint(str(path)):
        raise CheckpointError(
            f"{path} is no checkpoint; expected a folder that a run has written, such as RUN/policy/best"
        )
    found = ocp.metadata(str(path))
    names = lambda tree: {
        jax.tree_util.keystr(key, simple=True, separator="/"): leaf for key, leaf in jax.tree.leaves_with_path(tree)
    }
    stored, wanted = names(found.metadata), names(like)
    for name in sorted(stored.keys() | wanted.keys()):
        if name not in stored:
            raise CheckpointError(f"{path}: has no leaf '{name}', which the network needs")
        if name not in wanted:
            raise CheckpointError(
                f"{path}: has a leaf '{name}' that the network lacks; was it trained with another net?"
            )
        if (stored[name].shape, stored[name].dtype) != (wanted[name].shape, wanted[name].dtype):
            raise CheckpointError(
                f"{path}: leaf '{name}' is {stored[name].dtype}{list(stored[name].shape)} where the network takes "
                f"{wanted[name].dtype}{list(wanted[name].shape)}; levels or net of another size?"
            )
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    template = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), like)
    about: Any = found.custom_metadata or {}
    return ocp.load(str(path), template), about
