// The page to play on: what the server tells is shown, and what the keys do is told to the server.

import { ask, keyProtocol } from "./api.js";
import { Board, clock, figure } from "./board.js";
import { announce, find, make, notify } from "./dom.js";

const SEAT = "understudy-seat", NAME = "understudy-name";
const ELSEWHERE = 4001, TOO_MUCH = 1008, FULL = 1013;
const SHOWN = { " ": "Space", ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→" };

let socket = null, game = null, room = null, over = null, presses = 0, pressed = new Map(), said = [], saidAt = 0;
const board = new Board(find("game"), noteLatency);
const send = (message) => { if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message)); };
const playing = () => room?.state === "playing" && room.you !== null;

connect();

async function connect() {
  try {
    await ask("GET", "/api/room"); // which asks for a key where one is needed
  } catch (error) {
    cover("The server does not answer", error.message);
    setTimeout(connect, 2000);
    return;
  }
  socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/api/play`, ["understudy", ...keyProtocol()]);
  socket.onopen = () => { notify(); join(); };
  socket.onmessage = (event) => hear(JSON.parse(event.data));
  socket.onclose = ({ code }) => {
    room = null;
    if (code === ELSEWHERE) cover("You play on in another tab", "This one only stands by.");
    else if (code === FULL) cover("The hall is full", "Too many browsers are connected; try again later.");
    else if (code === TOO_MUCH) cover("The server hung up", "It could make no sense of what this page said.");
    else {
      cover("The connection is lost", `Trying again. A game waits ${figure(game?.patience ?? 10)} s, and is then recorded as far as it went.`);
      setTimeout(connect, 500);
      return;
    }
    show("take", true, "Play here");
  };
}

const join = () => send({ say: "join", token: sessionStorage.getItem(SEAT) ?? "", name: localStorage.getItem(NAME) ?? "" });

function hear(message) {
  if (message.error) notify(message.error.message);
  else ({ welcome, room: enter, frame, over: end })[message.say]?.(message);
}

function welcome(message) {
  game = message;
  document.title = `${game.game} · understudy`;
  find("title").textContent = game.game;
  board.open(game.scene, game.palette);
  find("advice").textContent = game.scene.advice;
  find("keys").replaceChildren(...game.scene.keys.flatMap(([names, meaning]) => [
    ...names.flatMap((name, place) => [place ? " or " : "", make("kbd", {}, SHOWN[name] ?? name)]), ` ${meaning}   `,
  ]));
  const buttons = game.scene.keys.map(([[name], meaning]) => {
    const button = make("button", { type: "button", "data-key": name, "aria-label": meaning }, name.startsWith("Arrow") ? SHOWN[name] : meaning);
    button.addEventListener("pointerdown", (event) => { event.preventDefault(); button.setPointerCapture(event.pointerId); press(name, event.timeStamp); });
    for (const ends of ["pointerup", "pointercancel"]) button.addEventListener(ends, () => release(name));
    // A screen reader, or a keyboard, clicks without a pointer
    button.addEventListener("click", (event) => { if (event.detail === 0) { press(name, event.timeStamp); release(name); } });
    return button;
  });
  const points = (button) => button.dataset.key.startsWith("Arrow");
  find("pad").replaceChildren(make("div", { class: "ways" }, buttons.filter(points)), make("div", { class: "others" }, buttons.filter((one) => !points(one))));
}

function enter(message) {
  const before = room;
  room = message;
  if (room.token) sessionStorage.setItem(SEAT, room.token);
  find("places").replaceChildren(...room.places.map(({ agent, who, person, here, ready }, place) => make("li", {},
    make("span", { class: "agent" }, agent),
    make("b", {}, place === room.you ? `you${who === "a person" ? "" : `, ${who}`}` : person && !here ? "nobody yet" : who),
    person && here && place !== room.you && room.state === "waiting" ? make("span", { class: "soft" }, ready ? "ready" : "not ready yet") : null)));
  show("leave", room.state !== "waiting" && room.you !== null);
  if (room.state === "playing") {
    if (before?.state !== "playing") begin();
    return;
  }
  const mine = room.places[room.you], alone = room.places.filter((place) => place.person && !place.here).length;
  if (room.state === "paused") cover("The game waits", `for ${room.places.filter((place) => !place.here).map((place) => place.who).join(" and ")}, up to ${figure(game.patience)} s.`);
  else if (room.you === null) cover(over ? "The game is over" : "All places are taken", over ?? "You watch, as soon as they play.");
  else if (mine.ready) cover("Waiting", alone ? "Open this address in another browser for the other person." : "for the other person to be ready.");
  else cover(over ? "The game is over" : "Ready?", over ?? (alone ? "Another person can join by opening this address." : ""));
  const starts = room.state === "waiting" && mine && !mine.ready;
  show("lobby", starts);
  show("take", room.state === "waiting" && room.you === null && room.free > 0, "Take the place");
  find("start").textContent = over ? "Play again" : "Start";
  if (starts && document.activeElement?.tagName !== "INPUT") find("start").focus();
}

function begin() {
  over = null;
  pressed.clear();
  performance.clearMeasures();
  show("cover", false);
  notify();
  find("game").focus();
  announce(room.you === null ? "The game begins. You watch." : `The game begins. You are ${room.places[room.you].agent}.`);
}

function frame(message) {
  board.show(message, room?.you);
  board.acted = message.acted;
  const { seconds, longest } = game.scene;
  find("clock").textContent = clock(message.step * seconds) + (longest ? ` of ${clock(longest * seconds)}` : "");
  find("score").textContent = `Return ${figure(message.returns[room?.you ?? 0])}`;
  const now = performance.now(), fresh = message.said.filter((sentence) => !said.includes(sentence));
  // Not more often than it can be read out
  if (fresh.length && now - saidAt > 700) {
    announce(fresh.join(" "));
    [said, saidAt] = [message.said, now];
  }
}

function end(message) {
  if (message.recording === null) {
    over = [message.reason || "Nothing was played."];
    return;
  }
  const returns = Object.entries(message.returns).map(([agent, value]) => `${agent} ${figure(value)}`);
  const all = new Set(Object.values(message.returns)).size === 1 ? figure(Object.values(message.returns)[0]) : returns.join(", ");
  over = [
    `${message.reason ? `${message.reason[0].toUpperCase()}${message.reason.slice(1)}. ` : ""}Return ${all} in ${message.steps} steps. `,
    `Recorded as game ${message.episode} of ${message.recording}. `,
    make("a", { href: `/watch#${message.episode}` }, "Watch it"),
  ];
  announce(`The game is over. Return ${all}.`);
}

