"""The networks: shapes, parameter trees, precision, and what dueling, memory and thinking mean."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lepton_jax.agents.networks import by_patches, convolve, make_q
from lepton_jax.config import NetConfig

ACTIONS = 4


def fill(shapes: Any, seed: int = 0) -> Any:
    """Random parameters, all of them, biases too."""
    rng = np.random.default_rng(seed)
    draw = lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1])), leaf.dtype)
    return jax.tree.map(draw, shapes)


def make(net: NetConfig, shape: tuple[int, ...], dtype: Any = jnp.uint8) -> tuple[Any, Any, jax.Array]:
    """The compiled network without memory, as a function of one observation; random parameters; an observation."""
    q = make_q(net, ACTIONS, marker=0)
    assert q.carry(3) == ()
    observation = jnp.asarray(np.random.default_rng(0).integers(0, 2, shape), dtype)
    shapes = jax.eval_shape(q.init, jax.random.key(0), jax.ShapeDtypeStruct(shape, dtype))
    apply = lambda params, x: q.unroll(params, (), x[None, None], jnp.zeros((1, 1), bool))[0][0, 0]
    return jax.jit(apply), fill(shapes), observation


def leaves(tree: Any) -> dict[str, jax.Array]:
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in jax.tree.leaves_with_path(tree)
    }


NETS = [
    (NetConfig(kind="mlp", width=16, depth=2, dueling=True), (3, 7, 7)),
    (NetConfig(kind="mlp", width=16, depth=1, dueling=False, layer_norm=True), (10,)),
    (NetConfig(kind="conv", width=16, depth=1, channels=8, conv_depth=2, dueling=True, layer_norm=True), (2, 9, 9)),
    (NetConfig(kind="conv", width=16, depth=0, channels=8, conv_depth=1, dueling=False), (2, 5, 7)),
    (NetConfig(kind="think", width=16, depth=1, channels=8, iterations=3, layer_norm=True), (2, 5, 6)),
    (NetConfig(kind="think", width=16, depth=0, channels=8, iterations=3, dueling=False), (2, 5, 6)),
]


@pytest.mark.parametrize(
    ("net", "shape", "dtype"),
    [*((*case, jnp.uint8) for case in NETS), (*NETS[1], jnp.float32), (*NETS[2], jnp.float32)],
)
def test_action_values_of_steps_and_environments(net, shape, dtype):
    """Each is as it is alone, whatever ``first`` says; and none is blind."""
    one, params, observation = make(net, shape, dtype)
    unroll = make_q(net, ACTIONS, marker=0).unroll
    other = 1 - observation
    batch = jnp.stack([jnp.stack([observation, other, other]), jnp.stack([other, observation, other])])
    q, carry = jax.jit(unroll)(params, (), batch, jnp.asarray([[False, True, False], [True, False, False]]))
    assert (q.shape, q.dtype, carry) == ((2, 3, ACTIONS), jnp.float32, ())
    expected = np.stack([one(params, observation), one(params, other)])
    np.testing.assert_allclose(q, expected[[[0, 1, 1], [1, 0, 1]]], rtol=1e-5, atol=1e-5)
    assert np.abs(expected[0] - expected[1]).max() > 1e-4, "blind to the observation"


@pytest.mark.parametrize(("net", "shape"), NETS)
def test_the_tree_has_torso_and_head(net, shape):
    _, params, _ = make(net, shape)
    assert set(params) == {"params"}
    assert set(params["params"]) == {"torso", "head"}


def test_names_of_parameters_stay():
    """Saved policies are read by these names."""
    dense = lambda at: {f"params/{at}/bias", f"params/{at}/kernel"}
    norm = lambda at: {f"params/{at}/bias", f"params/{at}/scale"}
    _, params, _ = make(NetConfig(kind="mlp", depth=2, layer_norm=True), (10,))
    layers = [dense("torso/Dense_0"), dense("torso/Dense_1"), norm("torso/LayerNorm_0"), norm("torso/LayerNorm_1")]
    assert set(leaves(params)) == set.union(*layers, dense("head/Dense_0"))
    _, params, _ = make(NetConfig(kind="conv", depth=1, conv_depth=2), (2, 5, 5))
    layers = [dense("torso/Conv_0"), dense("torso/Conv_1"), dense("torso/MLP_0/Dense_0"), dense("head/Dense_0")]
    assert set(leaves(params)) == set.union(*layers)


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
    q = make_q(NetConfig(kind="mlp", width=8, depth=1), ACTIONS)
    spec = jax.ShapeDtypeStruct((6,), jnp.float32)
    init = jax.jit(lambda key: q.init(key, spec))
    first, second = (init(jax.random.key(seed)) for seed in (0, 1))
    assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True))


# Memory. Five steps of three environments, with an end of an episode here and there.
STEPS, ENVS, FEATURES, WIDTH = 5, 3, 6, 4
FIRST = np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0], [1, 0, 1], [0, 0, 0]], bool)
GATES = {"gru": "rzn", "lstm": "ifgo"}


def make_memory(memory: Any, **options: Any) -> tuple[Any, Any, jax.Array, Any]:
    """A Q-function with memory, random parameters, observations of all steps, and a carry that is not zero."""
    options = {"kind": "mlp", "width": WIDTH, "depth": 0, "dueling": False, **options}
    q = make_q(NetConfig(memory=memory, **options), ACTIONS)
    shapes = jax.eval_shape(q.init, jax.random.key(0), jax.ShapeDtypeStruct((FEATURES,), jnp.float32))
    rng = np.random.default_rng(1)
    carry = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), q.carry(ENVS))
    observation = jnp.asarray(rng.normal(size=(STEPS, ENVS, FEATURES)), jnp.float32)
    return q, fill(shapes), observation, carry


def flax_cell(memory: str, params: Any) -> tuple[nn.RNNCellBase, Any]:
    """The cell of flax and our parameters under its names; our forget gate adds 1 to its bias."""
    ours, gates = params["params"]["torso"]["cell"], GATES[memory]
    split = lambda leaf: dict(zip(gates, np.split(np.asarray(leaf), len(gates), axis=-1), strict=True))
    kernel, bias, recurrent = (
        split(leaf) for leaf in (ours["Dense_0"]["kernel"], ours["Dense_0"]["bias"], ours["recurrent"])
    )
    if memory == "gru":
        theirs = {f"i{gate}": {"kernel": kernel[gate], "bias": bias[gate]} for gate in gates}
        theirs |= {f"h{gate}": {"kernel": recurrent[gate]} for gate in gates}
        theirs["hn"]["bias"] = np.asarray(ours["recurrent_bias"])
        return nn.GRUCell(WIDTH), {"params": theirs}
    theirs = {f"i{gate}": {"kernel": kernel[gate]} for gate in gates}
    theirs |= {f"h{gate}": {"kernel": recurrent[gate], "bias": bias[gate] + (gate == "f")} for gate in gates}
    return nn.OptimizedLSTMCell(WIDTH), {"params": theirs}


@pytest.mark.parametrize("memory", ["gru", "lstm"])
def test_a_cell_is_that_of_flax(memory):
    q, params, observation, carry = make_memory(memory)
    values, memories = jax.jit(q.unroll)(params, carry, observation, FIRST)
    cell, theirs = flax_cell(memory, params)
    (head,) = params["params"]["head"].values()
    for t in range(STEPS):
        carry = jax.tree.map(lambda leaf, t=t: jnp.where(FIRST[t][:, None], 0.0, leaf), carry)
        carry, shown = cell.apply(theirs, carry, observation[t])
        jax.tree.map(lambda a, b, t=t: np.testing.assert_allclose(a[t], b, rtol=1e-5, atol=1e-5), memories, carry)
        np.testing.assert_allclose(values[t], shown @ head["kernel"] + head["bias"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("memory", ["gru", "lstm"])
def test_many_steps_are_as_many_single_steps(memory):
    q, params, observation, carry = make_memory(memory, depth=1, dueling=True)
    unroll = jax.jit(q.unroll)
    values, memories = unroll(params, carry, observation, FIRST)
    assert (values.shape, values.dtype) == ((STEPS, ENVS, ACTIONS), jnp.float32)
    for t in range(STEPS):
        one, carry = unroll(params, carry, observation[t : t + 1], FIRST[t : t + 1])
        np.testing.assert_allclose(values[t], one[0], rtol=1e-5, atol=1e-6)
        carry = jax.tree.map(lambda leaf: leaf[0], carry)
        jax.tree.map(lambda a, b, t=t: np.testing.assert_allclose(a[t], b, rtol=1e-5, atol=1e-6), memories, carry)


@pytest.mark.parametrize("memory", ["gru", "lstm"])
def test_gradients_flow_back_to_where_the_episode_began(memory):
    q, params, observation, carry = make_memory(memory, depth=1)
    last = lambda carry, observation: jnp.sum(q.unroll(params, carry, observation, FIRST)[0][-1] ** 2)
    of_carry, of_observation = jax.jit(jax.grad(last, (0, 1)))(carry, observation)
    flows = np.any(np.asarray(of_observation) != 0, axis=-1)
    # Environments 0 and 2 begin an episode at step 3; environment 1 goes on from the carry.
    np.testing.assert_array_equal(flows, [[0, 1, 0], [0, 1, 0], [0, 1, 0], [1, 1, 1], [1, 1, 1]])
    for leaf in jax.tree.leaves(of_carry):
        np.testing.assert_array_equal(np.any(np.asarray(leaf) != 0, axis=-1), [False, True, False])


@pytest.mark.parametrize("memory", ["gru", "lstm"])
def test_a_memory_begins_empty_with_orthogonal_matrices(memory):
    q, _, _, _ = make_memory(memory, depth=1)
    for leaf in jax.tree.leaves(q.carry(2)):
        assert leaf.dtype == jnp.float32
        np.testing.assert_array_equal(leaf, np.zeros((2, WIDTH)))
    assert len(jax.tree.leaves(q.carry(2))) == {"gru": 1, "lstm": 2}[memory]
    spec = jax.ShapeDtypeStruct((FEATURES,), jnp.float32)
    torso = jax.jit(lambda key: q.init(key, spec))(jax.random.key(0))["params"]["torso"]
    assert set(torso) == {"encoder", "cell"}
    parts = np.split(np.asarray(torso["cell"]["recurrent"]), len(GATES[memory]), axis=-1)
    for part in parts:
        np.testing.assert_allclose(part @ part.T, np.eye(WIDTH), atol=1e-5)
    assert np.abs(parts[0] - parts[1]).max() > 0.1, "the same matrix for every gate"


@pytest.mark.parametrize("memory", ["gru", "lstm"])
def test_a_memory_in_bfloat16_is_kept_in_float32(memory):
    q, params, observation, carry = make_memory(memory)
    half, _, _, _ = make_memory(memory, dtype="bfloat16")
    (exact, _), (values, memories) = (jax.jit(this.unroll)(params, carry, observation, FIRST) for this in (q, half))
    assert {leaf.dtype for leaf in jax.tree.leaves((values, memories, params))} == {jnp.dtype(jnp.float32)}
    np.testing.assert_allclose(values, exact, rtol=0.1, atol=0.05)
    assert np.any(values != exact), "bfloat16 was not used"


# Thinking.
THINK = NetConfig(kind="think", width=8, depth=1, channels=6, iterations=4, dueling=False)


def marked(rows: int, columns: int, agent: tuple[int, int], seed: int = 0) -> np.ndarray:
    """float32 (3, rows, columns): two planes of anything, and the agent's on plane 1."""
    image = np.random.default_rng(seed).normal(size=(3, rows, columns)).astype(np.float32)
    image[1] = 0.0
    image[1, agent[0], agent[1]] = 1.0
    return image


