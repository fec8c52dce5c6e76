"""The bound by matrix products: all of them are made, at the sizes of the run."""

import re
from collections import Counter

import jax
import pytest

from bench.products import products
from lepton_jax.presets import from_preset
from lepton_jax.settings import overlay


@pytest.mark.parametrize("double", [True, False])
def test_all_products_of_a_run_are_made(double):
    changes = {
        "total_steps": 20_000,
        "shards": 1,
        "env": {"num_envs": 64},
        "net": {"width": 48},
        "agent": {"double": double},
        "replay": {"batch_size": 96, "collect": 2, "updates": 4},
    }
    program, args, work = products(overlay(from_preset("quick"), changes, "test"))
    # A product is a dot, alone or in a fusion of its own; its result says which it is.
    found = Counter(re.findall(r"= f32\[(\d+,\d+)\]\S* dot\(", program.as_text() or ""))
    passes = 3 if double else 2
    assert found == {
        "64,48": 2 * 2,  # two layers, two steps of acting
        "64,5": 2,
        "96,48": 2 * passes + 2,  # and the slopes of what the hidden layers made
        "96,5": passes,
        "147,48": 1,  # and of their weights
        "48,48": 1,
        "48,5": 1,
    }
    assert work >= 20_000 / 40  # of a log point
    assert all(bool(jax.numpy.isfinite(leaf).all()) for leaf in jax.tree.leaves(program(*args)))
