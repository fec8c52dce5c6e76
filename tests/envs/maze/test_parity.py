"""A sample of ``python -m bench.parity``."""

from bench import parity


def test_minigrid_says_the_same_at_every_step():
    told = parity.compare(3000, 1)
    assert told["steps equal"] == 3000
    assert min(told[what] for what in ("goals reached", "ends in lava", "times out")) > 3
