"""The limits of the device are of work that is really done."""

import numpy as np

from bench import limits


def test_a_copy_and_two_products():
    found = limits.subjects()
    assert len(found) == 3
    copy, single, half = found.values()
    moved = np.asarray(copy.call())
    assert copy.work == 2 * moved.nbytes
    assert moved[0] == 1
    assert moved[-1] == moved.size % 2**32
    for product, dtype in ((single, "float32"), (half, "bfloat16")):
        made = product.call()
        assert made.dtype == dtype
        assert product.work == 2 * made.shape[0] ** 3
        assert (np.asarray(made, np.float32) == made.shape[0]).all()
