"""Blocks: every kind of move by hand, what does not fit is told, and what a control keeps."""

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from lepton_jax.transfer.blocks import Move, fault, place, scrambled

NEW = None  # an element that is to be drawn


def moved(block: Any, move: Move, shape: tuple[int, ...] | None = None) -> Any:
    """What ``place`` makes of ``block``, with NEW where it does not speak."""
    made, taken = place(np.asarray(block, np.float32), move, shape or move.target)
    assert (made.dtype, taken.dtype, made.shape) == (np.float32, bool, taken.shape)
    assert made.flags.c_contiguous
    assert not made[~taken].any(), "what is to be drawn is 0 until then"
    return np.where(taken, made, np.asarray(NEW, object)).tolist()


def test_copy_and_init():
    assert fault(Move("copy", (2, 2), (2, 2))) is None
    assert moved([[1, 2], [3, 4]], Move("copy", (2, 2), (2, 2))) == [[1, 2], [3, 4]]
    assert moved(5, Move("copy", (), ())) == 5
    assert fault(Move("init", (3,), (2, 2))) is None


THREE = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


@pytest.mark.parametrize(
    ("move", "block", "expected"),
    [
        (Move("pad", (2,), (5,)), [1, 2], [1, 2, 0, 0, 0]),
        (Move("pad", (2,), (5,), "centre"), [1, 2], [0, 1, 2, 0, 0]),
        (Move("pad", (1, 2), (3, 3), "centre"), [[1, 2]], [[0, 0, 0], [1, 2, 0], [0, 0, 0]]),
        (Move("pad", (1, 2), (2, 3)), [[1, 2]], [[1, 2, 0], [0, 0, 0]]),
        (Move("slice", (3, 3), (2, 1)), THREE, [[1], [4]]),
        (Move("slice", (3, 3), (1, 1), "centre"), THREE, [[5]]),
        (Move("slice", (3, 3), (2, 3), "centre"), THREE, [[1, 2, 3], [4, 5, 6]]),
        (Move("tile", (2,), (5,)), [1, 2], [1, 2, 1, 2, 1]),
        (Move("tile", (3, 1), (2, 3)), [[1], [2], [3]], [[1, 1, 1], [2, 2, 2]]),
        # Cells of half the size: their centres lie a quarter beside the old ones.
        (Move("resample", (2,), (4,)), [0, 4], [0, 1, 3, 4]),
        (Move("resample", (4,), (2,)), [0, 1, 3, 4], [0.5, 3.5]),
        (Move("resample", (1,), (3,)), [7], [7, 7, 7]),
        (Move("resample", (2, 2), (2, 4)), [[0, 4], [8, 8]], [[0, 1, 3, 4], [8, 8, 8, 8]]),
    ],
)
def test_moves_by_hand(move, block, expected):
    assert fault(move) is None
    assert moved(block, move) == expected


@pytest.mark.parametrize(("source", "target"), [((9, 7), (13, 5)), ((5, 6, 3), (5, 11, 2)), ((1, 4), (3, 4))])
def test_resampled_as_scipy_does(source, target):
    block = np.random.default_rng(0).standard_normal(source)
    centres = [(np.arange(new) + 0.5) * old / new - 0.5 for old, new in zip(source, target, strict=True)]
    expected = map_coordinates(block, np.meshgrid(*centres, indexing="ij"), order=1, mode="nearest")
    made, taken = place(block, Move("resample", source, target), target)
    np.testing.assert_allclose(made, expected, rtol=1e-12, atol=1e-12)
    assert taken.all()


def test_a_centred_pad_and_a_centred_slice_undo_each_other():
    block = np.random.default_rng(0).standard_normal((3, 4, 2)).astype(np.float32)
    for align in ("start", "centre"):
        wide, _ = place(block, Move("pad", (3, 4, 2), (6, 9, 2), align), (6, 9, 2))
        back, _ = place(wide, Move("slice", (6, 9, 2), (3, 4, 2), align), (3, 4, 2))
        np.testing.assert_array_equal(back, block)


