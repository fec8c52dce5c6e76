"""Where pretrained parameters come from: a run, a lane of a sweep, one checkpoint, or a file that others have written.

A source is opened for planning, which reads metadata only; what the plan names is read later, and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from lepton_jax.agents.training import LOW_RANK
from lepton_jax.config import Config, ConfigError
from lepton_jax.engine import checkpoint, integrity
from lepton_jax.engine.folder import RunFolder, read_text
from lepton_jax.engine.integrity import CheckpointError
from lepton_jax.engine.policies import Place, find_policy, read_run
from lepton_jax.scale.pick import find_lane_policy, is_sweep, pick
from lepton_jax.settings import nearest
from lepton_jax.transfer.foreign import Contents, Leaf, open_npz, open_orbax, open_safetensors

POLICIES = ("final", "best", "latest")
_FILES = {".npz": open_npz, ".safetensors": open_safetensors}
_CURRENT = "state/agent_state"  # of the policy that a training checkpoint goes on with


class Kept(NamedTuple):
    """What a training checkpoint holds of one run: the optimiser, the replay memory, the clock."""

    leaves: dict[str, Leaf]  # by their names in the checkpoint, such as "state/ring/action"
    read: Callable[[Sequence[str]], dict[str, np.ndarray]]  # as Source.read, by these names


class Source(NamedTuple):
    """Parameters that lie somewhere, not read yet."""

    path: Path  # as asked for
    kind: str  # run, lane, checkpoint, orbax, npz, safetensors
    # By name, such as "params/torso/Dense_0/kernel": of a run those of its policy's tree, wherever that is kept.
    leaves: dict[str, Leaf]
    # Reads the leaves of these names, and those alone; CheckpointError names one that is damaged or has changed.
    read: Callable[[Sequence[str]], dict[str, np.ndarray]]
    # JSON: path (absolute), kind, format, policy, lane, env_steps, iteration; None where it is not known.
    about: dict[str, Any]
    config: Config | None  # settings of the run it comes from, where that is known
    ancestors: list[dict[str, Any]]  # what that run itself was grafted from, newest first
    kept: Kept | None = None  # of a training checkpoint of a run: what lies beside the parameters


def open_source(path: Path, policy: str = "final", lane: int | None = None) -> Source:
    """Opens a source. Reads metadata only.

    Args:
      path: the folder of a run, a sweep, one of their checkpoints, or a tree of Orbax; a .npz or .safetensors file.
      policy: one of POLICIES, of a run or a lane. Of a training checkpoint "best" is the best until then, and each of
        the others that of the moment.
      lane: of a sweep.

    Raises:
      ConfigError: there is no such source; or a policy or lane is asked for where there is none.
      CheckpointError: it is damaged.
    """
    if policy not in POLICIES:
        raise ConfigError(f"policy '{policy}'{nearest(policy, POLICIES)}; expected one of {', '.join(POLICIES)}")
    if not path.exists():
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ConfigError(
            f"{path}: no such file or folder; expected a run, a sweep, a checkpoint, a tree of Orbax, a .npz or a "
            f".safetensors file{nearest(path.name, beside, str(path).removesuffix(path.name))}"
        )
    if is_sweep(path):
        picked = pick(path, lane)
        place = find_lane_policy(picked, policy, whole=False)
        return _ours(path, "lane", place, (policy, lane), picked.config, path)
    if lane is not None:
        raise ConfigError(f"lane {lane}: {path} is no sweep; leave lane away")
    if (path / "config.toml").is_file():
        return _ours(
            path, "run", find_policy(RunFolder(path), policy, whole=False), (policy, None), read_run(path), path
        )
    if (path / integrity.ABOUT).is_file() or (path / integrity.SUMS).is_file():
        return _checkpoint(path, policy)
    if policy != "final":
        raise ConfigError(f"policy '{policy}': {path} is no run; leave policy away")
    return _foreign(path)


def _foreign(path: Path) -> Source:
    if path.is_dir():
        kind, contents = "orbax", open_orbax(path)
    elif path.suffix in _FILES:
        kind, contents = path.suffix[1:], _FILES[path.suffix](path)
    else:
        raise ConfigError(
            f"{path}: its name ends in '{path.suffix}'; expected {' or '.join(_FILES)}, or a folder"
            f"{nearest(path.suffix, _FILES)}"
        )
    return _source(path, kind, contents, {}, None, [])


def _checkpoint(path: Path, policy: str) -> Source:
    """A checkpoint by itself; of the run around it, if it lies in one, come the settings."""
    about = checkpoint.describe(path)
    if any(isinstance(leaf["sha256"], list) for leaf in about["leaves"].values()) or "ledger" in about:
        raise ConfigError(f"{path} is of several lanes of a sweep; name the sweep's folder, and one lane")
    run = path.absolute().parent.parent
    config = read_run(run) if (run / "config.toml").is_file() else None
    if any(name.startswith(f"{_CURRENT}/") for name in about["leaves"]):
        whose, place = ("best", Place(path, "best")) if policy == "best" else ("latest", Place(path, _CURRENT))
        return _ours(path, "checkpoint", place, (whose, None), config, run)
    if policy != "final":
        raise ConfigError(f"policy '{policy}': {path} holds one policy; leave policy away, or name the run's folder")
    whose = path.name if path.parent.name == "policy" else None
    return _ours(path, "checkpoint", Place(path), (whose, None), config, run)


def _ours(
    path: Path, kind: str, place: Place, whose: tuple[str | None, int | None], config: Config | None, run: Path
) -> Source:
    """A policy in one of our checkpoints. ``whose``: policy, lane; ``run``: the folder with the manifest."""
    about = checkpoint.describe(place.path)
    within = f"{place.within}/params" if place.within.endswith("agent_state") else place.within
    prefix = f"{within}/" if within else ""
    table = {name.removeprefix(prefix): entry for name, entry in about["leaves"].items() if name.startswith(prefix)}
    if not table:
        raise CheckpointError(f"{place.path}: has no leaf of a policy, such as '{prefix}params/..'")
    if any(name.startswith(f"{LOW_RANK}/") for name in table):
        raise ConfigError(
            f"{place.path}: this run trains low-rank adapters, which its checkpoints keep apart from the weights; use "
            "policy best or final, where they are added up"
        )
    leaves = {name: _leaf(entry, place.row) for name, entry in table.items()}

    def read_there(names: Sequence[str]) -> dict[str, np.ndarray]:
        now = checkpoint.describe(place.path)["leaves"]
        for name in names:
            if now.get(name) != about["leaves"][name]:
                raise CheckpointError(f"{place.path}: leaf '{name}' is another than when it was opened; start again")
        entries = {name: _leaf(about["leaves"][name], place.row) for name in names}
        like = {name: jax.ShapeDtypeStruct(leaf.shape, np.dtype(leaf.dtype)) for name, leaf in entries.items()}
        return checkpoint.read_part(place.path, like, {name: name for name in names}, place.row)[0]

    def read(names: Sequence[str]) -> dict[str, np.ndarray]:
        found = read_there([prefix + name for name in names])
        return {name: found[prefix + name] for name in names}

    steps = place.env_steps
    if steps is None:
        steps = about["progress"]["best_steps"] if place.within == "best" else about.get("env_steps")
    facts = {"policy": whose[0], "lane": whose[1], "env_steps": steps}
    if place.within.endswith("agent_state"):
        facts["iteration"] = about.get("iteration")
    contents, kept = Contents(leaves, read, f"lepton_jax {about['format']}"), None
    if place.within == _CURRENT:
        kept = Kept({name: _leaf(entry, None) for name, entry in about["leaves"].items()}, read_there)
    return _source(path, kind, contents, facts, config, _ancestors(run, about))._replace(kept=kept)


def _source(
    path: Path,
    kind: str,
    contents: Contents,
    facts: Mapping[str, Any],
    config: Config | None,
    ancestors: list[dict[str, Any]],
) -> Source:
    about = {"path": str(path.absolute()), "kind": kind, "format": contents.format}
    about |= dict.fromkeys(("policy", "lane", "env_steps", "iteration")) | dict(facts)
    return Source(path, kind, contents.leaves, contents.read, about, config, ancestors)


def _leaf(entry: Mapping[str, Any], row: int | None) -> Leaf:
    """From the table of leaves of one of our checkpoints."""
    shape, digest, size = tuple(entry["shape"]), entry["sha256"], entry["bytes"]
    if row is None:
        return Leaf(shape, entry["dtype"], size, f"sha256:{digest}")
    stated = f"sha256:{digest[row]}" if isinstance(digest, list) else f"sha256:{digest}[{row}]"
    return Leaf(shape[1:], entry["dtype"], size // shape[0], stated)


def _ancestors(run: Path, about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The lineage of the graft that a run began from: a training checkpoint says it as well as the manifest."""
    graft, file = about.get("graft"), run / "manifest.json"
    try:
        if graft is None and file.is_file():
            graft = json.loads(read_text(file, "the manifest of a run")).get("graft")
        return [{**one, "path": str(one["path"])} for one in graft["lineage"]] if graft else []
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f"{file}: is no JSON of a manifest; restore it, or name the checkpoint alone") from error
