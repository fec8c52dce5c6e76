"""The command that shows how a policy plays, on runs that have learned nothing."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from lepton_jax import watch
from lepton_jax.config import ConfigError
from lepton_jax.engine import checkpoint
from lepton_jax.engine.folder import RunFolder
from lepton_jax.engine.launch import runnable
from lepton_jax.engine.playback import Playback
from lepton_jax.engine.program import make_hypers, program_shape
from lepton_jax.engine.setup import make_setup
from lepton_jax.envs.maze.level import LevelError
from lepton_jax.presets import from_preset
from lepton_jax.settings import overlay
from lepton_jax.validate import validate

TINY = {
    "env": {"num_envs": 16, "levels": 32, "time_limit": 9},
    "net": {"width": 8, "depth": 1},
    "replay": {"batch_size": 32},
    "eval": {"episodes": 5, "test_levels": 8},
}  # fmt: skip
CORRIDORS = "#####\n#S G#\n#####\n\n#####\n#  G#\n# # #\n# S #\n#####\n"


def run_of(folder: Path, **env: object) -> Path:
    """A run folder with the policy with which a run begins."""
    config = validate(overlay(overlay(from_preset("quick"), TINY, "tiny"), {"env": env}, "test"))
    setup, hypers = make_setup(config), make_hypers(config, program_shape(config))
    init = lambda: setup.agent.init(jax.random.key(3), setup.env.observation, setup.env.num_actions, hypers)
    folder.mkdir()
    (folder / "config.toml").write_text(runnable(config))
    policy = checkpoint.to_host(setup.agent.policy(jax.jit(init)()))
    checkpoint.write(RunFolder(folder).policy("final"), policy, {"env_steps": 1234})
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("watch")
    run_of(place / "run")
    (place / "own.txt").write_text(CORRIDORS)
    return place


def test_all_files_at_once_and_the_text(place, capsys):
    run, out = str(place / "run"), {kind: place / f"out.{kind}" for kind in ("gif", "png", "svg", "html")}
    flags = [str(part) for kind, path in out.items() for part in (f"--{kind}", path)]
    watch.main([run, "--levels", str(place / "own.txt"), "--episodes", "2", *flags])
    assert capsys.readouterr().out.splitlines() == [f"{path}: 2 episodes" for path in out.values()]
    with Image.open(out["gif"]) as film:
        assert film.format == "GIF"
    with Image.open(out["png"]) as picture:
        assert picture.format == "PNG"
    assert out["svg"].read_text().startswith("<svg ")
    page = out["html"].read_text()
    data = json.loads(page.split('<script type="application/json">')[1].split("</script>")[0])
    assert data["actions"] == ["north", "east", "south", "west"]
    assert "1,234 env-steps: 2 of 2 episodes on" in page
    assert "<script src" not in page
    # Piped: a line and the last picture of each, without escapes. One level alone is what it is among all.
    watch.main([run, "--levels", str(place / "own.txt"), "--level", "2"])
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    lines = shown.splitlines()
    assert lines[0] == f"final policy of {run}, 1,234 env-steps: 1 of 2 episodes on {place / 'own.txt'}"
    assert lines[1] == ""
    assert lines[2].startswith("level 2: ")
    assert lines[2].endswith(", shortest 4") or lines[2].endswith(", shortest 3")
    assert lines[3] == lines[-1] == "##########"
    assert len(lines) == 3 + 5
    assert shown.count("@") == 1
    last = next(e for e in data["episodes"] if e["name"] == lines[2])["cell"][-1]
    assert lines[3 + last // 7][2 * (last % 7)] == "@"


def test_in_a_terminal_it_moves(place):
    """Every step is drawn over the one before."""
    mine, its = pty.openpty()
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r}); from lepton_jax import watch; "
        f"watch._FPS = 1000; watch.main([{str(place / 'run')!r}, '--levels', {str(place / 'own.txt')!r}, "
        "'--level', '1'])"
    )
    env = os.environ | {"TERM": "xterm-256color", "NO_COLOR": ""}
    with subprocess.Popen([sys.executable, "-c", code], stdout=its, env=env) as process:
        os.close(its)
        seen = b""
        try:
            while part := os.read(mine, 4096):
                seen += part
        except OSError:  # the other end has been closed
            pass
        assert process.wait(60) == 0
    os.close(mine)
    text = seen.decode()
    told = re.search(r"level 1: \w+, (\d+) steps?,", text)
    assert told is not None
    steps = int(told[1])
    assert text.count("\x1b[3A") == steps  # three lines up, before every picture but the first
    assert "\x1b[48;5;" in text  # in colour


def test_worlds_without_maps(place, capsys):
    run = run_of(place / "cart", id="CartPole-v1", time_limit=0)
    watch.main([str(run), "--html", str(place / "cart.html")])
    assert "action 1" in (place / "cart.html").read_text()
    one = np.ones((1, 2), np.float32)
    recorded = Playback(None, None, None, None, one[..., None], one.astype(int), one, np.array([2]), None, one.sum(1))
    watch.show(watch.Watched(recorded, ["episode 3: return 2, 2 steps"], ("up",), [0], "a title"))
    assert capsys.readouterr().out.splitlines()[1:] == ["a title", "", "episode 3: return 2, 2 steps"]
    for kind in ("gif", "png", "svg"):
        with pytest.raises(ConfigError, match=rf"--{kind}: CartPole-v1 has no pictures; --html"):
            watch.main([str(run), f"--{kind}", str(place / f"x.{kind}")])
        assert not (place / f"x.{kind}").exists()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["run", "--gif", "movie.mp4"], "--gif movie.mp4: expected a name that ends in .gif"),
        (["run", "--html", "no/page.html"], "--html no/page.html: there is no folder no"),
        (["run", "--svg", "folder.svg"], "--svg folder.svg: is a folder"),
        (["run", "--episodes", "0"], "--episodes 0: expected 1 to 256"),
        (["run", "--level", "0"], "--level 0: expected 1 or more"),
        (["run", "--level", "9"], "--level 9: test has 8 levels; choose 1 to 8"),
        (["run", "--episodes", "3", "--levels", "own.txt"], "--episodes 3: own.txt has 2 levels; choose 1 to 2"),
        (["nowhere"], "nowhere is no run folder"),
        (["run", "--policy", "best"], "run holds no checkpoint yet"),
        (["run", "--size", "9"], "--size 9: observations of shape"),
    ],
)
def test_mistakes_are_told(place, monkeypatch, argv, words):
    monkeypatch.chdir(place)
    (place / "folder.svg").mkdir(exist_ok=True)
    with pytest.raises(ConfigError) as told:
        watch.main(argv)
    assert words in str(told.value)
    assert "\n" not in str(told.value)


def test_levels_that_cannot_be_played(place, monkeypatch):
    monkeypatch.chdir(place)
    (place / "bad.txt").write_text("#####\n#S#G#\n#####\n")
    with pytest.raises(LevelError, match=r"bad\.txt: level 1"):
        watch.main(["run", "--levels", "bad.txt"])


def test_help_needs_no_jax():
    code = (
        "import sys; sys.modules['jax'] = None; from lepton_jax import watch\n"
        "try: watch.main(['--help'])\nexcept SystemExit as end: sys.exit(end.code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "example: python -m lepton_jax.watch" in done.stdout
