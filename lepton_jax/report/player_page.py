"""What makes a player of ``report.player`` look and work: CSS and JavaScript, for ``document``."""

from __future__ import annotations

from lepton_jax.report.vector import MAZE_STYLE

PLAYER_STYLE = (
    MAZE_STYLE
    + """\
@media (prefers-color-scheme:dark){.maze .free{fill:#3a424d}.maze .wall{fill:#0b0d10}.maze .trail{stroke:#e59ac4}}
.player{display:none}
.js .player{display:grid;gap:.75rem 1.5rem;grid-template-columns:minmax(0,3fr) minmax(0,2fr);align-items:start;
grid-template-areas:"stage values" "stage episodes" "controls episodes" "times times" "keys keys";
grid-template-rows:auto 1fr auto}
.js .player.mapless{grid-template-rows:auto auto 1fr;
grid-template-areas:"stage episodes" "controls episodes" "values episodes" "times times" "keys keys"}
.player .stage{grid-area:stage;border-radius:6px}
.player .maze{display:block;width:100%;max-height:min(34rem,72vh)}
.player .agent{transition:translate var(--pace,0s) linear}
.player .status{margin:.5rem 0 0;font-variant-numeric:tabular-nums;min-height:3em}
.player .controls{grid-area:controls;display:flex;flex-wrap:wrap;gap:.5rem;align-items:center}
.player .controls button{min-width:2.75rem;min-height:2.5rem;font-size:1.1rem;line-height:1}
.player .scrub{flex:1 1 9rem;min-width:0;min-height:2rem;accent-color:var(--ink0)}
.player .controls label{font-size:.875rem;color:var(--soft);white-space:nowrap}
.player select{font:inherit;color:var(--text);background:var(--shade);border:1px solid var(--rule);border-radius:6px;
padding:.25rem}
.player .values{grid-area:values}
.player .values table{width:100%}
.player .values th,.player .values td{padding:.15rem .5rem .15rem 0;border:0;vertical-align:middle}
.player .values th{font-weight:400}
.player .values .n{min-width:5.5em}
.player .values .track{width:100%;padding-right:.75rem}
.player .track i{display:block;height:.9rem;width:var(--share,0%);min-width:2px;background:var(--faint);
border-radius:2px}
.player .chosen th,.player .chosen .n{font-weight:700}
.player .chosen .track i{background:var(--ink0)}
.player .chosen th::before{content:"\\25b8 "}
.player .values .note{display:flex;justify-content:space-between;margin:.25rem 0 0;max-width:none}
.player .episodes{grid-area:episodes;list-style:none;margin:0;padding:2px;max-height:21rem;overflow:auto;
border:1px solid var(--rule);border-radius:6px;position:relative}
.player .episodes button{display:block;width:100%;text-align:left;background:none;border:0;border-radius:4px;
padding:.4rem .6rem;font-size:.875rem;font-variant-numeric:tabular-nums}
.player .episodes button[aria-current=true]{background:var(--shade);font-weight:700;
box-shadow:inset 3px 0 var(--ink0)}
.player .failed button::before{content:"";display:inline-block;width:.55em;height:.55em;margin-right:.5em;
background:var(--ink1)}
.player .times{grid-area:times;min-width:0}
.player .lanes{display:grid;grid-template-columns:auto minmax(0,1fr);gap:.35rem .6rem;align-items:center;
font-size:.875rem;color:var(--soft)}
.player .lanes svg{display:block;width:100%;background:var(--shade);border-radius:4px;cursor:pointer;touch-action:none}
.player .lanes path{fill:none;vector-effect:non-scaling-stroke;stroke-width:1.5}
.player .lanes .now{stroke:var(--text);stroke-width:1}
.player .key{display:inline-flex;align-items:center;gap:.3rem;margin-right:1rem;white-space:nowrap}
.player .key svg{width:28px;height:10px}.player .key path{stroke-width:2}
.player .ink0{stroke:var(--ink0)}.player .ink1{stroke:var(--ink1);stroke-dasharray:7 2}
.player .ink2{stroke:var(--ink2);stroke-dasharray:2 2}.player .ink3{stroke:var(--ink3);stroke-dasharray:9 3 2 3}
.player .ink4{stroke:var(--ink4);stroke-dasharray:4 2}.player .ink5{stroke:var(--ink5);stroke-dasharray:12 3}
.player .ink6{stroke:var(--ink6);stroke-dasharray:1 3}.player .ink7{stroke:var(--ink7);stroke-dasharray:6 2 1 2 1 2}
.player .lanes .marks{stroke:var(--ink0);stroke-width:2}
.player .keys{grid-area:keys;margin:0;max-width:none}
@media (max-width:700px){.js .player,.js .player.mapless{grid-template-columns:minmax(0,1fr);grid-template-rows:none;
grid-template-areas:"stage" "controls" "values" "episodes" "times" "keys"}.player .episodes{max-height:12rem}
.player .episodes button{padding:.6rem}}
@media (prefers-reduced-motion:reduce){.player .agent{transition:none}}
"""
)