@pytest.mark.parametrize(
    ("source", "target", "actions", "block", "expected"),
    [
        # By action of the target: the source's 2, a new one, the source's 0.
        ((3,), (3,), (2, -1, 0), [1, 2, 3], [3, NEW, 1]),
        ((2, 2), (2, 3), (1, 0, 1), [[1, 2], [3, 4]], [[2, 1, 2], [4, 3, 4]]),
        ((3,), (1,), (-1,), [1, 2, 3], [NEW]),
        # Four places and three actions: the first place is the value of a dueling head, which stays in front.
        ((4,), (4,), (2, -1, 0), [9, 1, 2, 3], [9, 3, NEW, 1]),
        ((3,), (5,), (-1, 0, 1, -1), [9, 1, 2], [9, NEW, 1, 2, NEW]),
    ],
)
def test_an_action_map_by_hand(source, target, actions, block, expected):
    move = Move("actions", source, target, actions=actions)
    assert fault(move) is None
    assert moved(block, move) == expected


def test_a_leaf_can_be_seen_in_another_shape():
    # Two planes of 2x2 behind each other, with one output: padded to planes of 3x3, at the end of rows and columns.
    block = np.arange(1, 9, dtype=np.float32).reshape(8, 1)
    move = Move("pad", (2, 2, 2, 1), (2, 3, 3, 1))
    made = moved(block, move, (18, 1))
    plane = lambda a, b, c, d: [[a], [b], [0], [c], [d], [0], [0], [0], [0]]
    assert made == plane(1, 2, 3, 4) + plane(5, 6, 7, 8)
    centred = moved(block, move._replace(target=(2, 4, 4, 1), align="centre"), (32, 1))
    assert np.reshape(centred, (2, 4, 4))[:, 1:3, 1:3].reshape(8, 1).tolist() == block.tolist()


@pytest.mark.parametrize(
    ("move", "words"),
    [
        (Move("copy", (2, 3), (3, 2)), "the shapes differ"),
        (Move("slice", (4,), (2, 2)), "1 axes cannot become 2"),
        (Move("tile", (), (2,)), "0 axes cannot become 1"),
        (Move("slice", (4, 2), (3, 3)), "axis 1 would have to grow from 2 to 3; slice only cuts"),
        (Move("pad", (4, 2), (3, 3)), "axis 0 would have to shrink from 4 to 3; pad only adds"),
        (Move("actions", (4, 2), (3, 2), actions=(0, 1)), "the last axis only"),
        (Move("actions", (), (), actions=(0,)), "the last axis only"),
        (Move("actions", (2,), (2,), actions=(0, 1, 0)), "has 3 actions, and the last axis 2 places"),
        (Move("actions", (2,), (2,), actions=(0, 2)), "asks for action 2, and the source has 2"),
        # With the value in front the source has one action fewer than places.
        (Move("actions", (3,), (3,), actions=(0, 2)), "asks for action 2, and the source has 2"),
    ],
)
def test_what_does_not_fit_is_told(move, words):
    told = fault(move)
    assert told is not None
    assert words in told


def test_permuted_keeps_the_numbers_and_random_norm_their_norm():
    block = np.random.default_rng(0).standard_normal((16, 8)).astype(np.float32)
    draw = lambda control, seed: scrambled(block, control, np.random.default_rng(seed))
    for control in ("permuted", "random-norm"):
        made = draw(control, 1)
        assert (made.shape, made.dtype) == (block.shape, block.dtype)
        assert np.abs(made - block).mean() > 0.5
        np.testing.assert_array_equal(made, draw(control, 1))
        assert (made != draw(control, 2)).any()
    np.testing.assert_array_equal(np.sort(draw("permuted", 1), axis=None), np.sort(block, axis=None))
    assert not np.isin(draw("random-norm", 1), block).any()
    assert np.linalg.norm(draw("random-norm", 1)) == pytest.approx(np.linalg.norm(block), rel=1e-6)
    assert scrambled(np.zeros(3), "random-norm", np.random.default_rng(0)).tolist() == [0, 0, 0]
