"""What is wrong with an installation, and how it is put right: a pure function of facts. Standard library alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from lepton_jax.engine.installation import Facts, Package, Probe

# The oldest Linux driver for each CUDA, by minor version compatibility: https://docs.nvidia.com/deploy/cuda-compatibility
DRIVERS = {"12": "525.60.13", "13": "580.65.06"}
_PIP = "python -m pip install"


class Problem(NamedTuple):
    """Something that is wrong."""

    what: str
    fix: str  # what to do, or to type


def diagnose(facts: Facts) -> list[Problem]:
    """All that is wrong, what others follow from first; empty: all is well."""
    missing = [*_python(facts), *_packages(facts)]
    return [*missing, *_plugins(facts), *_card(facts), *_jax(facts, bool(missing)), *_cache(facts.probe)]


def satisfies(version: str, needed: str) -> bool:
    """Whether a version is one of those that a requirement names, such as ``>=0.10.2,<0.12``. Releases alone count."""
    return all(_holds(version, clause) for clause in needed.split(",") if clause)


def _holds(version: str, clause: str) -> bool:
    parts = re.fullmatch(r"\s*(>=|<=|==|!=|~=|>|<)\s*(.+?)\s*", clause)
    assert parts is not None, clause
    operator, text = parts.groups()
    wild = text.endswith(".*")
    found, wanted = _release(version), _release(text.removesuffix(".*"))
    if wild:
        return (found[: len(wanted)] == wanted) == (operator == "==")
    if operator == "~=":
        return found >= wanted and found[: len(wanted) - 1] == wanted[:-1]
    size = max(len(found), len(wanted))
    found, wanted = (part + (0,) * (size - len(part)) for part in (found, wanted))
    holds = {">=": found >= wanted, "<=": found <= wanted, ">": found > wanted, "<": found < wanted}
    return (holds | {"==": found == wanted, "!=": found != wanted})[operator]


def _release(version: str) -> tuple[int, ...]:
    """``0.10.2rc1+cuda`` -> (0, 10, 2)."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _python(facts: Facts) -> Iterator[Problem]:
    if not facts.packages:
        yield Problem("what lepton_jax needs is not known: it is neither installed nor a checkout", f"{_PIP} -e .")
    if not satisfies(facts.python, facts.python_needed):
        yield Problem(
            f"Python {facts.python}: lepton_jax needs {facts.python_needed}",
            "make a virtual environment with another Python, and install there",
        )


def _packages(facts: Facts) -> Iterator[Problem]:
    for package in facts.packages:
        if not package_fits(package):
            found = f"{package.found} is installed" if package.found else "is not installed"
            yield Problem(
                f"{package.name} {found}; lepton_jax needs {package.needed}", f"{_PIP} '{package.name}{package.needed}'"
            )
    lib, jax = facts.jaxlib, next((each for each in facts.packages if each.name == "jax"), None)
    if jax is not None and jax.found and not package_fits(lib):
        found = f"jaxlib {lib.found} does not go with" if lib.found else "jaxlib is not installed beside"
        yield Problem(f"{found} jax {jax.found}, which needs {lib.needed}", f"{_PIP} 'jaxlib{lib.needed}'")


def package_fits(package: Package) -> bool:
    """Whether it is installed, in a version that is needed."""
    return package.found is not None and satisfies(package.found, package.needed)


def _cudas(facts: Facts) -> list[str]:
    """The CUDA versions that jax's plugins are installed for."""
    return sorted({name[8:10] for name in facts.plugins})


def _plugins(facts: Facts) -> Iterator[Problem]:
    cudas, lib = _cudas(facts), facts.jaxlib.found
    if len(cudas) > 1:
        keep = _fitting(facts)
        away = " ".join(name for name in facts.plugins if not name.startswith(f"jax-cuda{keep}"))
        yield Problem(
            "both CUDA plugins of jax are installed, and one at a time works",
            f"python -m pip uninstall {away}, then {_install(keep)}",
        )
        return
    for cuda in cudas:
        for part in ("plugin", "pjrt"):
            version = facts.plugins.get(name := f"jax-cuda{cuda}-{part}")
            if version is None:
                yield Problem(f"{name} is not installed, and the other half of it is", _install(cuda))
            elif lib is not None and _release(version) != _release(lib):
                yield Problem(f"{name} {version} does not go with jaxlib {lib}", f"{_PIP} 'jax[cuda{cuda}]=={lib}'")


