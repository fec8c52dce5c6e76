"""The doctor: on machines that are described to it, and on this one with something taken away."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lepton_jax
from lepton_jax import doctor
from lepton_jax.engine import installation
from lepton_jax.engine.diagnosis import diagnose, satisfies
from lepton_jax.engine.installation import Facts, Nvidia, Package, Probe, parse_requirement, probe

ROOT = Path(lepton_jax.__file__).parent.parent
JAX, SIX = Package("jax", ">=0.10.2,<0.12", "0.10.2"), Package("six", ">=1.16", "1.17.0")
WELL = Facts(
    version="0.1.0",
    python="3.12.1",
    python_needed=">=3.11,<3.14",
    system="Linux",
    packages=(JAX, SIX),
    extras={"data": (Package("pyarrow", ">=18", None),)},
    jaxlib=Package("jaxlib", "<=0.10.2,>=0.10.1", "0.10.2"),
    plugins={},
    nvidia=None,
    variables={},
    threads=2,
    memory=2**34,
    probe=Probe("", "", ("cpu: cpu",), "cpu", "/cache"),
)
CUDA12 = {"jax-cuda12-pjrt": "0.10.2", "jax-cuda12-plugin": "0.10.2"}
CUDA13 = {"jax-cuda13-pjrt": "0.10.2", "jax-cuda13-plugin": "0.10.2"}
CARD, OLD, OLDER = (Nvidia(("NVIDIA H100",), driver) for driver in ("580.95.05", "550.54.14", "470.10"))
ON_GPU = Probe("", "", ("gpu: NVIDIA H100",), "gpu", "/cache")
AWAY = "python -m pip uninstall"
INSTALL12, INSTALL13 = ("python -m pip install -e '.[cuda12]'", "python -m pip install -e '.[cuda13]'")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"nvidia": CARD, "plugins": CUDA13, "probe": ON_GPU},
        {"nvidia": OLD, "plugins": CUDA12, "probe": ON_GPU},
        {"nvidia": CARD, "variables": {"JAX_PLATFORMS": "cpu"}},  # as it was asked for
        {"nvidia": CARD, "plugins": CUDA13, "variables": {"JAX_PLATFORMS": "cpu"}},
    ],
)
def test_machines_that_are_well(changes):
    assert diagnose(WELL._replace(**changes)) == []


@pytest.mark.parametrize(
    ("changes", "what", "fix"),
    [
        ({"python": "3.10.2"}, "Python 3.10.2: lepton_jax needs >=3.11,<3.14", "another Python"),
        ({"packages": (JAX, SIX._replace(found=None)), "probe": Probe("import lepton_jax: failed",
          "ModuleNotFoundError: No module named 'six'")},
         "six is not installed; lepton_jax needs >=1.16", "python -m pip install 'six>=1.16'"),
        ({"probe": Probe("import lepton_jax: failed", "ModuleNotFoundError: No module named 'six'")},
         "import lepton_jax: failed: ModuleNotFoundError", "--force-reinstall 'six>=1.16'"),
        ({"packages": (JAX._replace(found="0.12.0"), SIX), "jaxlib": Package("jaxlib", "<=0.12.0,>=0.12.0", "0.12.0")},
         "jax 0.12.0 is installed; lepton_jax needs >=0.10.2,<0.12", "python -m pip install 'jax>=0.10.2,<0.12'"),
        ({"packages": (JAX._replace(found="0.4.30"), SIX)}, "jax 0.4.30 is installed", "'jax>=0.10.2,<0.12'"),
        ({"jaxlib": Package("jaxlib", "<=0.10.2,>=0.10.1", "0.9.0")},
         "jaxlib 0.9.0 does not go with jax 0.10.2, which needs <=0.10.2,>=0.10.1", "'jaxlib<=0.10.2,>=0.10.1'"),
        ({"jaxlib": Package("jaxlib", ">=0.10.1", None)}, "jaxlib is not installed beside jax 0.10.2", "'jaxlib>="),
        ({"nvidia": CARD}, "NVIDIA H100, driver 580.95.05, and a jax for CPUs only", INSTALL13),
        ({"nvidia": OLD}, "driver 550.54.14, and a jax for CPUs only", INSTALL12),
        ({"nvidia": CARD, "plugins": CUDA12 | CUDA13, "probe": ON_GPU}, "both CUDA plugins",
         f"{AWAY} jax-cuda12-pjrt jax-cuda12-plugin, then {INSTALL13}"),
        ({"nvidia": OLD, "plugins": CUDA12 | CUDA13, "probe": ON_GPU}, "both CUDA plugins",
         f"{AWAY} jax-cuda13-pjrt jax-cuda13-plugin, then {INSTALL12}"),
        ({"nvidia": OLD, "plugins": CUDA13}, "too old for the CUDA 13 plugin, which needs 580.65.06",
         f"update the driver; or {AWAY} jax-cuda13-pjrt jax-cuda13-plugin, then {INSTALL12}"),
        ({"nvidia": OLDER, "plugins": CUDA13}, "too old for the CUDA 13 plugin", "update the driver"),
        ({"nvidia": OLDER, "plugins": CUDA12}, "too old for the CUDA 12 plugin, which needs 525.60.13", "update"),
        ({"nvidia": CARD, "plugins": CUDA13 | {"jax-cuda13-plugin": "0.10.1"}, "probe": ON_GPU},
         "jax-cuda13-plugin 0.10.1 does not go with jaxlib 0.10.2", "'jax[cuda13]==0.10.2'"),
        ({"nvidia": CARD, "plugins": {"jax-cuda13-plugin": "0.10.2"}, "probe": ON_GPU},
         "jax-cuda13-pjrt is not installed", INSTALL13),
        ({"nvidia": CARD, "plugins": CUDA13, "probe": WELL.probe._replace(said="cuInit failed")},
         "jax uses the CPU all the same: cuInit failed", INSTALL13),
        ({"nvidia": CARD, "plugins": CUDA13, "variables": {"LD_LIBRARY_PATH": "/cuda"}}, "uses the CPU all the same",
         "unset LD_LIBRARY_PATH"),
        ({"nvidia": CARD, "plugins": CUDA13, "variables": {"CUDA_VISIBLE_DEVICES": ""}}, "hidden by CUDA_VISIBLE",
         "unset CUDA_VISIBLE_DEVICES"),
        ({"nvidia": CARD._replace(trouble="Driver/library version mismatch"), "plugins": CUDA13, "probe": ON_GPU},
         "nvidia-smi: Driver/library version mismatch", "reboot"),
        ({"plugins": CUDA12}, "a CUDA 12 plugin is installed, and no NVIDIA card", "--gpus all"),
        ({"variables": {"JAX_PLATFORMS": "cuda"}, "probe": Probe("find devices: failed", "AssertionError")},
         "JAX_PLATFORMS=cuda: jax finds no such device", "unset JAX_PLATFORMS"),
        ({"probe": Probe("find devices: crashed with SIGSEGV", "")}, "find devices: crashed with SIGSEGV",
         "JAX_PLATFORMS=cpu"),
        ({"probe": Probe("find devices: no answer in 120 s", "")}, "no answer in 120 s", "--timeout 600"),
        ({"probe": Probe("compile and run a program: failed", "XlaRuntimeError: ptxas")},
         "compile and run a program: failed: XlaRuntimeError: ptxas", "new virtual environment"),
        ({"probe": WELL.probe._replace(cache_trouble="Permission denied")},
         "/cache: compiled programs cannot be kept: Permission denied", "XDG_CACHE_HOME"),
        ({"packages": ()}, "neither installed nor a checkout", "pip install -e ."),
    ],
)  # fmt: skip
def test_a_broken_machine_has_one_problem_and_its_fix(changes, what, fix):
    (problem,) = diagnose(WELL._replace(**changes))
    assert what in problem.what
    assert fix in problem.fix
    assert "\n" not in f"{problem.what}{problem.fix}"


def test_versions_against_an_independent_reader():
    specifiers = pytest.importorskip("packaging.specifiers")
    for needed in (
        "",
        ">=0.10.2,<0.12",
        "<=0.10.2,>=0.10.1",
        "==1.2",
        "==1.2.*",
        "!=1.2.*",
        "~=1.2.3",
        ">1,!=1.5",
        "==1.2.0",
    ):
        for version in (
            "0.9",
            "0.10",
            "0.10.1",
            "0.10.2",
            "0.10.10",
            "0.11.9",
            "0.12",
            "1",
            "1.2",
            "1.2.0",
            "1.2.7",
            "1.5",
        ):
            assert satisfies(version, needed) == specifiers.SpecifierSet(needed).contains(version), (version, needed)
    assert satisfies("0.10.2+cuda12", ">=0.10.2")


def test_requirements_as_they_are_written():
    assert parse_requirement("six>=1.16") == (None, "six", ">=1.16")
    assert parse_requirement("jax <0.12, >=0.10.2") == (None, "jax", "<0.12,>=0.10.2")
    assert parse_requirement("jax[cuda12]<0.12,>=0.10.2; extra == 'cuda'") == ("cuda", "jax-cuda12-plugin", "")
    assert parse_requirement('pyright[nodejs]==1.1; extra == "test"') == ("test", "pyright", "==1.1")


def test_what_is_needed_is_known_without_a_checkout(monkeypatch, tmp_path):
    monkeypatch.setattr(installation, "_ROOT", tmp_path)
    python, needed = installation._requirements()  # of the installed package's metadata
    assert satisfies("3.12.0", python)
    assert (None, "six", ">=1.16") in needed
    assert ("cuda13", "jax-cuda13-plugin", "") in needed


def test_this_machine_is_well(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "kept"))
    doctor.main(["--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["well"]
    assert told["probe"]["platform"] == "cpu"
    assert told["probe"]["cache"] == str(tmp_path / "kept")
    assert told["packages"]["six"]["found"]
    assert told["jaxlib"]["needed"]
    assert told["threads"] >= 1


def test_who_averages_gradients_is_told():
    slower = WELL._replace(probe=WELL.probe._replace(native_trouble="no C compiler"))
    assert "gradients  averaged over cores in C" in doctor.lines(WELL, [])
    assert any("by XLA (no C compiler)" in line for line in doctor.lines(slower, diagnose(slower)))
    assert not diagnose(slower)  # all the same, it learns


def test_as_a_person_reads_it():
    broken = WELL._replace(packages=(JAX, SIX._replace(found=None)), nvidia=CARD, plugins=CUDA13, probe=ON_GPU)
    text = doctor.lines(broken, diagnose(broken))
    assert any(line.split() == ["six", "missing", "WRONG", ">=1.16"] for line in text)
    assert any(line.split() == ["jax", "0.10.2", "ok", ">=0.10.2,<0.12"] for line in text)
    assert "NVIDIA     NVIDIA H100, driver 580.95.05" in text
    assert "jax sees   1 x gpu: NVIDIA H100" in text
    assert text[-3:] == [
        "1. six is not installed; lepton_jax needs >=1.16", "   fix: python -m pip install 'six>=1.16'", "1 wrong"
    ]  # fmt: skip
    assert doctor.lines(WELL, [])[-1] == "all is well"


def without(names: list[str], tmp_path: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """The doctor where these modules cannot be imported, in its own process and in the one that it starts."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {names!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
    )
    return subprocess.run(
        [sys.executable, "-m", "lepton_jax", "doctor", *argv], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "JAX_PLATFORMS": "cpu"}, cwd=tmp_path,
    )  # fmt: skip


