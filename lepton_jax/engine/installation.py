"""What is installed on this machine and what of it works: facts for ``lepton_jax.doctor``.

Imports the standard library alone, for it has to run where nothing else does. jax is tried in a process of its own, so
that one that crashes or hangs is told of and not suffered.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

VARIABLES = ("JAX_PLATFORMS", "XLA_FLAGS", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "JAX_COMPILATION_CACHE_DIR")
_NAME = "lepton-jax"
_ROOT = Path(__file__).parents[2]
_REQUIREMENT = re.compile(r"\s*([\w.-]+)(?:\[([^\]]*)\])?\s*([^;]*)")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")

# Each step is announced, so that it is known which one did not return.
_PROBE = """
import json, os
say = lambda step: print("step", step, flush=True)
say("import jax")
import jax
say("find devices")
devices = [f"{device.platform}: {device.device_kind}" for device in jax.devices()]
say("compile and run a program")
assert float(jax.jit(lambda x: x + 1)(1.0)) == 2.0
say("import lepton_jax")
import gymnax
from lepton_jax.engine import native, run, setup
folder = jax.config.values["jax_compilation_cache_dir"] or str(setup.cache_dir())
told = {"devices": devices, "platform": jax.default_backend(), "cache": folder, "native_trouble": native.trouble()}
print(json.dumps(told), flush=True)
os._exit(0)
"""


class Package(NamedTuple):
    """A distribution that is needed, or may be."""

    name: str
    needed: str  # versions, such as >=0.10.2,<0.12; any where empty
    found: str | None  # version; None: it is not installed


class Nvidia(NamedTuple):
    """The NVIDIA cards of this machine."""

    cards: tuple[str, ...]  # their names, as far as they are known
    driver: str | None  # version
    trouble: str = ""  # what nvidia-smi complains of


class Probe(NamedTuple):
    """What became of jax in a process of its own."""

    trouble: str  # in which step it failed and how; empty: all went well
    said: str  # the last line on stderr
    devices: tuple[str, ...] = ()
    platform: str | None = None  # that jax computes on by default
    cache: str | None = None  # folder of compiled programs
    cache_trouble: str = ""  # why nothing can be written there
    native_trouble: str = ""  # why XLA averages gradients over cores, and not the C part of the engine


class Facts(NamedTuple):
    """All that a diagnosis is made from."""

    version: str  # of lepton_jax
    python: str
    python_needed: str
    system: str
    packages: tuple[Package, ...]
    extras: Mapping[str, tuple[Package, ...]]  # by name
    jaxlib: Package  # as the jax that is installed needs it
    plugins: Mapping[str, str]  # versions of jax's CUDA packages, by name
    nvidia: Nvidia | None
    variables: Mapping[str, str]  # those of VARIABLES that are set
    threads: int
    memory: int | None  # bytes that processes may use together; None where nobody tells
    probe: Probe


def gather(timeout: float = 120.0) -> Facts:
    """Looks around; ``timeout`` seconds at most for jax."""
    import lepton_jax

    python_needed, requirements = _requirements()
    every = [(extra, Package(name, needed, version_of(name))) for extra, name, needed in requirements]
    extras = dict.fromkeys(sorted({extra for extra, _ in every if extra}))
    plugins = {f"jax-cuda{n}-{part}" for n in (12, 13) for part in ("plugin", "pjrt")}
    return Facts(
        version=lepton_jax.__version__,
        python=platform.python_version(),
        python_needed=python_needed,
        system=platform.platform(),
        packages=tuple(package for extra, package in every if extra is None),
        extras={name: tuple(package for extra, package in every if extra == name) for name in extras},
        jaxlib=Package("jaxlib", _jaxlib_needed(), version_of("jaxlib")),
        plugins={name: version for name in sorted(plugins) if (version := version_of(name)) is not None},
        nvidia=find_nvidia(),
        variables={name: os.environ[name] for name in VARIABLES if name in os.environ},
        threads=usable_cores(),
        memory=usable_memory(),
        probe=probe(timeout),
    )


def version_of(name: str) -> str | None:
    """The version of a distribution; None if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def usable_cores() -> int:
    """Cores that this process may use: those it is pinned to, by taskset or a job scheduler, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_memory(root: Path = Path("/")) -> int | None:
    """Bytes of memory, or fewer where a container or a job scheduler sets a limit; None where nobody tells."""
    known = []
    with contextlib.suppress(ValueError, AttributeError, OSError):
        known.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in _limits(root):
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
            known.append(int(path.read_text()))
    return min(known, default=None)


def parse_requirement(text: str) -> tuple[str | None, str, str]:
    """``"six>=1.16; extra == 'x'"`` as extra, name and versions; ``jax[cuda12]`` stands for the plugin it brings."""
    found = _REQUIREMENT.match(text)
    assert found is not None, text
    name, bracket, needed = found[1], found[2] or "", "".join(found[3].split())
    extra = _EXTRA.search(text)
    if name == "jax" and bracket.startswith("cuda"):
        name, needed = f"jax-{bracket}-plugin", ""
    return extra[1] if extra else None, name, needed


def probe(timeout: float) -> Probe:
    """Imports jax, finds devices, runs a program and imports the engine, all in another process."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            errors="replace",
        )
        status, out, err = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as late:
        read = lambda part: part.decode(errors="replace") if isinstance(part, bytes) else part or ""
        status, out, err = None, read(late.stdout), read(late.stderr)
    except OSError as error:
        return Probe(f"{sys.executable} could not be started: {error.strerror}", "")
    said = next((line.strip() for line in reversed(err.splitlines()) if line.strip()), "")
    steps = [line.removeprefix("step ") for line in out.splitlines() if line.startswith("step ")]
    step = steps[-1] if steps else "start Python"
    if status is None:
        return Probe(f"{step}: no answer in {timeout:g} s", said)
    if status < 0:
        return Probe(f"{step}: crashed with {signal.Signals(-status).name}", said)
    if status:
        return Probe(f"{step}: failed", said)
    found = json.loads(out.splitlines()[-1])
    told = tuple(found["devices"]), found["platform"], found["cache"]
    return Probe("", said, *told, _unwritable(Path(found["cache"])), found["native_trouble"])


