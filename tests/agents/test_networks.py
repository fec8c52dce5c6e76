"""The networks: shapes, parameter trees, precision, and what dueling means."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lepton_jax.agents.networks import make_network
from lepton_jax.config import NetConfig

ACTIONS = 4


def make(net: NetConfig, shape: tuple[int, ...], dtype: Any = jnp.uint8) -> tuple[Any, Any, jax.Array]:
    """The compiled network, random parameters (all of them, biases too), and an observation."""
    network = make_network(net, ACTIONS)
    rng = np.random.default_rng(0)
    observation = jnp.asarray(rng.integers(0, 2, shape), dtype)
    shapes = jax.eval_shape(network.init, jax.random.key(0), observation)
    fill = lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1])), leaf.dtype)
    return jax.jit(network.apply), jax.tree.map(fill, shapes), observation


def leaves(tree: Any) -> dict[str, jax.Array]:
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in jax.tree.leaves_with_path(tree)
    }


NETS = [
    (NetConfig(kind="mlp", width=16, depth=2, dueling=True), (3, 7, 7)),
    (NetConfig(kind="mlp", width=16, depth=1, dueling=False, layer_norm=True), (10,)),
    (NetConfig(kind="conv", width=16, depth=1, channels=8, conv_depth=2, dueling=True, layer_norm=True), (2, 9, 9)),
    (NetConfig(kind="conv", width=16, depth=0, channels=8, conv_depth=1, dueling=False), (2, 5, 7)),
]


@pytest.mark.parametrize(("net", "shape"), NETS)
@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.float32])
def test_action_values_from_one_observation(net, shape, dtype):
    apply, params, observation = make(net, shape, dtype)
    q = apply(params, observation)
    assert q.shape == (ACTIONS,)
    assert q.dtype == jnp.float32
    batch = jax.vmap(apply, (None, 0))(params, jnp.stack([observation, 1 - observation.astype(dtype)]))
    assert batch.shape == (2, ACTIONS)
    np.testing.assert_allclose(batch[0], q, rtol=1e-5, atol=1e-6)
    assert np.abs(batch[0] - batch[1]).max() > 1e-4, "blind to the observation"


@pytest.mark.parametrize(("net", "shape"), NETS)
def test_the_tree_has_torso_and_head(net, shape):
    _, params, _ = make(net, shape)
    assert set(params) == {"params"}
    assert set(params["params"]) == {"torso", "head"}


def test_shapes_of_an_mlp():
    _, params, _ = make(NetConfig(kind="mlp", width=16, depth=2, dueling=True), (3, 7, 7))
    shapes = {leaf.shape for leaf in leaves(params["params"]["torso"]).values()}
    assert shapes == {(147, 16), (16,), (16, 16)}
    # One value and four advantages.
    assert {leaf.shape for leaf in leaves(params["params"]["head"]).values()} == {(16, 5), (5,)}


def test_one_linear_layer_is_a_matrix():
    apply, params, observation = make(NetConfig(kind="mlp", depth=0, dueling=False), (10,), jnp.float32)
    found = leaves(params)
    assert {leaf.shape for leaf in found.values()} == {(10, ACTIONS), (ACTIONS,)}
    kernel, bias = (next(v for k, v in leaves(params).items() if k.endswith(name)) for name in ("kernel", "bias"))
    expected = np.asarray(observation, np.float64) @ np.asarray(kernel, np.float64) + np.asarray(bias)
    np.testing.assert_allclose(apply(params, observation), expected, rtol=1e-5, atol=1e-5)


def test_an_mlp_is_what_it_says():
    apply, params, observation = make(NetConfig(kind="mlp", width=8, depth=2, dueling=False), (6,), jnp.float32)
    x = np.asarray(observation, np.float64)
    torso, head = params["params"]["torso"], params["params"]["head"]
    for layer in [torso["Dense_0"], torso["Dense_1"]]:
        x = np.maximum(x @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"]), 0.0)
    (last,) = head.values()
    expected = x @ np.asarray(last["kernel"]) + np.asarray(last["bias"])
    np.testing.assert_allclose(apply(params, observation), expected, rtol=1e-4, atol=1e-5)


def test_dueling_identity():
    """Q = V + A - mean A: the mean over actions is V; a shift of all advantages changes nothing."""
    apply, params, observation = make(NetConfig(kind="mlp", width=8, depth=1, dueling=True), (6,), jnp.float32)
    layer = params["params"]["torso"]["Dense_0"]
    hidden = np.maximum(np.asarray(observation) @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"]), 0.0)
    (last,) = params["params"]["head"].values()
    out = hidden @ np.asarray(last["kernel"], np.float64) + np.asarray(last["bias"])
    value, advantage = out[0], out[1:]
    q = apply(params, observation)
    np.testing.assert_allclose(q, value + advantage - advantage.mean(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.mean(q), value, rtol=1e-4, atol=1e-5)

    (name,) = params["params"]["head"]
    shifted = {**last, "bias": last["bias"].at[1:].add(5.0)}
    moved = {"params": {**params["params"], "head": {name: shifted}}}
    np.testing.assert_allclose(apply(moved, observation), q, rtol=1e-3, atol=1e-3)


def test_layer_norm_is_optional_and_there():
    count = lambda net: len(leaves(make(net, (10,))[1]))
    assert (
        count(NetConfig(kind="mlp", width=16, depth=2, layer_norm=True))
        == count(NetConfig(kind="mlp", width=16, depth=2, layer_norm=False)) + 2 * 2
    )


@pytest.mark.parametrize(("net", "shape"), NETS)
def test_bfloat16_torso_keeps_float32_parameters_and_values(net, shape):
    half, params, observation = make(dataclasses.replace(net, dtype="bfloat16"), shape)
    assert {leaf.dtype for leaf in leaves(params).values()} == {jnp.dtype(jnp.float32)}
    q = half(params, observation)
    assert q.dtype == jnp.float32
    whole, same, _ = make(dataclasses.replace(net, dtype="float32"), shape)
    jax.tree.map(np.testing.assert_array_equal, params, same)
    exact = whole(params, observation)
    np.testing.assert_allclose(q, exact, rtol=0.1, atol=0.05)
    assert np.any(np.asarray(q) != np.asarray(exact)), "bfloat16 was not used"


def test_weights_depend_on_the_key():
    network = make_network(NetConfig(kind="mlp", width=8, depth=1), ACTIONS)
    first, second = (network.init(jax.random.key(seed), jnp.zeros(6)) for seed in (0, 1))
    assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True))
