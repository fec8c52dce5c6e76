"""The player: its data against the recording, and what a browser makes of it."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from lepton_jax.engine.playback import Playback
from lepton_jax.envs.maze.level import Level, stack
from lepton_jax.envs.maze.text import from_text
from lepton_jax.report import vector
from lepton_jax.report.document import document
from lepton_jax.report.player import PLAYER_SCRIPT, PLAYER_STYLE, episode_names, player, worst_first

MAZES = """\
######
#SKDG#
######

######
#S#  #
#KDG##
#  ###
######
"""
TURNS = ("left", "right", "forward")
NAMES = ["level 1: <b>success</b>", "level 2: failure"]


def locked() -> Playback:
    """Two episodes of an agent with a heading: one fetches the key and arrives, one turns round and round."""
    plain = [level._replace(walls=np.pad(level.walls, ((0, 5 - len(level.walls)), (0, 0)), constant_values=True))
             for level in from_text(MAZES)]  # fmt: skip
    levels = stack(Level(*level) for level in plain)
    rng = np.random.default_rng(0)
    q = rng.normal(size=(2, 4, 3)).astype(np.float32)
    q[0, 3:] = 0
    q[1, 2, 1] = np.nan
    action = np.array([[2, 2, 2, 0], [0, 1, 0, 0]], np.int32)
    return Playback(
        levels=levels,
        cell=np.array([[7, 8, 9, 10, 10], [7, 7, 7, 7, 7]], np.int32),
        heading=np.array([[1, 1, 1, 1, 1], [1, 0, 1, 0, 3]], np.int8),
        held=np.array([[False, True, True, True, True], [False] * 5]),
        q=q,
        action=action,
        reward=np.array([[0, 0, 1, 0], [-0.123456, 0, 0, 0]], np.float32),
        length=np.array([3, 4], np.int32),
        success=np.array([True, False]),
        total=np.array([1, -0.123456], np.float32),
    )


def mapless() -> Playback:
    q = np.array([[[10.0, 20.0], [55.55, -5.0]]], np.float32)
    reward = np.ones((1, 2), np.float32)
    steps, total = np.array([2], np.int32), np.array([2], np.float32)
    return Playback(None, None, None, None, q, np.array([[1, 0]], np.int32), reward, steps, None, total)


def data_of(html: str) -> dict:
    found = re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_the_data_are_those_of_the_recording():
    recorded = locked()
    html = player(recorded, [1, 0], NAMES, TURNS)
    assert "<b>" not in html  # names are escaped in HTML, and cannot end the script
    data = data_of(html)
    assert [episode["name"] for episode in data["episodes"]] == NAMES[::-1]
    for number, episode in zip((1, 0), data["episodes"], strict=True):
        steps = recorded.length[number]
        assert episode["cell"] == recorded.cell[number, : steps + 1].tolist()
        assert episode["heading"] == recorded.heading[number, : steps + 1].tolist()
        assert episode["action"] == recorded.action[number, :steps].tolist()
        values = np.array(episode["q"], float).reshape(steps, 3) / 10 ** data["digits"]
        np.testing.assert_allclose(values, recorded.q[number, :steps], atol=0.6 * 10.0 ** -data["digits"])
    assert data["digits"] == 3  # the largest value is between 1 and 10
    assert data["episodes"][0]["q"][7] is None  # not a number
    assert data["episodes"][0]["reward"] == [-0.1235, 0, 0, 0]
    assert [episode["held"] for episode in data["episodes"]] == [5, 1]  # never, and from step 1 on
    assert [episode["box"] for episode in data["episodes"]] == [[0, 0, 6, 5], [0, 0, 6, 3]]


def test_many_episodes_stay_small():
    steps, cells = 284, 13 * 13
    rng = np.random.default_rng(0)
    walls = np.ones((64, 13, 13), bool)
    walls[:, 1:-1, 1:-1] = rng.random((64, 11, 11)) < 0.5
    walls[:, 1, 1] = False
    many = Playback(
        Level(walls, np.full(64, 14), np.full(64, 14)),
        rng.integers(0, cells, (64, steps + 1)),
        None,
        None,
        rng.random((64, steps, 4), np.float32),
        rng.integers(0, 4, (64, steps)),
        np.zeros((64, steps), np.float32),
        np.full(64, steps),
        np.zeros(64, bool),
        np.zeros(64, np.float32),
    )
    names = episode_names(many, range(64))
    assert len(player(many, range(64), names, ("n", "e", "s", "w"))) < 700_000


def test_wrong_lengths_are_told():
    for order, names, actions in (([0], NAMES[:1], TURNS), ([0], NAMES, TURNS[:2]), ([], NAMES, TURNS)):
        with pytest.raises(ValueError, match="expected a name each, and at least one episode"):
            player(locked(), order, names, actions)


def test_names_and_order():
    recorded = locked()
    assert episode_names(recorded, [0, 6], np.array([3, 9])) == [
        "level 1: success, 3 steps, shortest 3",
        "level 7: failure, 4 steps, shortest 9",
    ]
    assert episode_names(recorded, [1, 0], mazes=["Plain", "Spiral"])[0] == "Spiral: success, 3 steps"
    assert episode_names(mapless(), [4]) == ["episode 5: return 2, 2 steps"]
    assert worst_first(recorded) == [1, 0]
    three = recorded._replace(
        success=np.array([True, False, True, True]), length=np.array([5, 9, 9, 7]), q=np.zeros((4, 9, 3))
    )
    assert worst_first(three, np.array([5, 9, 8, 3])) == [1, 3, 2, 0]  # failure, then 4, 1 and 0 steps too many
    poor = mapless()._replace(success=None, total=np.array([3.0, 1.0, 2.0]))
    assert worst_first(poor) == [1, 2, 0]


def test_what_lies_where_as_vectors():
    level = from_text("#######\n#S ~ G#\n#     #\n#######")[0]
    drawn = vector.maze(level)
    assert "M0 0h7v1h-7z" in drawn  # the upper wall
    assert '<g transform="translate(5 1)"><path class="goal"' in drawn
    assert 'class="lava" shape-rendering="crispEdges" d="M3 1h1v1h-1z"' in drawn
    assert vector.trail([8, 8, 9, 16], 7) == "M1.5 1.5L2.5 1.5L2.5 2.5"
    assert vector.trail([8, 8], 7) == "M1.5 1.5h0"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Both players in one page, at the width of a phone; everything the browser complains of."""
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("there is no Chromium")
    body = player(locked(), [1, 0], NAMES, TURNS, focused=True) + player(mapless(), [0], ["one"], ("push", "pull"))
    file = tmp_path_factory.mktemp("page") / "page.html"
    Path(file).write_text(document("Players", f'{body}<input id="elsewhere">', PLAYER_STYLE, PLAYER_SCRIPT))
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 390, "height": 844})
        shown.complaints = []
        shown.on("console", lambda message: shown.complaints.append(message.text))
        shown.on("pageerror", lambda error: shown.complaints.append(str(error)))
        shown.goto(file.as_uri())
        yield shown
        browser.close()