function cover(title, words = "") {
  show("cover", true);
  show("lobby", false);
  show("take", false);
  find("cover-title").textContent = title;
  find("came").replaceChildren(...[words].flat());
  show("advice", room?.state === "waiting" && !over);
}

function show(id, shown, text) {
  find(id).hidden = !shown;
  if (text) find(id).textContent = text;
}

find("name").value = localStorage.getItem(NAME) ?? "";
find("lobby").addEventListener("submit", (event) => {
  event.preventDefault();
  localStorage.setItem(NAME, find("name").value.trim());
  join();
  send({ say: "ready" });
});
find("take").addEventListener("click", () => (socket.readyState === WebSocket.OPEN ? join() : connect()));
find("leave").addEventListener("click", () => send({ say: "leave" }));

// Keys

const known = (name) => game?.scene.keys.some(([names]) => names.some((one) => one.toLowerCase() === name.toLowerCase()));

function press(name, time) {
  if (!playing()) return;
  presses += 1;
  pressed.set(presses, time);
  send({ say: "press", key: name, number: presses });
}

const release = (name) => send({ say: "release", key: name });

document.addEventListener("keydown", (event) => {
  const onButton = event.target.closest("button, a, input, summary");
  if (event.ctrlKey || event.metaKey || event.altKey || !playing() || !known(event.key)) return;
  if (onButton && (event.key === "Enter" || event.key === " ")) return;
  event.preventDefault(); // arrows would scroll
  if (!event.repeat) press(event.key, event.timeStamp);
});
document.addEventListener("keyup", (event) => { if (known(event.key)) release(event.key); });
window.addEventListener("blur", () => send({ say: "release all" }));

/** Note how long each press took until a frame showed what it did: measures "press to frame" of the page's performance. */
function noteLatency() {
  for (const [number, start] of pressed) {
    if (number > (board.acted ?? 0)) return;
    performance.measure("press to frame", { start, end: performance.now() });
    pressed.delete(number);
  }
}
