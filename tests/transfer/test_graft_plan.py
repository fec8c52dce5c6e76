"""Plans against a source and a network: strict both ways, every mistake told with its cure; order says nothing."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lepton_jax.agents.training import Kickstart, Training, Treatment
from lepton_jax.config import ConfigError
from lepton_jax.engine import checkpoint
from lepton_jax.transfer.apply import apply
from lepton_jax.transfer.asking import Imitation, Plan, Rule
from lepton_jax.transfer.foreign import Leaf
from lepton_jax.transfer.plan import Resolved, Target, resolve
from lepton_jax.transfer.sources import Source

NETWORK = {"t/Dense_0/kernel": (6, 4), "t/Dense_0/bias": (4,), "t/Dense_1/kernel": (4, 4), "t/Dense_1/bias": (4,)}
HEAD = {"head/Dense_0/kernel": (4, 4), "head/Dense_0/bias": (4,)}
SHAPES = {f"params/{name}": shape for name, shape in (NETWORK | HEAD).items()}
TARGET = Target({name: (shape, "float32") for name, shape in SHAPES.items()}, 3, 200, False)
SAME = Rule(r"params/t/(.*)", r"params/t/\1")
ACTIONS = Rule(r"params/head/(.*)", r"params/head/\1", actions=(1, -1, 0))
PLAN = Plan("x", rules=(SAME, ACTIONS))


def a_source(**changed: Any) -> Source:
    """Arrays in memory, of the network's shapes where ``changed`` does not say another, by name; None: no such."""
    generator = np.random.default_rng(0)
    drawn = {name: generator.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
    given = {name.replace("__", "/"): array for name, array in changed.items()}
    arrays = {name: array for name, array in (drawn | given).items() if array is not None}
    leaves = {
        name: Leaf(array.shape, str(array.dtype), array.nbytes, f"sha256:{name}") for name, array in arrays.items()
    }
    about = {"path": "/x", "kind": "run", "policy": "final"}
    return Source(Path("x"), "run", leaves, lambda names: {name: arrays[name] for name in names}, about, None, [])


SOURCE = a_source()
LIKE = {
    "params": {
        "t": {f"Dense_{i}": {"kernel": np.zeros((6 if i == 0 else 4, 4), np.float32), "bias": np.zeros(4, np.float32)}
              for i in (0, 1)},
        "head": {"Dense_0": {"kernel": np.zeros((4, 4), np.float32), "bias": np.zeros(4, np.float32)}},
    }
}  # fmt: skip


def resolved(plan: Plan = PLAN, source: Source = SOURCE, target: Target = TARGET) -> Resolved:
    return resolve(plan, source, target, "p.toml")


def test_what_happens_to_every_leaf():
    found = {leaf.name: leaf for leaf in resolved().leaves}
    assert list(found) == sorted(SHAPES)
    kernel, bias = found["params/t/Dense_0/kernel"], found["params/head/Dense_0/bias"]
    assert (kernel.read, kernel.move.kind, kernel.bytes) == (kernel.name, "copy", 6 * 4 * 4)
    assert (bias.move.kind, bias.move.actions, bias.rule) == ("actions", (1, -1, 0), "rule 2 (params/head/(.*))")
    assert resolved().bytes == 4 * sum(int(np.prod(shape)) for shape in SHAPES.values())
    assert (resolved().ignored, resolved().training) == ((), Training())


def test_what_the_network_begins_with():
    given, read = apply(resolved(), SOURCE, LIKE)
    values, taken = checkpoint.names(given.values), checkpoint.names(given.taken)
    arrays = SOURCE.read(list(SHAPES))
    for name in SHAPES:
        if "head" not in name:
            np.testing.assert_array_equal(values[name], arrays[name])
            assert taken[name].all()
    # The value in front, then the source's action 1, a new one, and its action 0.
    head = arrays["params/head/Dense_0/kernel"]
    np.testing.assert_array_equal(values["params/head/Dense_0/kernel"][:, [0, 1, 3]], head[:, [0, 2, 1]])
    assert taken["params/head/Dense_0/bias"].tolist() == [True, True, False, True]
    assert (read["bytes"], read["leaves"].keys()) == (resolved().bytes, SHAPES.keys())


def test_what_is_left_of_a_source_must_be_named():
    more = a_source(opt__mu=np.zeros(3), opt__nu=np.zeros(3))
    with pytest.raises(ConfigError, match=r"nothing uses 'opt/mu' and 1 more of x; .*ignore = \['opt/mu', \.\.\.\]"):
        resolved(source=more)
    assert resolved(PLAN._replace(ignore=("opt/.*",)), more).ignored == ("opt/mu", "opt/nu")
    # A leaf whose shape does not fit, and which the rule then draws, is named all the same.
    wide = a_source(params__head__Dense_0__kernel=np.zeros((9, 4), np.float32))
    drawn = PLAN._replace(rules=(SAME, Rule(r"params/head/(.*)", r"params/head/\1", "init", l2=0.5)))
    leaves = {leaf.name: leaf for leaf in resolved(drawn, wide).leaves}
    kernel, bias = leaves["params/head/Dense_0/kernel"], leaves["params/head/Dense_0/bias"]
    assert (kernel.read, kernel.bytes, kernel.treatment.l2) == (None, 0, 0.0)
    assert (bias.read, bias.treatment.l2) == (bias.name, 0.5)


WIDE = a_source(params__t__Dense_0__kernel=np.zeros((8, 4), np.float32))
DOUBLE = a_source(params__t__Dense_1__bias=np.zeros(4))
KERNEL = Rule(r"params/t/Dense_0/kernel", "params/t/Dense_0/kernel")
OTHERS = Rule(r"params/(t/Dense_1/.*|.*/bias|head.*)", r"params/\1")
BEGUN = Plan("x", rules=(OTHERS,), kickstart=Imitation())


@pytest.mark.parametrize(
    ("plan", "source", "words"),
    [
        (Plan("x", rules=(SAME,)), SOURCE, ["'params/head/Dense_0/bias' 4 belongs to no rule", "[rest]"]),
        (Plan("x", rules=(SAME, Rule("params/hed/.*"))), SOURCE, ["rule 2 (params/hed/.*) matches no leaf",
         "did you mean 'params/head/", "mend its target"]),
        (Plan("x", rules=(SAME, ACTIONS, Rule("params/t/Dense_0/bias"))), SOURCE,
         ["'params/t/Dense_0/bias' belongs to rule 1 (params/t/(.*)) and to rule 3", "narrow one"]),
        (Plan("x", rules=(SAME, ACTIONS), rest=Rule("")), SOURCE, ["rest: the rules name every leaf", "remove [rest]"]),
        (Plan("x", rules=(Rule(r"params/t/(.*)", r"params/torso/\1"), ACTIONS)), SOURCE,
         ["'params/t/Dense_0/bias' is to come from 'params/torso/Dense_0/bias' by rule 1", "x has no such leaf",
          "did you mean 'params/t/Dense_0/bias'", "graft show x"]),
        (PLAN._replace(ignore=("parms/.*",)), SOURCE, ["ignore: 'parms/.*' matches no leaf", "remove it"]),
        (PLAN, WIDE, ["'params/t/Dense_0/kernel' is 6x4", "of x is 8x4", "the shapes differ", "rule 1 (params/t/(.*)), "
         "mismatch = 'error'", "Choose mismatch = init"]),
        (PLAN._replace(rules=(KERNEL._replace(mismatch="pad"), OTHERS)), WIDE,
         ["is 6x4", "is 8x4", "axis 0 would have to shrink from 8 to 6", "rule 1", "mismatch = 'pad'"]),
        (PLAN._replace(rules=(KERNEL._replace(mismatch="pad", view=((2, 4, 4), (2, 3, 3))), OTHERS)), WIDE,
         ["view: the target's 'params/t/Dense_0/kernel' is 6x4, which cannot be seen as 2x3x3"]),
        (PLAN._replace(rules=(KERNEL._replace(mismatch="pad", view=((2, 5, 4), (2, 3, 4))), OTHERS)), WIDE,
         ["view: the source's 'params/t/Dense_0/kernel' is 8x4, which cannot be seen as 2x5x4"]),
        (PLAN._replace(rules=(SAME, ACTIONS._replace(actions=(0, 1, 3)))), SOURCE,
         ["'params/head/Dense_0/bias' is 4", "asks for action 3, and the source has 3", "actions = [0, 1, 3]"]),
        # Else the first of four places would be taken for the value of a dueling head.
        (PLAN._replace(rules=(SAME, ACTIONS._replace(actions=(0, 1)))), SOURCE,
         ["rule 2 (params/head/(.*)): actions = [0, 1] maps 2 actions, and the world has 3", "-1 for a new one"]),
        (PLAN, DOUBLE, ["'params/t/Dense_1/bias' is float32", "of x is float64", "say cast = true in rule 1"]),
        (Plan("x", rules=(SAME._replace(rank=5), ACTIONS)), SOURCE, ["rule 1", "rank = 5", "6x4 has rank 4 at most"]),
        (BEGUN._replace(rest=Rule("")), a_source(params__t__Dense_0__kernel=None),
         ["kickstart: 'params/t/Dense_0/kernel' is drawn at random by rest", "action map"]),
        (PLAN._replace(kickstart=Imitation(), rules=(SAME, ACTIONS._replace(actions=(-1, -1, -1)))), SOURCE,
         ["kickstart: actions maps none of the source's", "knows nothing"]),
        (Plan("x", kickstart=Imitation(), rules=(SAME, *(
            Rule(f"params/head/(.*)/{end}", rf"params/head/\1/{end}", actions=actions)
            for end, actions in (("kernel", (0, 1, 2)), ("bias", (2, 1, 0)))))), SOURCE,
         ["kickstart: two rules map actions differently", "let them agree"]),
    ],
)  # fmt: skip
def test_mistakes_are_told(plan, source, words):
    with pytest.raises(ConfigError) as told:
        resolved(plan, source)
    assert str(told.value).startswith("p.toml: ")
    assert "\n" not in str(told.value)
    for word in words:
        assert word in str(told.value)


def test_a_teacher_without_a_memory():
    plan = PLAN._replace(kickstart=Imitation(2.0, 0.5, 0.033, "fresh"))
    assert resolved(plan).training.kickstart == Kickstart(2.0, 0.5, 7, (True, False, True), True), "7 = ceil(6.6)"
    with pytest.raises(ConfigError, match=r"kickstart: the network has a memory.*leave it away"):
        resolved(plan, target=TARGET._replace(recurrent=True))


def test_a_cast_beyond_the_other_dtype_is_refused():
    cast = PLAN._replace(rules=(SAME._replace(cast=True), ACTIONS))
    given, _ = apply(resolved(cast, DOUBLE), DOUBLE, LIKE)
    assert given.values["params"]["t"]["Dense_1"]["bias"].dtype == np.float32
    for number, words in ((np.nan, "that are not finite"), (1e300, "beyond those of float32.*'params/t/Dense_1/bias'")):
        source = a_source(params__t__Dense_1__bias=np.asarray([0, number, 0, 0]))
        with pytest.raises(ConfigError, match=f"x: leaf 'params/t/Dense_1/bias' holds numbers {words}"):
            apply(resolved(cast, source), source, LIKE)
    signalling = np.asarray([0x7FA00000, 0, 0, 0], np.uint32).view(np.float32)
    source = a_source(params__t__Dense_1__bias=signalling)
    with pytest.raises(ConfigError, match="not finite"):
        apply(resolved(cast, source), source, LIKE)
    odd = a_source(params__t__Dense_1__bias=np.zeros(4, np.complex64))
    with pytest.raises(ConfigError, match=r"'params/t/Dense_1/bias' is float32, and .* is complex64.*real numbers"):
        resolved(cast, odd)


def test_an_action_map_is_of_equally_many_actions():
    wide = a_source(params__head__Dense_0__kernel=np.zeros((4, 9), np.float32))
    with pytest.raises(ConfigError, match=r"rule 2.*'params/head/Dense_0/bias' has 4 places, that of .*kernel' 9"):
        resolved(source=wide)
    both = a_source(params__head__Dense_0__kernel=np.zeros((4, 9), np.float32),
                    params__head__Dense_0__bias=np.zeros(9, np.float32))  # fmt: skip
    assert resolved(source=both).leaves[0].move.source == (9,)


def test_the_order_of_rules_and_leaves_says_nothing():
    rules = (Rule(r"params/t/(Dense_0/.*)", r"params/t/\1", decay=0.5, lr=0.1),
             Rule(r"params/t/(Dense_1/.*)", r"params/t/\1", l2=0.1, thaw=3), ACTIONS)  # fmt: skip
    plan = Plan("x", rules=rules, control="permuted", kickstart=Imitation())
    first = resolved(plan)
    values = checkpoint.names(apply(first, SOURCE, LIKE)[0])
    draw = random.Random(0)
    for _ in range(5):
        mixed = lambda table: dict(draw.sample(sorted(table.items()), len(table)))
        source = SOURCE._replace(leaves=mixed(SOURCE.leaves))
        again = resolved(plan._replace(rules=tuple(draw.sample(rules, 3))), source, TARGET._replace(
            leaves=mixed(TARGET.leaves)))  # fmt: skip
        assert (again.digest, again.training, again.ignored) == (first.digest, first.training, first.ignored)
        for name, array in checkpoint.names(apply(again, source, LIKE)[0]).items():
            assert (array.dtype, array.tobytes()) == (values[name].dtype, values[name].tobytes())
    spelt = (Rule(r"params/t/Dense_0/(?P<a>.*)", r"params/t/Dense_0/\g<a>", decay=0.5, lr=0.1), *rules[1:])
    assert resolved(plan._replace(rules=spelt)).digest == first.digest, "nor does the spelling"


def test_the_digest_says_what_comes_out():
    drawn = Rule(r"params/head/.*")
    one = SOURCE.leaves["params/t/Dense_1/bias"]
    other = SOURCE._replace(leaves=SOURCE.leaves | {"params/t/Dense_1/bias": one._replace(digest="sha256:other")})
    head = ("params/head/.*",)
    plans = [
        PLAN,
        *(PLAN._replace(control=control) for control in ("permuted", "random-norm")),
        PLAN._replace(control="permuted", control_seed=1),
        PLAN._replace(kickstart=Imitation()),
        PLAN._replace(kickstart=Imitation(weight=2.0)),
        Plan("x", rules=(SAME, drawn), ignore=head),
        *(
            Plan("x", rules=(SAME._replace(**{name: value}), drawn), ignore=head)
            for name, value in {"frozen": True, "lr": 0.5, "thaw": 5, "l2": 0.5, "decay": 0.5, "rank": 1}.items()
        ),
        Plan("x", rules=(SAME, ACTIONS._replace(actions=(1, -1, 2)))),
        Plan("x", rules=(SAME, ACTIONS._replace(actions=(), source=r"params/head/\1"))),
    ]
    digests = [resolved(plan).digest for plan in plans] + [resolved(PLAN, other).digest]
    assert len(set(digests)) == len(digests)
    elsewhere = SOURCE._replace(path=Path("elsewhere"), about={"path": "/elsewhere"})
    assert resolved(PLAN._replace(source="elsewhere"), elsewhere).digest == digests[0], "not where it lies"


def test_the_learning_rate_falls_from_layer_to_layer():
    every = Plan("x", rules=(Rule("(.*)", r"\1", lr=0.5, decay=0.1),))
    found = {name: treatment.factor for name, treatment in resolved(every).training.leaves}
    expected = {"head/Dense_0": 0.5, "t/Dense_1": 0.5 * 0.1, "t/Dense_0": 0.5 * 0.1 * 0.1}
    assert found == {
        f"params/{layer}/{leaf}": pytest.approx(factor)
        for layer, factor in expected.items()
        for leaf in ("kernel", "bias")
    }
    # Within a rule: the layers of the other do not count.
    torso = Plan("x", rules=(SAME._replace(decay=0.1), Rule("params/head/(.*)", r"params/head/\1")))
    factors = {name: treatment.factor for name, treatment in resolved(torso).training.leaves}
    assert factors == {f"params/t/Dense_0/{leaf}": pytest.approx(0.1) for leaf in ("kernel", "bias")}


def test_adapters_are_for_matrices():
    plan = Plan("x", rules=(SAME._replace(rank=2), ACTIONS))
    assert dict(resolved(plan).training.leaves) == {
        **{f"params/t/Dense_{i}/kernel": Treatment(rank=2) for i in (0, 1)},
        **{f"params/t/Dense_{i}/bias": Treatment(frozen=True) for i in (0, 1)},
    }
    assert Training.from_json(resolved(plan).training.to_json()) == resolved(plan).training
