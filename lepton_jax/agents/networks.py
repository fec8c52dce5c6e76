"""Q-functions: a torso, perhaps with a memory, and a head.

The parameter tree of every network has the two branches ``torso`` and ``head``; with memory the torso has the two
branches ``encoder``, which is the torso of the same network without, and ``cell``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lepton_jax.agents.memory import GRU, LSTM
from lepton_jax.config import NetConfig


class QFunction(NamedTuple):
    """Action values of observations, or of their histories: a record of pure functions.

    ``first[t]`` is True where observation t begins an episode: what was remembered is forgotten before it is read.
    Without memory ``unroll`` heeds neither carry nor first. With memory, the carry's leaves are float32 (B, ...), zeros
    when an episode begins, and what ``unroll`` returns of them is float32 (T, B, ...).
    """

    init: Callable[..., Any]  # (key, jax.ShapeDtypeStruct of one observation) -> params
    carry: Callable[[int], Any]  # (B) -> what B environments remember when an episode begins; () without memory
    # (params, carry, observation (T, B, ...), first bool (T, B)) -> (float32 (T, B, A), carry after each step)
    unroll: Callable[..., tuple[jax.Array, Any]]


class MLP(nn.Module):
    """Fully connected layers on the flattened observation: (N, ...) -> (N, width)."""

    width: int
    depth: int
    layer_norm: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        x = observation.reshape(observation.shape[0], -1).astype(self.dtype)
        for _ in range(self.depth):
            x = nn.Dense(self.width, dtype=self.dtype)(x)
            x = nn.LayerNorm(dtype=self.dtype)(x) if self.layer_norm else x
            x = nn.relu(x)
        return x


class Conv(nn.Module):
    """3x3 convolutions, then fully connected layers: (N, planes, rows, columns) -> (N, width)."""

    channels: int
    conv_depth: int
    width: int
    depth: int
    layer_norm: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        x = jnp.moveaxis(observation, 1, -1).astype(self.dtype)
        for _ in range(self.conv_depth):
            x = nn.Conv(self.channels, (3, 3), dtype=self.dtype, conv_general_dilated=_for_flax())(x)
            x = nn.LayerNorm(dtype=self.dtype)(x) if self.layer_norm else x
            x = nn.relu(x)
        return MLP(self.width, self.depth, self.layer_norm, self.dtype)(x)


class Think(nn.Module):
    """One convolution again and again, then fully connected layers: (N, planes, rows, columns) -> (N, width).

    From a hidden map h of zeros, ``iterations`` times

        h' = relu(U * h + W * observation + b), with 3x3 convolutions U and W, and zeros outside the map,

    then h is read at the agent's cell, and the layers follow. With ``layer_norm`` the channels are normalised before
    each relu. The parameters are the same in every pass and the observation is read anew in each (recall: Bansal et al.
    2022, arXiv 2202.05826), so that a larger map only takes more passes. Value iteration has this form (Tamar et al.
    2016, arXiv 1602.02867). Information travels one cell a pass, diagonally too: what lies d cells from the agent is
    seen with d passes. Kernels begin with variance 2 / fan-in (He et al. 2015), which keeps the signal's size.

    Why this form: taught the best move on 9x9 mazes (16 channels, 20 passes, a minute on one core, learning rate 4e-3)
    it was right in 99.6% and 100% of 512 new ones (two seeds), and without more training in 98% and 99% of 13x13, with
    20, 32 or 48 passes alike. A gated form (two seeds) needs about as many gradient steps, each twice as dear; residual
    forms, tried with one seed at 2e-3, lost much on 13x13 with more passes. So does this form while its training is
    unfinished: at 2e-3 for a minute, 48 passes did worse on 13x13 than 20 in two runs of three.
    """

    channels: int
    iterations: int
    marker: int  # the plane that is 1 at the agent's cell, and 0 elsewhere
    width: int
    depth: int
    layer_norm: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        x = jnp.moveaxis(observation, 0, -1).astype(self.dtype)
        he = nn.initializers.he_normal()
        kernel = lambda name, size: self.param(name, he, (3, 3, size, self.channels)).astype(self.dtype)
        channel = lambda leaf: leaf[:, None, None, None]
        vector = lambda name, value: channel(self.param(name, nn.initializers.constant(value), (self.channels,)))
        seen = convolve(x, kernel("observation", x.shape[0])) + vector("bias", 0.0).astype(self.dtype)
        again = kernel("hidden", self.channels)
        # Not by nn.LayerNorm: a module cannot be called inside a scan that flax does not know of.
        norm = (vector("norm_scale", 1.0), vector("norm_bias", 0.0)) if self.layer_norm else None

        def think(hidden: jax.Array, _: None) -> tuple[jax.Array, None]:
            hidden = convolve(hidden, again) + seen
            if norm is not None:
                normal = jax.nn.standardize(hidden.astype(jnp.float32), axis=0, epsilon=1e-6)
                hidden = (normal * norm[0] + norm[1]).astype(self.dtype)
            return nn.relu(hidden), None

        hidden, _ = jax.lax.scan(think, jnp.zeros_like(seen), None, length=self.iterations)
        read = jnp.sum(hidden * x[self.marker], axis=(1, 2)).T
        return MLP(self.width, self.depth, self.layer_norm, self.dtype)(read)


def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """3x3 convolution with zeros outside: (A, rows, columns, N), kernel (3, 3, A, B) -> (B, rows, columns, N).

    On a CPU one matrix product of three rows of taps, and the sum of its three columns: with N last all shifts are
    copies of whole blocks. Inside a scan its gradient takes a twentieth of the time of that of ``lax.conv``.
    """
    if jax.default_backend() == "cpu":
        return _by_product(x, kernel)
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("CHWN", "HWIO", "CHWN"))


@jax.custom_vjp
def _by_product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    _, rows, columns, count = x.shape
    weights = jnp.transpose(kernel, (1, 3, 0, 2)).reshape(-1, 3 * kernel.shape[2])
    product = (weights @ _taps(x)).reshape(3, -1, rows, columns, count)
    padded = jnp.pad(product, ((0, 0), (0, 0), (0, 0), (1, 1), (0, 0)))
    return padded[0, :, :, :columns] + padded[1, :, :, 1:-1] + padded[2, :, :, 2:]


def _slopes(saved: tuple[jax.Array, jax.Array], slope: jax.Array) -> tuple[jax.Array, jax.Array]:
    # By hand, for what autodiff would keep or take apart: the slope by x is itself a convolution, that by the kernel
    # one product of the taps, made anew, with the slope in three columns. It takes two thirds of the time.
    x, kernel = saved
    by_x = _by_product(slope, jnp.swapaxes(kernel[::-1, ::-1], 2, 3))
    columns = x.shape[2]
    padded = jnp.pad(slope, ((0, 0), (0, 0), (1, 1), (0, 0)))
    shifted = jnp.concatenate([padded[:, :, 2 - right : 2 - right + columns] for right in range(3)])
    product = jnp.einsum("pn,qn->pq", shifted.reshape(shifted.shape[0], -1), _taps(x))
    by_kernel = product.reshape(3, kernel.shape[3], 3, kernel.shape[2])
    return by_x, jnp.transpose(by_kernel, (2, 0, 3, 1))


_by_product.defvjp(lambda x, kernel: (_by_product(x, kernel), (x, kernel)), _slopes)


def _taps(x: jax.Array) -> jax.Array:
    """What lies above, here and below, as rows: (A, rows, columns, N) -> (3 A, rows columns N)."""
    padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)))
    return jnp.concatenate([padded[:, down : down + x.shape[1]] for down in range(3)]).reshape(3 * x.shape[0], -1)


# Without the checkpoint the patches would be kept for the gradient: nine times the memory, and no faster.
@jax.checkpoint
def by_patches(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """``convolve`` with N first, channels last: one product with a matrix of patches.

    A convolution that is not made again and again does not earn the turning to N last and back: MinAtar trains in half
    the time.
    """
    _, rows, columns, _ = x.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [padded[:, down : down + rows, right : right + columns] for down in range(3) for right in range(3)]
    return jnp.concatenate(shifted, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


def _for_flax() -> Callable[..., jax.Array]:
    """What takes the place of ``lax.conv_general_dilated``, for flax's default of zeros outside and no strides."""
    ours = lambda x, kernel, *_, **__: by_patches(x, kernel)
    return ours if jax.default_backend() == "cpu" else jax.lax.conv_general_dilated