def test_it_answers_where_nothing_can_be_imported(tmp_path):
    done = without(["jax", "jaxlib", "numpy", "scipy", "flax", "tyro", "rich", "gymnax", "optax", "six"], tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stderr == ""
    assert "import jax: failed: ModuleNotFoundError: No module named 'jax'" in done.stdout
    assert done.stdout.endswith("   fix: python -m pip install --force-reinstall 'jax>=0.10.2,<0.12'\n1 wrong\n")


def test_a_missing_six_is_named(tmp_path):
    done = without(["six"], tmp_path, "--json")
    assert done.returncode == 1, done.stderr
    (problem,) = json.loads(done.stdout)["problems"]
    assert problem["what"].endswith("No module named 'six'")
    assert "'six>=1.16'" in problem["fix"]


@pytest.mark.parametrize(
    ("jax", "timeout", "trouble", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 60, "import jax: crashed with SIGSEGV", ""),
        ("import time; time.sleep(60)", 0.5, "import jax: no answer in 0.5 s", ""),
        ("raise OSError('no libcuda')", 60, "import jax: failed", "OSError: no libcuda"),
        ("devices = lambda: 1 / 0", 60, "find devices: failed", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_jax_that_breaks_breaks_alone(jax, timeout, trouble, said, tmp_path, monkeypatch):
    (tmp_path / "jax.py").write_text(jax)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert probe(timeout) == Probe(trouble, said)


def test_nvidia_cards_as_their_tools_tell(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H100 80GB, 580.95.05'\necho 'NVIDIA L4, 580.95.05'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert installation.find_nvidia() == Nvidia(("NVIDIA H100 80GB", "NVIDIA L4"), "580.95.05")


def test_memory_is_what_the_control_groups_leave(tmp_path):
    def system(groups: str, limits: dict[str, str]) -> Path:
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        files = {"proc/self/cgroup": groups} | {f"sys/fs/cgroup/{name}": text for name, text in limits.items()}
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        return root

    whole = installation.usable_memory(tmp_path / "nothing")
    assert whole == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    told = lambda groups, limits: installation.usable_memory(system(groups, limits))
    assert told("0::/\n", {"memory.max": "1000\n"}) == 1000
    assert told("0::/\n", {"memory.max": "max\n"}) == whole
    nested = {"job/memory.max": "2000\n", "job/step/memory.max": "max\n", "other/memory.max": "1\n"}
    assert told("0::/job/step\n", nested) == 2000  # a limit of the group around it
    old = {"memory/slurm/memory.limit_in_bytes": "3000\n", "memory/memory.limit_in_bytes": "9223372036854771712\n"}
    assert told("5:cpu,memory:/slurm\n4:cpuset:/\n", old) == 3000
    assert told("5:memory:/docker/1a2b\n", {"memory/memory.limit_in_bytes": "4000\n"}) == 4000  # named from outside


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen here")
def test_cores_are_those_that_may_be_used():
    told = "import os; from lepton_jax.engine.installation import usable_cores; print(usable_cores())"
    pinned = f"import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); {told}"
    for code, expected in ((told, len(os.sched_getaffinity(0))), (pinned, 1)):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
        assert int(done.stdout) == expected


def test_its_flags(capsys):
    with pytest.raises(SystemExit) as end:
        doctor.main(["--timeout", "0"])
    assert end.value.code == 2
    assert "expected more than 0" in capsys.readouterr().err
