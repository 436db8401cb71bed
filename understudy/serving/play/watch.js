// The page to watch recorded games on: a list, the game that is chosen in it, and how to move through its steps.

import { ask } from "./api.js";
import { Board, clock, figure } from "./board.js";
import { announce, find, make, notify } from "./dom.js";

const board = new Board(find("game"));
let list = null, shown = null, timer = null;

window.addEventListener("hashchange", open);
start();

async function start() {
  try {
    list = await ask("GET", "/api/episodes");
  } catch (error) {
    notify(error.message, start);
    return;
  }
  document.title = `${list.name} · understudy`;
  find("title").textContent = list.name;
  const head = ["game", "when", "players", "steps", ...list.agents.map((agent) => `${agent}: return`), "ended"];
  find("episodes").replaceChildren(make("table", {},
    make("thead", {}, make("tr", {}, head.map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, list.episodes.map((one, number) => make("tr", { id: `game-${number}`, onclick: () => { location.hash = number; } },
      make("th", { scope: "row" }, make("button", { type: "button", "aria-label": `Watch game ${number}` }, String(number))),
      make("td", {}, one.time.slice(0, 16).replace("T", " ")),
      make("td", {}, [...new Set(Object.values(one.players))].join(", ")),
      make("td", {}, String(one.steps)),
      one.returns.map((value) => make("td", {}, figure(value))),
      make("td", { class: "long" }, one.ended))))));
  if (list.episodes.length) open();
  else notify("There are no games in this recording yet.");
}

async function open() {
  stop();
  // Without a number the newest one
  const number = /^#\d+$/.test(location.hash) ? Number(location.hash.slice(1)) : list.episodes.length - 1;
  for (const row of document.querySelectorAll("#episodes [aria-current]")) row.removeAttribute("aria-current");
  find(`game-${number}`)?.setAttribute("aria-current", "true");
  find(`game-${number}`)?.scrollIntoView({ block: "nearest" });
  announce(`Game ${number} is loading.`);
  for (const id of ["play", "earlier", "later", "step"]) find(id).disabled = true;
  try {
    shown = await ask("GET", `/api/episodes/${number}`);
  } catch (error) {
    shown = null;
    notify(error.message);
    return;
  }
  notify();
  board.open(shown.scene, shown.palette);
  find("step").max = shown.frames.length - 1;
  for (const id of ["play", "earlier", "later", "step"]) find(id).disabled = false;
  go(0);
  announce(`Game ${number}: ${shown.frames.length - 1} steps.`);
}

/** Show the moment before a step, or the last one. */
function go(step) {
  step = Math.max(0, Math.min(step, shown.frames.length - 1));
  find("step").value = step;
  const frame = shown.frames[step], returns = step ? shown.returns[step - 1] : shown.agents.map(() => 0), { seconds } = shown.scene;
  board.show(frame);
  find("step").setAttribute("aria-valuetext", `step ${step} of ${shown.frames.length - 1}`);
  find("clock").textContent = `${clock(step * seconds)} of ${clock((shown.frames.length - 1) * seconds)}`;
  find("score").textContent = `Return ${[...new Set(returns.map(figure))].join(", ")}`;
  const doings = shown.actions[step]?.map((action, agent) => `${shown.agents[agent]} (${shown.players[shown.agents[agent]] ?? "?"}): ${action}`);
  find("moment").textContent = `Step ${step}. ${doings ? doings.join("; ") : "The end"}.`;
  if (timer === null && frame.said.length) announce(frame.said.map((sentences, agent) => `${shown.agents[agent]}: ${sentences.join(" ")}`).join(" "));
}

const at = () => Number(find("step").value);

function stop() {
  clearInterval(timer);
  timer = null;
  find("play").textContent = "Play";
}

function play() {
  stop();
  if (at() >= shown.frames.length - 1) go(0);
  find("play").textContent = "Pause";
  timer = setInterval(() => {
    go(at() + 1);
    if (at() >= shown.frames.length - 1) stop();
  }, 1000 * shown.scene.seconds / Number(find("speed").value));
}

find("play").addEventListener("click", () => (timer === null ? play() : stop()));
find("earlier").addEventListener("click", () => { stop(); go(at() - 1); });
find("later").addEventListener("click", () => { stop(); go(at() + 1); });
find("step").addEventListener("input", () => { stop(); go(at()); });
find("speed").addEventListener("change", () => { if (timer !== null) play(); });