def _fitting(facts: Facts) -> str:
    """The newest CUDA that the driver can serve; 12 where that is not known."""
    driver = facts.nvidia.driver if facts.nvidia else None
    return max((cuda for cuda, least in DRIVERS.items() if driver and satisfies(driver, f">={least}")), default="12")


def _install(cuda: str) -> str:
    return f"{_PIP} -e '.[cuda{cuda}]'"


def _card(facts: Facts) -> Iterator[Problem]:
    nvidia, cudas, asked = facts.nvidia, _cudas(facts), facts.variables.get("JAX_PLATFORMS", "")
    if nvidia is None:
        if cudas and not facts.probe.trouble and facts.probe.platform == "cpu" and asked != "cpu":
            yield Problem(
                f"a CUDA {cudas[0]} plugin is installed, and no NVIDIA card or driver is to be seen: jax uses the CPU",
                "install the driver, or let the container see the card (docker run --gpus all); without a card: "
                f"python -m pip uninstall {' '.join(facts.plugins)}",
            )
        return
    card = f"{nvidia.cards[0] if nvidia.cards else 'NVIDIA card'}, driver {nvidia.driver or 'unknown'}"
    if nvidia.trouble:
        yield Problem(f"nvidia-smi: {nvidia.trouble}", "reboot, or install the driver anew: it and its tools differ")
    for cuda in cudas if nvidia.driver and len(cudas) == 1 else ():
        if not satisfies(nvidia.driver or "", f">={DRIVERS[cuda]}"):
            older = cuda == "13" and _fitting(facts) == "12" and satisfies(nvidia.driver or "", f">={DRIVERS['12']}")
            fix = f"; or python -m pip uninstall {' '.join(facts.plugins)}, then {_install('12')}" if older else ""
            yield Problem(
                f"{card}: too old for the CUDA {cuda} plugin, which needs {DRIVERS[cuda]}", f"update the driver{fix}"
            )
            return
    if asked.split(",")[0] == "cpu" or facts.probe.trouble or facts.probe.platform != "cpu":
        return
    if not cudas:
        yield Problem(f"{card}, and a jax for CPUs only", _install(_fitting(facts)))
    elif facts.variables.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        yield Problem(f"{card}: hidden by CUDA_VISIBLE_DEVICES, so that jax uses the CPU", "unset CUDA_VISIBLE_DEVICES")
    else:
        libraries = "unset LD_LIBRARY_PATH, which may name other CUDA libraries; if that does not help, "
        yield Problem(
            f"{card}: jax uses the CPU all the same" + (f": {facts.probe.said}" if facts.probe.said else ""),
            (libraries if facts.variables.get("LD_LIBRARY_PATH") else "") + _install(cudas[0]),
        )


def _jax(facts: Facts, explained: bool) -> Iterator[Problem]:
    """That jax does not work, unless what is ``explained`` already is why."""
    probe, asked = facts.probe, facts.variables.get("JAX_PLATFORMS")
    if not probe.trouble:
        return
    what = f"{probe.trouble}: {probe.said}" if probe.said else probe.trouble
    module = re.search(r"No module named '(\w+)", probe.said)
    if "no answer" in probe.trouble or "crashed" in probe.trouble:
        yield Problem(
            what,
            "try JAX_PLATFORMS=cpu python -m lepton_jax.doctor: if all is well then, it is the driver or the plugin of "
            "the card; on a slow disk: --timeout 600",
        )
    elif asked and probe.trouble.startswith("find devices"):
        said = f": {probe.said}" if " " in probe.said else ""
        yield Problem(f"JAX_PLATFORMS={asked}: jax finds no such device{said}", "unset JAX_PLATFORMS")
    elif not explained and module is not None:
        yield Problem(what, f"{_PIP} --force-reinstall '{_brings(module[1], facts)}'")
    elif not explained:
        yield Problem(what, "install anew, in a new virtual environment")


def _brings(module: str, facts: Facts) -> str:
    """The requirement that brings a module: orbax comes with orbax-checkpoint."""
    names = (module, {"PIL": "pillow"}.get(module, module), f"{module}-checkpoint")
    return next((f"{each.name}{each.needed}" for each in facts.packages if each.name in names), module)


def _cache(probe: Probe) -> Iterator[Problem]:
    if probe.cache_trouble:
        yield Problem(
            f"{probe.cache}: compiled programs cannot be kept: {probe.cache_trouble}",
            "make the folder writable, or name another: export XDG_CACHE_HOME=FOLDER",
        )
