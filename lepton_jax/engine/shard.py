"""One run over several devices: each keeps its share of the environments and of the ring; gradients are averaged.

On a CPU the devices are cores. XLA splits one small matrix product badly over cores; two halves of the batch on two
virtual devices, with a single average an update, run nearly twice as fast. Environments too few to be shared out are
the same on all devices, and so is the ring; each then learns from batches of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.sharding import PartitionSpec

from lepton_jax.config import Config, ConfigError
from lepton_jax.engine import native
from lepton_jax.engine.installation import usable_cores

AXIS = "shard"
OWN, SHARED = PartitionSpec(AXIS), PartitionSpec()
# A smaller share of a batch than this is not worth a device: where they meet by way of XLA, and where they do not.
_SMALLEST_SHARE, _SMALLEST_NATIVE = 128, 32


def prepare_devices(wanted: int) -> None:
    """Asks jax for so many CPU devices; without effect once jax has started, or with a GPU."""
    try:
        if jax.config.values["jax_num_cpu_devices"] < wanted:
            jax.config.update("jax_num_cpu_devices", wanted)
    except RuntimeError:
        pass  # jax has started; one takes what there is


def wanted_devices(config: Config) -> int:
    """CPU devices that one run wants."""
    return config.shards or _automatic(
        config, usable_cores(), _SMALLEST_SHARE if native.trouble() else _SMALLEST_NATIVE
    )


def count_shards(config: Config) -> int:
    """Devices the run is spread over: ``config.shards``, or what fits the devices and the sizes.

    Raises:
      ConfigError: there are not as many devices as were asked for.
    """
    there = jax.local_device_count()
    if config.shards > there:
        raise ConfigError(f"shards = {config.shards}, but jax has {there} devices; use --shards {there} or fewer")
    return config.shards or _automatic(config, there, _SMALLEST_NATIVE if _meets_natively() else _SMALLEST_SHARE)


def count_parts(config: Config, shards: int) -> int:
    """How many parts the environments are divided into: one a device, or 1, where they are the same on all."""
    return shards if config.env.num_envs % shards == 0 else 1


def _automatic(config: Config, devices: int, smallest: int) -> int:
    shards = 1
    while 2 * shards <= devices and _pays(config, 2 * shards, smallest):
        shards *= 2
    return shards


def _pays(config: Config, shards: int, smallest: int) -> bool:
    """Whether batches can be shared out, and each share of one has at least ``smallest`` transitions."""
    envs, recurrent = config.env.num_envs, config.net.memory != "none"
    if config.agent.kind == "pqn":  # its batches are what the environments have played
        parts, transitions = config.agent.minibatches, envs * config.replay.collect
        whole = (envs if recurrent else transitions) % (shards * parts) == 0 and envs % shards == 0
    else:
        parts, transitions = 1, config.replay.batch_size
        whole = transitions % (shards * (config.replay.sequence if recurrent else 1)) == 0
    return whole and transitions // (shards * parts) >= smallest


def _meets_natively() -> bool:
    return jax.default_backend() == "cpu" and not native.trouble()


def number(shards: int) -> jax.Array | int:
    """Which shard this is, from 0 on."""
    return 0 if shards == 1 else jax.lax.axis_index(AXIS)


def average(tree: Any, shards: int) -> Any:
    """The mean of a gradient over all shards. Of two in one program one has to follow from the other."""
    if shards == 1:
        return tree
    single = all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(tree))
    if single and shards <= native.MOST_DEVICES and _meets_natively():
        return native.mean(tree, AXIS)
    return _mean(tree)


def _mean(tree: Any) -> Any:
    """By one all-reduce of XLA's: each costs tens of microseconds on a CPU."""
    flat, restore = ravel_pytree(tree)
    return restore(jax.lax.pmean(flat, AXIS))


def lowest(value: jax.Array, shards: int) -> jax.Array:
    """The smallest ``value`` of all shards."""
    return value if shards == 1 else jax.lax.pmin(value, AXIS)


def spread(function: Callable[..., Any], shards: int, inputs: Any, outputs: Any) -> Callable[..., Any]:
    """Runs ``function`` once a shard.

    Args:
      function: takes and returns the arrays of one shard.
      shards: how many.
      inputs, outputs: trees of ``OWN`` and ``SHARED`` that prefix the arguments and the result. An OWN leaf has one
        more leading axis outside, the shard's; a SHARED one is the same on all of them.

    Returns:
      A function of whole arrays; ``function`` itself where there is one shard.
    """
    if shards == 1:
        return function
    strip = lambda spec, tree: jax.tree.map(lambda leaf: leaf[0], tree) if spec == OWN else tree
    wrap = lambda spec, tree: jax.tree.map(lambda leaf: leaf[None], tree) if spec == OWN else tree
    is_spec = lambda node: isinstance(node, PartitionSpec)
    each = lambda change, specs, trees: jax.tree.map(change, specs, trees, is_leaf=is_spec)

    def one(*args: Any) -> Any:
        return each(wrap, outputs, function(*each(strip, inputs, args)))

    mesh = make_mesh(shards)
    return jax.shard_map(one, mesh=mesh, in_specs=inputs, out_specs=outputs, check_vma=False)


def make_mesh(count: int, axis: str = AXIS) -> jax.sharding.Mesh:
    """The first ``count`` devices in a row."""
    kind = (jax.sharding.AxisType.Auto,)
    return jax.make_mesh((count,), (axis,), axis_types=kind, devices=jax.local_devices()[:count])


def on_one(tree: Any) -> Any:
    """The first device's copy of a tree that is the same on all."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


def mean_over(values: dict[str, jax.Array], sums: tuple[str, ...], shards: int, parts: int) -> dict[str, jax.Array]:
    """Metrics of all shards: the mean, or the sum over ``parts`` of environments of those named in ``sums``."""
    if shards == 1:
        return values
    means = _mean(values)
    return {name: value * parts if name in sums else value for name, value in means.items()}
