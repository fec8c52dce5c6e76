"""Q-networks: a torso and a head, written for one observation; batch with ``jax.vmap``.

The parameter tree of every network has the two branches ``torso`` and ``head``.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lepton_jax.config import NetConfig


class MLP(nn.Module):
    """Fully connected layers on the flattened observation: (...) -> (width,)."""

    width: int
    depth: int
    layer_norm: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        x = observation.reshape(-1).astype(self.dtype)
        for _ in range(self.depth):
            x = nn.Dense(self.width, dtype=self.dtype)(x)
            x = nn.LayerNorm(dtype=self.dtype)(x) if self.layer_norm else x
            x = nn.relu(x)
        return x


class Conv(nn.Module):
    """3x3 convolutions, then fully connected layers: (channels, rows, columns) -> (width,)."""

    channels: int
    conv_depth: int
    width: int
    depth: int
    layer_norm: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        x = jnp.moveaxis(observation, 0, -1).astype(self.dtype)
        for _ in range(self.conv_depth):
            x = nn.Conv(self.channels, (3, 3), dtype=self.dtype)(x)
            x = nn.LayerNorm(dtype=self.dtype)(x) if self.layer_norm else x
            x = nn.relu(x)
        return MLP(self.width, self.depth, self.layer_norm, self.dtype)(x)


class Linear(nn.Module):
    """One linear layer: (features,) -> (num_actions,)."""

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
        value, advantage = out[:1], out[1:]
        return value + advantage - jnp.mean(advantage)


class QNetwork(nn.Module):
    """Observation -> action values float32 (num_actions,)."""

    torso: nn.Module
    head: nn.Module

    def __call__(self, observation: jax.Array) -> jax.Array:
        return self.head(self.torso(observation).astype(jnp.float32))


def make_network(net: NetConfig, num_actions: int) -> QNetwork:
    """The network that ``net`` describes."""
    dtype = jnp.dtype(net.dtype)
    if net.kind == "conv":
        torso: nn.Module = Conv(net.channels, net.conv_depth, net.width, net.depth, net.layer_norm, dtype)
    else:
        torso = MLP(net.width, net.depth, net.layer_norm, dtype)
    return QNetwork(torso=torso, head=(Dueling if net.dueling else Linear)(num_actions))
