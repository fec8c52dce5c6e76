"""What all tests share: one cache of compiled programs a session, for this process and those it starts."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Set before jax is imported anywhere, and inherited by the commands that tests run.
# Of pytest-xdist, the process that starts the others makes it.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _cache = tempfile.TemporaryDirectory(prefix="lepton-jax-tests-", ignore_cleanup_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
# Two CPU devices, so that a run over several can be tested wherever the tests run.
os.environ["JAX_NUM_CPU_DEVICES"] = "2"
# A shell starts what it runs in the background deaf to Ctrl-C, and the processes that tests start would be so too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What is compared bit for bit between different programs is compiled as users have it. All else, which is compared with
# references within tolerances, with integers or with itself, is compiled without LLVM's optimisation, in two thirds of
# the time.
EXACT = (
    "agents/test_training.py",
    *(f"engine/test_{name}.py" for name in ("launch", "never_lost", "shard")),
    *(f"scale/test_{name}.py" for name in ("lanes", "sweep")),
    *(f"transfer/test_{name}.py" for name in ("graft", "kept")),
)


@pytest.fixture(scope="module", autouse=True)
def compiled(request: pytest.FixtureRequest) -> Iterator[None]:
    """Sets jax so for the modules that are not ``EXACT``, and back."""
    import jax

    path = request.path.relative_to(Path(__file__).parent).as_posix()
    jax.config.update("jax_disable_most_optimizations", path not in EXACT)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