class Linear(nn.Module):
    """One linear layer: (N, features) -> (N, num_actions)."""

    num_actions: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(self.num_actions)(x)


class Dueling(nn.Module):
    """Value and advantage, Q = V + A - mean A (Wang et al. 2016, arXiv 1511.06581, equation 9)."""

    num_actions: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        # One product for both: the first unit is the value, the others are the advantages.
        out = nn.Dense(1 + self.num_actions)(x)
        value, advantage = out[..., :1], out[..., 1:]
        return value + advantage - jnp.mean(advantage, axis=-1, keepdims=True)


class Remembering(nn.Module):
    """A torso with memory: the cell reads what the encoder makes of each observation."""

    encoder: nn.Module
    cell: GRU | LSTM

    def __call__(self, carry: Any, observation: jax.Array, first: jax.Array) -> tuple[jax.Array, Any]:
        return self.cell(carry, _each(self.encoder, observation), first)


class QNetwork(nn.Module):
    """Observations (T, B, ...) -> action values float32 (T, B, num_actions), and the carry after each step."""

    torso: nn.Module
    head: nn.Module

    def __call__(self, carry: Any, observation: jax.Array, first: jax.Array) -> tuple[jax.Array, Any]:
        if isinstance(self.torso, Remembering):
            features, memory = self.torso(carry, observation, first)
        else:
            features, memory = _each(self.torso, observation), ()
        return _each(self.head, features.astype(jnp.float32)), memory


