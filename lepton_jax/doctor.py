"""Says what is installed, what jax sees, and what is wrong: ``python -m lepton_jax.doctor``.

Works where jax, or anything else, cannot be imported: the standard library alone is.
"""

from __future__ import annotations

import argparse
import json
import sys

from lepton_jax.engine.diagnosis import Problem, diagnose, package_fits
from lepton_jax.engine.installation import Facts, gather

_PROG = "python -m lepton_jax.doctor"


def main(argv: list[str]) -> None:
    """Parses, looks around, prints; SystemExit 1 if something is wrong."""
    parser = argparse.ArgumentParser(
        prog=_PROG,
        description="Say which versions are installed and which are needed, what jax sees of this machine, and what is "
        "wrong, with the fix. jax runs in a process of its own. The status is 0 when all is well, else 1.",
        epilog=f"example: {_PROG} --json",
        allow_abbrev=False,
    )
    parser.add_argument("--timeout", type=float, default=120.0, metavar="S", help="seconds for jax (default: 120)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
    if not args.timeout > 0:
        parser.error(f"--timeout {args.timeout:g}: expected more than 0")
    facts = gather(args.timeout)
    problems = diagnose(facts)
    print(json.dumps(as_json(facts, problems), indent=1) if args.json else "\n".join(lines(facts, problems)))
    if problems:
        sys.exit(1)


def lines(facts: Facts, problems: list[Problem]) -> list[str]:
    """Facts and problems, for people."""
    probe, nvidia = facts.probe, facts.nvidia
    listed = [*facts.packages, facts.jaxlib]
    wide = max(len(package.name) for package in listed)
    text = [f"lepton_jax {facts.version}, Python {facts.python} ({facts.python_needed}), {facts.system}", ""]
    for package in sorted(listed):
        mark = "ok" if package_fits(package) else "WRONG"
        text.append(f"{package.name:<{wide}}  {package.found or 'missing':<10}  {mark:<5}  {package.needed}")
    here = lambda name: "yes" if all(map(package_fits, facts.extras[name])) else "no"
    text += ["", "extras     " + ", ".join(f"{name} {here(name)}" for name in facts.extras)]
    memory = f"{facts.memory / 2**30:.1f} GiB" if facts.memory else "unknown"
    text += [f"machine    {facts.threads} threads, {memory} of memory"]
    text += [f"NVIDIA     {', '.join(nvidia.cards) or 'a card'}, driver {nvidia.driver or 'unknown'}"] if nvidia else []
    text += [f"plugins    {', '.join(f'{name} {version}' for name, version in facts.plugins.items())}"] * bool(
        facts.plugins
    )
    seen = {device: probe.devices.count(device) for device in probe.devices}
    devices = ", ".join(f"{count} x {device}" for device, count in seen.items())
    text += [f"jax sees   {devices}" if not probe.trouble else f"jax        {probe.trouble}"]
    text += [f"cache      {probe.cache}, {probe.cache_trouble or 'can be written'}"] * (probe.cache is not None)
    if probe.platform == "cpu":
        slower = f"by XLA ({probe.native_trouble}): small networks learn slower than they could"
        text += [f"gradients  averaged over cores {slower if probe.native_trouble else 'in C'}"]
    text += [f"{name}={value}" for name, value in facts.variables.items()]
    text += [""]
    for number, problem in enumerate(problems, 1):
        text += [f"{number}. {problem.what}", f"   fix: {problem.fix}"]
    return [*text, f"{len(problems)} wrong" if problems else "all is well"]


def as_json(facts: Facts, problems: list[Problem]) -> dict[str, object]:
    """Facts and problems, for programs."""
    probe, nvidia = facts.probe, facts.nvidia
    return facts._asdict() | {
        "packages": {package.name: package._asdict() for package in facts.packages},
        "extras": {name: all(map(package_fits, packages)) for name, packages in facts.extras.items()},
        "jaxlib": facts.jaxlib._asdict(),
        "nvidia": None if nvidia is None else nvidia._asdict(),
        "probe": probe._asdict(),
        "problems": [problem._asdict() for problem in problems],
        "well": not problems,
    }


if __name__ == "__main__":
    main(sys.argv[1:])