# A step t from 0 to the length of the episode: before the t-th action; at the last one there is no action any more.
PLAYER_SCRIPT = """\
for (const root of document.querySelectorAll(".player")) {
  const find = (query) => root.querySelector(query);
  const data = JSON.parse(find("script").textContent);
  const scrub = find(".scrub"), play = find(".play"), status = find(".status"), map = find(".maze");
  const buttons = [...root.querySelectorAll(".episodes button")], rows = [...root.querySelectorAll(".values tr")];
  const width = data.actions.length, unit = 10 ** data.digits;
  const number = (value) => value === null ? "not finite" : (value / unit).toFixed(data.digits);
  let chosen = -1, episode, length, step = 0, timer = null, low = 0, high = 1, cursors = [];

  const values = (t) => episode.q.slice(t * width, (t + 1) * width);
  const svg = (parent, name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    parent.append(made);
    return made;
  };

  const trail = (cells) => {
    const kept = cells.filter((cell, k) => k === 0 || cell !== cells[k - 1]);
    const points = kept.map((cell) => `${cell % episode.width}.5 ${Math.floor(cell / episode.width)}.5`);
    return "M" + points.join("L") + (kept.length === 1 ? "h0" : "");
  };

  const drawMap = (t) => {
    const cell = episode.cell[t], x = cell % episode.width + .5, y = Math.floor(cell / episode.width) + .5;
    const agent = find(".agent").style;
    agent.translate = `${x}px ${y}px`;
    agent.rotate = `${episode.heading ? 90 * episode.heading[t] : 0}deg`;
    find(".trail").setAttribute("d", trail(episode.cell.slice(0, t + 1)));
    find(".ground").classList.toggle("held", "held" in episode && t >= episode.held);
    const place = `row ${Math.floor(y) + 1}, column ${Math.floor(x) + 1}`;
    map.setAttribute("aria-label", `map; the agent is at ${place}`);
    map.dataset.cell = cell;
  };

  const say = (t) => {
    const earned = episode.reward.slice(0, t).reduce((sum, reward) => sum + reward, 0);
    const next = t < length ? `: ${data.actions[episode.action[t]]}` : ": the end";
    const got = t > 0 ? `, reward ${episode.reward[t - 1]}, return ${Number(earned.toFixed(4))}` : "";
    return `${episode.name}. Step ${t} of ${length}${next}${got}`;
  };

  const show = (t) => {
    step = Math.min(Math.max(t, 0), length);
    if (map) drawMap(step);
    // While it plays, a screen reader is not told each step.
    status.setAttribute("aria-live", timer === null ? "polite" : "off");
    status.textContent = say(step);
    scrub.value = step;
    scrub.setAttribute("aria-valuetext", `step ${step} of ${length}`);
    const at = values(step);
    rows.forEach((row, k) => {
      const value = step < length ? at[k] : undefined;
      const share = typeof value !== "number" ? 0 : high > low ? (value - low) / (high - low) : 1;
      row.classList.toggle("chosen", step < length && k === episode.action[step]);
      row.querySelector("i").style.setProperty("--share", `${100 * share}%`);
      row.cells[2].textContent = value === undefined ? "" : number(value);
    });
    for (const cursor of cursors) cursor.setAttribute("d", `M${step + .5} 0V100`);
  };

  const stop = () => {
    clearInterval(timer);
    timer = null;
    root.style.removeProperty("--pace");
    play.textContent = "\\u25b6";
    play.setAttribute("aria-label", "play");
    show(step);
  };
  const start = () => {
    clearInterval(timer);
    const seconds = 1 / Number(find(".speed").value);
    timer = setInterval(() => step < length ? show(step + 1) : stop(), 1000 * seconds);
    root.style.setProperty("--pace", `${seconds}s`);
    play.textContent = "\\u275a\\u275a";
    play.setAttribute("aria-label", "pause");
    show(step < length ? step : 0);
  };
  const toggle = () => timer === null ? start() : stop();
  const go = (t) => { if (timer !== null) stop(); show(t); };

  // A lane is a picture of the whole episode, one unit a step and a hundred high; a click goes to the step.
  const lane = (lanes, name, height, paths) => {
    const label = document.createElement("span");
    label.textContent = name;
    lanes.append(label);
    const box = {viewBox: `0 0 ${length + 1} 100`, preserveAspectRatio: "none", height, role: "img"};
    const made = svg(lanes, "svg", {...box, "aria-label": `${name} over the episode`});
    for (const [kind, d] of paths) svg(made, "path", {class: kind, d});
    cursors.push(svg(made, "path", {class: "now"}));
    const seek = (event) => {
      const area = made.getBoundingClientRect();
      go(Math.floor((event.clientX - area.left) / area.width * (length + 1)));
    };
    made.addEventListener("pointerdown", seek);
    made.addEventListener("pointermove", (event) => { if (event.buttons) seek(event); });
  };

  const drawLanes = () => {
    const lanes = find(".lanes"), key = find(".times figcaption");
    lanes.replaceChildren();
    key.replaceChildren();
    cursors = [];
    const up = (value, from, to) => to > from ? 94 - 88 * (value - from) / (to - from) : 50;
    const lines = data.actions.map((name, k) => {
      let to = "M";
      const d = Array.from({length}, (_, t) => {
        const value = episode.q[t * width + k];
        if (value === null) { to = "M"; return ""; }
        const point = `${to}${t + .5} ${up(value, low, high).toFixed(1)}`;
        to = "L";
        return point;
      }).join("");
      const item = document.createElement("span");
      item.className = "key";
      const pen = svg(item, "svg", {viewBox: "0 0 28 10", "aria-hidden": "true"});
      svg(pen, "path", {class: `ink${k % 8}`, d: "M1 5H27"});
      item.append(name);
      key.append(item, " ");
      return [`ink${k % 8}`, d];
    });
    lane(lanes, "Q", map ? 90 : 160, lines);
    const row = 100 / width;
    const taken = episode.action.map((action, t) => `M${t} ${((action + .5) * row).toFixed(1)}h1`).join("");
    lane(lanes, "action", Math.max(40, Math.min(12 * width, 110)), [["marks", taken]]);
    const known = episode.reward.filter((reward) => reward !== null);
    const from = Math.min(0, ...known), to = Math.max(0, ...known), zero = up(0, from, to);
    const bar = (reward, t) => reward ? `M${t + .5} ${zero}V${up(reward, from, to)}` : "";
    lane(lanes, "reward", 40, [["marks", episode.reward.map(bar).join("")]]);
  };

  const choose = (k) => {
    const next = Math.min(Math.max(k, 0), buttons.length - 1);
    if (next === chosen) return;
    if (timer !== null) stop();
    chosen = next;
    episode = data.episodes[next];
    length = episode.action.length;
    scrub.max = length;
    buttons.forEach((button, at) => {
      button.setAttribute("aria-current", String(at === next));
      button.tabIndex = at === next ? 0 : -1;
    });
    const list = find(".episodes"), button = buttons[next];
    if (button.offsetTop < list.scrollTop) list.scrollTop = button.offsetTop;
    const below = button.offsetTop + button.offsetHeight - list.clientHeight;
    if (below > list.scrollTop) list.scrollTop = below;
    const finite = episode.q.filter((value) => value !== null);
    low = finite.reduce((a, b) => Math.min(a, b), Infinity);
    high = finite.reduce((a, b) => Math.max(a, b), -Infinity);
    find(".low").textContent = finite.length ? number(low) : "";
    find(".high").textContent = finite.length ? number(high) : "";
    if (map) {
      map.setAttribute("viewBox", episode.box.join(" "));
      find(".ground").innerHTML = episode.map;
    }
    drawLanes();
    show(0);
  };

  play.addEventListener("click", toggle);
  find(".back").addEventListener("click", () => go(step - 1));
  find(".forward").addEventListener("click", () => go(step + 1));
  scrub.addEventListener("input", () => go(Number(scrub.value)));
  find(".speed").addEventListener("change", () => { if (timer !== null) start(); });
  buttons.forEach((button, k) => button.addEventListener("click", () => choose(k)));

  const keys = {
    " ": toggle,
    ArrowLeft: () => go(step - 1), ArrowRight: () => go(step + 1),
    ArrowUp: () => choose(chosen - 1), ArrowDown: () => choose(chosen + 1),
    Home: () => go(0), End: () => go(length),
  };
  // Only of who is within the player; a button keeps its space, a choice of speed all of its keys.
  root.addEventListener("keydown", (event) => {
    const on = event.target, press = keys[event.key];
    if (!press || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey || on.matches("select")) return;
    if (event.key === " " && on.matches("button")) return;
    event.preventDefault();
    press();
    if (on.matches(".episodes button")) buttons[chosen].focus();
  });
  choose(0);
}
"""