def find_nvidia() -> Nvidia | None:
    """The NVIDIA cards, from nvidia-smi or from what the driver shows; None where there is no sign of one."""
    words = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False, errors="replace")
        said = (done.stdout or done.stderr).strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        done, said = None, "" if isinstance(error, OSError) else "nvidia-smi gave no answer in 30 s"
    rows = [line.rpartition(",") for line in said.splitlines() if "," in line]
    if done is not None and done.returncode == 0 and rows:
        return Nvidia(tuple(name.strip() for name, _, _ in rows), rows[0][2].strip())
    version, cards = Path("/proc/driver/nvidia/version"), Path("/proc/driver/nvidia/gpus")
    if not version.exists() and not Path("/dev/nvidia0").exists():
        return None
    told = re.search(r"Kernel Module\D*?(\d+(?:\.\d+)+)", version.read_text()) if version.exists() else None
    models = [_model(path) for path in sorted(cards.glob("*/information"))]
    return Nvidia(tuple(models), told[1] if told else None, said.partition("\n")[0])


def _model(path: Path) -> str:
    found = re.search(r"Model:\s*(.+)", path.read_text())
    return found[1].strip() if found else "NVIDIA card"


def _requirements() -> tuple[str, list[tuple[str | None, str, str]]]:
    """Versions of Python, and extra, name and versions of all that is needed; of the checkout before the installed."""
    file = _ROOT / "pyproject.toml"
    if file.is_file():
        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == _NAME:
            needed = [parse_requirement(text) for text in project["dependencies"]]
            for extra, texts in project["optional-dependencies"].items():
                needed += [(extra, *parse_requirement(text)[1:]) for text in texts]
            return project["requires-python"], needed
    try:
        about = importlib.metadata.metadata(_NAME)
    except importlib.metadata.PackageNotFoundError:
        return "", []
    texts: Iterable[str] = about.get_all("Requires-Dist") or ()
    return about["Requires-Python"] or "", [parse_requirement(text) for text in texts]


def _jaxlib_needed() -> str:
    """The versions of jaxlib that the installed jax goes with."""
    try:
        texts = importlib.metadata.requires("jax") or ()
    except importlib.metadata.PackageNotFoundError:
        return ""
    found = (parse_requirement(text) for text in texts)
    return next((needed for extra, name, needed in found if extra is None and name == "jaxlib"), "")


def _limits(root: Path) -> Iterator[Path]:
    """Where a limit of memory may stand: of the control groups this process is in, and of those around them."""
    groups = root / "sys/fs/cgroup"
    try:
        mine = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        mine = []
    # What a container sees as the outermost group may be its own, whatever the names it is told.
    for line in (*mine, "0::/", "1:memory:/"):
        _, kinds, path = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        top, name = (groups / "memory", "memory.limit_in_bytes") if kinds else (groups, "memory.max")  # version 1, 2
        here = top / path.lstrip("/")
        yield from (group / name for group in (here, *here.parents) if group.is_relative_to(top))


def _unwritable(folder: Path) -> str:
    """Why nothing can be written in a folder, which is made if it is not there; empty: something can."""
    file = folder / f".doctor-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
        file.unlink()
    except OSError as error:
        return error.strerror or str(error)
    return ""
