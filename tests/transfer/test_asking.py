"""Plans as they are asked for: what is written reads back equal, and every mistake is told with its cure."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_jax.config import ConfigError
from lepton_jax.transfer import asking
from lepton_jax.transfer.asking import HEAD, TORSO, Imitation, Plan, Rule, asked_for, from_table, read_plan, to_toml

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
COUNTS, SIZES = st.integers(0, 2**31 - 1), st.floats(1e-6, 1e6)
NAMES = TEXTS.filter(lambda text: "\\" not in text)  # a name without groups of the target
SIDES = st.lists(st.integers(1, 99), min_size=2, max_size=2).map(tuple)
FREE: dict[str, Any] = {"lr": SIZES, "thaw": COUNTS, "mismatch": st.sampled_from(asking.MISMATCHES)}
TAKEN: dict[str, Any] = {"cast": st.booleans(), "align": st.sampled_from(["start", "centre"])}
TAKEN |= {"view": st.tuples(SIDES, SIDES), "actions": st.lists(st.integers(-1, 9)).map(tuple)}


def calling(made: Callable[..., Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda fields: made(**fields)


def rule_from(target: st.SearchStrategy[str]) -> st.SearchStrategy[Rule]:
    def of(needed: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[Rule]:
        fields = st.fixed_dictionaries({"target": target, **needed}, optional=optional)
        return fields.map(calling(Rule))

    source = {"source": NAMES}
    return st.one_of(
        of({}, FREE),
        of(source, FREE | TAKEN | {"decay": SIZES, "l2": SIZES}),
        of({"frozen": st.just(True)} | source, TAKEN),
        of({"rank": st.integers(1, 64)} | source, FREE | TAKEN),
    )


KICKSTARTS = st.tuples(SIZES, SIZES, st.floats(1e-3, 1), st.sampled_from(["graft", "fresh"]))
PLANS = st.fixed_dictionaries(
    {"source": TEXTS, "rules": st.lists(rule_from(TEXTS.map(re.escape)), min_size=1, max_size=3).map(tuple)},
    optional={
        "policy": st.sampled_from(["final", "best", "latest"]),
        "lane": st.just("seed") | COUNTS,
        "rest": rule_from(st.just("")),
        "ignore": st.lists(TEXTS.map(re.escape)).map(tuple),
        "control": st.sampled_from(asking.CONTROLS),
        "control_seed": COUNTS,
        "kickstart": KICKSTARTS.map(lambda values: Imitation(*values)),
    },
).map(calling(Plan))


@settings(max_examples=60, deadline=None)
@given(PLANS)
def test_what_is_written_reads_back_equal(plan):
    assert from_table(tomllib.loads(to_toml(plan)), "it") == plan
    assert from_table(tomllib.loads(to_toml(plan, "graft"))["graft"], "it") == plan


def test_a_plan_in_a_file(tmp_path):
    text = r"""
        source = "../runs/small"
        policy = "best"
        ignore = ["optimiser/.*"]

        [[rules]]
        target = 'params/(?P<branch>torso)/(.*)'
        source = 'params/\g<branch>/\2'
        lr = 1

        [[rules]]
        target = 'params/head/.*'
        source = '\g<0>'
        actions = [0, -1]

        [kickstart]
        fraction = 1
    """
    (tmp_path / "p.toml").write_text(text)
    read = read_plan(tmp_path / "p.toml")
    assert read == Plan(
        str(tmp_path / ".." / "runs" / "small"),
        "best",
        rules=(
            Rule("params/(?P<branch>torso)/(.*)", r"params/\g<branch>/\2"),
            Rule("params/head/.*", r"\g<0>", actions=(0, -1)),
        ),
        ignore=("optimiser/.*",),
        kickstart=Imitation(fraction=1.0),
    )
    assert asked_for(str(tmp_path / "p.toml")) == (read, str(tmp_path / "p.toml"))
    (tmp_path / "again.toml").write_text(to_toml(read))
    assert read_plan(tmp_path / "again.toml") == read


def test_a_source_is_a_plan_too():
    plan, name = asked_for("runs/small", "best", "3")
    assert plan == Plan(str(Path("runs/small").absolute()), "best", 3, (TORSO, HEAD))
    assert name == "--graft runs/small"
    assert asked_for("x", lane="seed")[0].lane == "seed"
    assert asked_for("x")[0].policy == "final"


RULE = '[[rules]]\ntarget = "a/(.*)"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('rules = [{target = "a"}]', ["source is missing", "name a run"]),
        ('source = "x"', ["has no rules", "[[rules]]"]),
        ('source = "x"\nsuorce = 1', ["unknown key 'suorce'", "did you mean 'source'"]),
        ("source = 3", ["source = 3 has type int", "expected str"]),
        ('source = "x"\nignore = [1]', ["ignore = [1]", "expected a list of str"]),
        ('source = "x"\nignore = "a"', ["ignore = 'a' has type str", "expected list"]),
        ('source = "x"\nrules = 3', ["rules: expected tables", "[[rules]]"]),
        ('source = "x"\nrules = [3]', ["rules: expected tables", "[[rules]]"]),
        ('source = "x"\nrest = 3', ["rest = 3", "expected a table"]),
        ('source = "x"\nkickstart = 3\n' + RULE, ["kickstart = 3", "expected a table"]),
        ('source = "x"\npolicy = "fnal"\n' + RULE, ["policy = 'fnal'", "one of final, best, latest"]),
        ('source = "x"\nlane = "three"\n' + RULE, ["lane = 'three'", "a number from 0 on, or 'seed'"]),
        ('source = "x"\nlane = -1\n' + RULE, ["lane = -1", "a number from 0 on"]),
        ('source = "x"\nlane = true\n' + RULE, ["lane = True has type bool", "int or str"]),
        ('source = "x"\ncontrol = "random"\n' + RULE, ["control = 'random'", "permuted or random-norm"]),
        ('source = "x"\ncontrol_seed = -1\n' + RULE, ["control_seed = -1", "from 0 on"]),
        ('source = "x"\nignore = ["("]\n' + RULE, ["ignore = '('", "is no regular expression"]),
        ('source = "x"\n[[rules]]\nsource = "a"', ["rule 1: target is missing", "regular expression"]),
        ('source = "x"\n[[rules]]\ntarget = "*"', ["rule 1: target = '*'", "is no regular expression"]),
        (RULE + "tarqet = 1", ["rule 1: unknown key 'tarqet'", "did you mean 'target'"]),
        (RULE + 'source = "b/\\\\2"', [r"rule 1: source = 'b/\\2': invalid group reference 2", "parentheses"]),
        (RULE + 'source = "b/\\\\g<x>"', ["rule 1: source", "unknown group name 'x'", "parentheses"]),
        (RULE + 'source = "b/\\\\q"', ["rule 1: source", r"bad escape \q"]),
        (RULE + 'mismatch = "crop"', ["rule 1: mismatch = 'crop'", "init, slice, pad, tile, resample"]),
        (RULE + 'align = "end"', ["rule 1: align = 'end'", "start or centre"]),
        (RULE + 'source = "b"\nactions = [0, -2]', ["rule 1: actions = (0, -2)", "from -1 on"]),
        (RULE + 'source = "b"\nactions = [0.0]', ["rule 1: actions = [0.0]", "a list of int"]),
        (RULE + 'frozen = "yes"', ["rule 1: frozen = 'yes' has type str", "expected bool"]),
        (RULE + "lr = -1", ["rule 1: lr = -1.0", "0.0 or more"]),
        (RULE + "lr = nan", ["rule 1: lr = nan"]),
        (RULE + "lr = inf", ["rule 1: lr = inf"]),
        (RULE + f"lr = {10**400}", ["rule 1: lr", "has type int"]),
        (RULE + "lr = 0", ["rule 1: lr", "above 0; frozen = true freezes"]),
        (RULE + "decay = 0.0", ["rule 1: lr, decay", "above 0"]),
        (RULE + "l2 = -0.5", ["rule 1: l2 = -0.5"]),
        (RULE + "thaw = -1", ["rule 1: thaw = -1", "0 or more"]),
        (RULE + "thaw = 1.0", ["rule 1: thaw = 1.0 has type float"]),
        (RULE + f"thaw = {2**31}", ["rule 1: thaw = 2147483648", "less than 2**31"]),
        (RULE + "rank = -1", ["rule 1: rank = -1"]),
        (RULE + "view = [[2], [2]]", ["rule 1: view needs a source", "leave view away"]),
        (RULE + "actions = [0]", ["rule 1: actions needs a source", "leave actions away"]),
        (RULE + "cast = true", ["rule 1: cast needs a source"]),
        (RULE + "l2 = 1", ["rule 1: l2 needs a source"]),
        (RULE + "frozen = true\nlr = 0.5", ["rule 1: frozen, but lr = 0.5", "leave one"]),
        (RULE + "frozen = true\nthaw = 5", ["rule 1: frozen, but thaw = 5", "leave one"]),
        (RULE + "rank = 2\ndecay = 0.5", ["rule 1: rank with l2 or decay", "leave them away"]),
        (RULE + 'source = "b"\nview = [[2, 3], [6]]', ["rule 1: view = [[2, 3], [6]]", "equally many axes"]),
        (RULE + 'source = "b"\nview = [[2], [0]]', ["rule 1: view = [[2], [0]]", "expected two shapes"]),
        (RULE + 'source = "b"\nview = [[2]]', ["rule 1: view = [[2]]", "expected two shapes"]),
        (RULE + RULE + "lr = 0", ["rule 2: lr"]),
        (RULE + '[rest]\ntarget = "b"\nfrozen = 1', ["rest: frozen = 1 has type int"]),
        (RULE + '[rest]\nsource = "b/\\\\1"', ["rest: source", "has no groups", "write a rule"]),
        (RULE + "[kickstart]\nwieght = 1", ["kickstart: unknown key 'wieght'", "did you mean 'weight'"]),
        (RULE + "[kickstart]\nweight = 0", ["kickstart: weight = 0.0", "a positive number"]),
        (RULE + "[kickstart]\ntemperature = inf", ["kickstart: temperature = inf", "a positive number"]),
        (RULE + "[kickstart]\nfraction = 1.5", ["kickstart: fraction = 1.5", "at most 1"]),
        (RULE + '[kickstart]\nstudent = "new"', ["kickstart: student = 'new'", "graft or fresh"]),
    ],
)
def test_mistakes_are_told(text, words):
    table = tomllib.loads(text if text.startswith(("source", "rules")) else f'source = "x"\n{text}')
    with pytest.raises(ConfigError) as told:
        from_table(table, "p.toml")
    assert str(told.value).startswith("p.toml: ")
    assert "\n" not in str(told.value)
    for word in words:
        assert word in str(told.value)


def test_mistakes_of_files_and_flags_are_told(tmp_path):
    (tmp_path / "bad.toml").write_text("source = ")
    (tmp_path / "p.toml").write_text(f'source = "x"\n{RULE}')
    for words, asked in {
        "none.toml: No such file.*expected a plan": (str(tmp_path / "none.toml"),),
        "bad.toml: not valid TOML": (str(tmp_path / "bad.toml"),),
        "--graft-policy best: .*p.toml is a plan.*leave it away": (str(tmp_path / "p.toml"), "best"),
        "--graft-lane 1: .*p.toml is a plan.*leave it away": (str(tmp_path / "p.toml"), None, "1"),
        "--graft-lane last: expected the number of a lane, or seed": ("x", None, "last"),
        "--graft-lane ²: expected the number": ("x", None, "²"),
    }.items():
        with pytest.raises(ConfigError, match=words) as told:
            asked_for(*asked)
        assert "\n" not in str(told.value)