def make_think(net: NetConfig = THINK) -> tuple[Any, Any]:
    """A network that thinks, as a compiled function of (params, image); and random parameters."""
    q = make_q(net, ACTIONS, marker=1)
    shapes = jax.eval_shape(q.init, jax.random.key(0), jax.ShapeDtypeStruct((3, 5, 6), jnp.float32))
    return jax.jit(lambda p, image: q.unroll(p, (), image[None, None], jnp.zeros((1, 1), bool))[0][0, 0]), fill(shapes)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_thinking_is_a_repeated_convolution_read_at_the_agent(layer_norm):
    """Against ``lax.conv``, pass by pass, on the map of the parameters' making and on a larger one."""
    think, params = make_think(dataclasses.replace(THINK, layer_norm=layer_norm))
    torso, (head,) = params["params"]["torso"], params["params"]["head"].values()
    conv = lambda x, kernel: jax.lax.conv_general_dilated(
        x[None], kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )[0]

    def norm(x: np.ndarray, scale: Any, bias: Any) -> np.ndarray:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * np.asarray(scale) + np.asarray(bias)

    for rows, columns, agent in [(5, 6, (0, 3)), (9, 7, (8, 6))]:
        image = marked(rows, columns, agent)
        x, hidden = np.moveaxis(image, 0, -1), np.zeros((rows, columns, THINK.channels), np.float32)
        for _ in range(THINK.iterations):
            hidden = np.asarray(conv(hidden, torso["hidden"]) + conv(x, torso["observation"]) + torso["bias"])
            if layer_norm:
                hidden = norm(hidden, torso["norm_scale"], torso["norm_bias"])
            hidden = np.maximum(hidden, 0.0)
        layer = torso["MLP_0"]["Dense_0"]
        x = hidden[agent] @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])
        if layer_norm:
            x = norm(x, *(torso["MLP_0"]["LayerNorm_0"][name] for name in ("scale", "bias")))
        expected = np.maximum(x, 0.0) @ np.asarray(head["kernel"]) + np.asarray(head["bias"])
        np.testing.assert_allclose(think(params, image), expected, rtol=1e-4, atol=1e-4)