def _each(module: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """``module`` of all steps of all environments at once."""
    y = module(x.reshape(-1, *x.shape[2:]))
    return y.reshape(*x.shape[:2], *y.shape[1:])


def make_q(net: NetConfig, num_actions: int, marker: int | None = None) -> QFunction:
    """The Q-function that ``net`` describes; ``marker`` is that of the world (``VectorEnv.marker``).

    Raises:
      ValueError: the network thinks, but the world does not tell it where the agent is.
    """
    dtype = jnp.dtype(net.dtype)
    layers = net.width, net.depth, net.layer_norm, dtype
    if net.kind == "conv":
        torso: nn.Module = Conv(net.channels, net.conv_depth, *layers)
    elif net.kind == "think":
        if marker is None:
            raise ValueError("net.kind = 'think' needs a world that marks the agent's cell in what is observed")
        torso = Think(net.channels, net.iterations, marker, *layers)
    else:
        torso = MLP(*layers)
    cells = {"gru": GRU, "lstm": LSTM}
    cell = cells[net.memory](net.width, dtype) if net.memory in cells else None
    carry = (lambda count: ()) if cell is None else cell.carry
    head = (Dueling if net.dueling else Linear)(num_actions)
    network = QNetwork(torso if cell is None else Remembering(torso, cell), head)

    def init(key: jax.Array, observation: jax.ShapeDtypeStruct) -> Any:
        blank = jnp.zeros((1, 1, *observation.shape), observation.dtype)
        return network.init(key, carry(1), blank, jnp.ones((1, 1), bool))

    return QFunction(init, carry, network.apply)


def layer_of(name: str) -> tuple[bool, bool, bool, int]:
    """Which layer a leaf belongs to, by its name: layers compare from the input to the output."""
    *modules, _ = name.split("/")
    number = modules[-1].rpartition("_")[2] if modules else ""
    dense = any(module.startswith("MLP_") for module in modules)
    return "head" in modules, "cell" in modules, dense, int(number) if number.isdigit() else 0