def step_of(root) -> int:
    return int(root.locator(".scrub").input_value())


def shows(root, recorded: Playback, number: int, step: int) -> None:
    """What is on the page of one step is what was recorded of it."""
    assert step_of(root) == step
    assert int(root.locator(".maze").get_attribute("data-cell")) == recorded.cell[number, step]
    where = root.locator(".agent").evaluate("agent => [agent.style.translate, agent.style.rotate]")
    row, column = divmod(recorded.cell[number, step], 6)
    assert where == [f"{column + 0.5}px {row + 0.5}px", f"{90 * int(recorded.heading[number, step])}deg"]
    told = root.locator(".values .n").all_text_contents()
    if step == recorded.length[number]:
        assert told == ["", "", ""]
        assert root.locator(".chosen").count() == 0
    else:
        q = recorded.q[number, step]
        assert told == [f"{value:.3f}" if np.isfinite(value) else "not finite" for value in q.astype(float)]
        assert root.locator(".chosen th").all_text_contents() == [TURNS[recorded.action[number, step]]]
    assert bool(root.locator(".ground.held").count()) == recorded.held[number, step]


def test_in_a_browser(page):
    recorded, root = locked(), page.locator(".player").first
    shows(root, recorded, 1, 0)
    for step in (3, 2, 4):
        root.locator(".scrub").fill(str(step))
        shows(root, recorded, 1, step)
    # Keys, from wherever in the player the focus is.
    root.locator(".stage").focus()
    for key, number, step in (
        ("Home", 1, 0), ("ArrowLeft", 1, 0), ("ArrowRight", 1, 1), ("End", 1, 4), ("ArrowDown", 0, 0), ("End", 0, 3),
        ("ArrowLeft", 0, 2), ("ArrowLeft", 0, 1), ("ArrowDown", 0, 1), ("ArrowUp", 1, 0), ("ArrowDown", 0, 0),
    ):  # fmt: skip
        page.keyboard.press(key)
        shows(root, recorded, number, step)
    assert root.locator("[aria-current=true]").all_text_contents() == [NAMES[0]]
    # It plays to the end by itself, and stops there.
    page.keyboard.press(" ")
    assert root.locator(".play").get_attribute("aria-label") == "pause"
    root.locator(".play[aria-label=play]").wait_for()
    shows(root, recorded, 0, 3)
    assert "Step 3 of 3: the end, reward 1, return 1" in root.locator(".status").inner_text()
    root.locator(".back").click()
    shows(root, recorded, 0, 2)
    root.locator(".episodes button").last.click()
    root.locator(".episodes button").first.click()
    shows(root, recorded, 1, 0)
    # What is typed elsewhere moves nothing.
    page.locator("#elsewhere").focus()
    page.keyboard.type(" a b")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#elsewhere").input_value() == " a b"
    shows(root, recorded, 1, 0)


def test_in_a_browser_without_a_map(page):
    root = page.locator(".player").last
    assert root.locator(".maze").count() == 0
    assert root.locator(".values .n").all_text_contents() == ["10.00", "20.00"]
    root.locator(".forward").click()
    assert root.locator(".values .n").all_text_contents() == ["55.55", "-5.00"]
    assert root.locator(".chosen th").all_text_contents() == ["push"]
    lines = (
        root.locator(".lanes svg").first.locator("path").evaluate_all("paths => paths.map(p => p.getAttribute('d'))")
    )
    # From -5 at 94 to 55.55 at 6, in the middle of each step; then the line of the present one.
    up = lambda value: f"{94 - 88 * (value + 5) / 60.55:.1f}"
    assert lines == [f"M0.5 {up(10)}L1.5 {up(55.55)}", f"M0.5 {up(20)}L1.5 {up(-5)}", "M1.5 0V100"]
    lane = root.locator(".lanes svg").last
    lane.click(position={"x": lane.bounding_box()["width"] - 2, "y": 5})
    assert step_of(root) == 2  # the third third is the end


def test_the_page_is_usable(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.keyboard.press("Tab")
    for control in page.locator(".player button, .player input, .player select, .player [tabindex='0']").all():
        name = control.evaluate(
            "node => node.getAttribute('aria-label') || node.labels?.[0]?.textContent || node.textContent"
        )
        assert re.search(r"[a-z]{3}", name)
    assert page.locator(".player .episodes [tabindex='0']").count() == 2  # one stop of the Tab key for each list
    assert page.complaints == []