def by_patches_n_last(x: jax.Array, kernel: jax.Array) -> jax.Array:
    turn = lambda x: jnp.transpose(x, (3, 1, 2, 0))
    return turn(by_patches(turn(x), kernel))


@pytest.mark.parametrize("ours", [convolve, by_patches_n_last])
def test_a_convolution_and_its_gradients_are_those_of_lax(ours):
    rng = np.random.default_rng(0)
    x, kernel, weight = (rng.normal(size=s).astype(np.float32) for s in [(3, 5, 4, 2), (3, 3, 3, 4), (4, 5, 4, 2)])
    conv = lambda x, kernel: jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("CHWN", "HWIO", "CHWN")
    )
    np.testing.assert_allclose(ours(x, kernel), conv(x, kernel), rtol=1e-5, atol=1e-5)
    mine, theirs = (
        jax.jit(jax.grad(lambda x, kernel, f=f: jnp.sum(f(x, kernel) ** 2 * weight), (0, 1)))(x, kernel)
        for f in (ours, conv)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), mine, theirs)


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_information_travels_one_cell_a_pass(iterations):
    """What changes d cells away, diagonals counting one, is seen with d passes and not with fewer."""
    think, params = make_think(dataclasses.replace(THINK, iterations=iterations))
    image = marked(9, 9, (4, 4))
    sees = np.zeros(5, bool)
    for distance in range(1, 5):
        # Along a row, and down a diagonal.
        for row, column in [(4, 4 - distance), (4 + distance, 4 + distance)]:
            other = image.copy()
            other[0, row, column] += 3.0
            sees[distance] |= bool(np.any(think(params, image) != think(params, other)))
    np.testing.assert_array_equal(sees[1:], np.arange(1, 5) <= iterations)


def test_the_passes_share_their_parameters():
    (_, few), (_, many) = (make_think(dataclasses.replace(THINK, iterations=n)) for n in (1, 30))
    assert jax.tree.map(jnp.shape, few) == jax.tree.map(jnp.shape, many)


def test_thinking_needs_to_know_where_the_agent_is():
    with pytest.raises(ValueError, match="marks the agent's cell"):
        make_q(THINK, ACTIONS)
