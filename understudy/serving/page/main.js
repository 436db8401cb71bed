// The chat page: what happens when something is typed, clicked or chosen.

import { ask, askText, drawReply } from "./api.js";
import { Conversation, Draft } from "./conversation.js";
import { announce, download, find, icon, make, notify, shortName } from "./dom.js";
import { prepareSampling, sampling, showCards } from "./panel.js";
import { preparePanes, showList } from "./sidebar.js";
import { focusKey, scrollToEnd, showMore, showThread } from "./thread.js";

const SETTINGS = "understudy-settings";
const UNSAVED = "understudy-unsaved";
const TOP_LOGPROBS = 5; // the drawn token may be one of them

const settings = stored(SETTINGS, {});
let cards = [];
let conversation = new Conversation();

// --- what is shown ---

function render() {
  showThread(conversation, settings.comparing ? models() : null, actions);
  const isDrawing = conversation.drawing.size > 0;
  find("send").hidden = isDrawing;
  find("stop").hidden = !isDrawing;
  find("export").disabled = conversation.id === null;
}

function renderModels() {
  find("second").hidden = !settings.comparing;
  find("compare").setAttribute("aria-pressed", String(settings.comparing ?? false));
  const shown = new Set(settings.comparing ? models() : [find("model").value]);
  showCards(cards.filter((card) => shown.has(card.id)));
  render();
}

function welcome() {
  const card = cards.find((one) => one.id === find("model").value);
  return make("div", { class: "welcome" },
    make("h2", {}, card ? `Talk with ${shortName(card.id)}` : "No model to talk with"),
    make("p", { class: "soft" }, card?.summary ?? "None of the served models learned from conversations."));
}

const models = () => [find("model").value, find("other").value];
const listConversations = () => showList(conversation.id, remove);

// --- what is said ---

async function send(text) {
  const on = conversation;
  if (on.id === null) on.system = find("system").value;
  const isNew = on.id === null;
  const message = await on.add({ parent: on.leaf, role: "user", content: text });
  if (isNew && on === conversation) history.pushState(null, "", `#${on.id}`);
  await reply(on, message.id);
}

/** Draw a reply to a message, or one of each model where two are compared. The first one is the one that counts. */
async function reply(on, parent, who = settings.comparing ? models() : [find("model").value]) {
  const drawn = who.map((model) => draw(on, parent, model));
  listConversations().catch(report);
  const kept = await Promise.all(drawn);
  // Of two replies of one model the one that was kept first stands on the left.
  if (who[0] === who[1]) kept.sort((one, other) => (one && other ? one.id - other.id : 0));
  if (kept.length > 1 && kept[0]) await on.show(kept[0]);
  if (on === conversation) render();
  announce(kept.filter(Boolean).map((message) => `${shortName(message.model)}: ${message.content}`).join(" "));
}

/** Draw a reply of one model, and return it as the server keeps it; null if nothing came. */
async function draw(on, parent, model) {
  const options = sampling();
  const draft = new Draft(parent, model, options);
  const stopper = Object.assign(new AbortController(), { draft });
  on.messages.set(draft.id, draft);
  on.drawing.add(stopper);
  if (!on.messages.get(on.leaf)?.isDraft) on.leaf = draft.id;
  notify();
  render();
  scrollToEnd();
  announce(`${shortName(model)} is replying.`);
  let failure = null;
  try {
    const request = { ...options, model, messages: on.prompt(parent), logprobs: true, top_logprobs: TOP_LOGPROBS };
    const end = await drawReply(request, (text, tokens) => {
      draft.extend(text, tokens);
      showMore(draft);
    }, stopper.signal);
    draft.finish_reason = end.finish_reason;
    draft.details.dropped = end.dropped;
  } catch (error) {
    draft.finish_reason = "error";
    failure = error;
  }
  on.drawing.delete(stopper);
  on.messages.delete(draft.id);
  const wasLeaf = on.leaf === draft.id;
  if (wasLeaf) on.leaf = parent;
  let kept = null;
  if (draft.content || ["stop", "length"].includes(draft.finish_reason)) {
    const leaf = on.leaf;
    kept = await on.add(draft.body);
    if (!wasLeaf && leaf !== parent) on.leaf = leaf;
  }
  if (failure) notify(failure.message, () => attempt(() => reply(on, parent, [model])));
  if (on === conversation) render();
  return kept;
}

const actions = {
  welcome,
  /** Draw another reply in the place of one, of the chosen model or, where two are compared, of its own. */
  regenerate: (message, isSide) => attempt(() => reply(conversation, message.parent, [isSide ? message.model : find("model").value])),
  /** Say a message in other words, from where it was said. */
  resend: (message, text) => attempt(async () => {
    const on = conversation;
    const edited = await on.add({ parent: message.parent, role: "user", content: text });
    find("message").focus();
    await reply(on, edited.id);
  }),
  /** Show the path to a message from now on. */
  show: (message, focus = null) => attempt(async () => {
    await conversation.show(message);
    render();
    if (focus) focusKey(focus);
  }),
  judge: (message, judgement, words) => attempt(async () => {
    await conversation.judge(message, judgement);
    render();
    announce(words);
  }),
};

// --- conversations come and go ---

const addressed = () => decodeURIComponent(location.hash.slice(1));

async function openAddressed() {
  const id = addressed();
  if (id === (conversation.id ?? "")) return;
  const opened = id ? await Conversation.load(id) : new Conversation();
  if (id !== addressed()) return; // another one was chosen meanwhile
  conversation = opened;
  notify();
  render();
  scrollToEnd();
  await listConversations();
}

async function begin() {
  history.pushState(null, "", location.pathname);
  await openAddressed();
  find("message").focus();
}

async function remove(id, title) {
  if (!confirm(`Delete “${title}” with all that was said?`)) return;
  await attempt(async () => {
    await ask("DELETE", `/api/conversations/${id}`);
    if (id === conversation.id) await begin();
    else await listConversations();
    announce("Deleted.");
    find("new").focus();
  });
}

// --- the page begins ---

function stored(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

function save(changes) {
  Object.assign(settings, changes);
  localStorage.setItem(SETTINGS, JSON.stringify(settings));
}

/** Do something, and show what went wrong if it fails. */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    report(error);
  }
}

function report(error) {
  notify(error.message);
}

function prepareComposer() {
  const box = find("message");
  const fit = () => { box.style.height = "auto"; box.style.height = `${Math.min(box.scrollHeight + 2, innerHeight / 3)}px`; };
  box.addEventListener("input", fit);
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    find("composer").requestSubmit();
  });
  find("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = box.value;
    if (!text.trim() || conversation.drawing.size || !find("model").value) return;
    box.value = "";
    fit();
    attempt(async () => {
      try {
        await send(text);
      } catch (error) {
        if (!box.value) box.value = text; // what was not kept is not lost
        throw error;
      }
    });
  });
  const stop = () => { conversation.drawing.forEach((stopper) => stopper.abort()); box.focus(); };
  find("stop").addEventListener("click", stop);
  addEventListener("keydown", (event) => { if (event.key === "Escape" && conversation.drawing.size) stop(); });
  addEventListener("pagehide", () => {
    const halves = [...conversation.drawing].map(({ draft }) => draft).filter((draft) => draft.content);
    const unsaved = halves.map((draft) => [`${conversation.address}/messages`, { ...draft.body, finish_reason: "cancelled" }]);
    if (unsaved.length) localStorage.setItem(UNSAVED, JSON.stringify([...stored(UNSAVED, []), ...unsaved]));
  });
}

/** Keep what a reply had said when the page went away in the middle of it: too late then to reach the server for sure. */
async function saveHalves() {
  const unsaved = stored(UNSAVED, []);
  localStorage.removeItem(UNSAVED);
  for (const [address, body] of unsaved) await ask("POST", address, body);
}

function prepareModels() {
  for (const [index, id] of ["model", "other"].entries()) {
    const select = find(id);
    select.replaceChildren(...cards.map((card) => make("option", { value: card.id }, shortName(card.id))));
    const wanted = settings.models?.[index] ?? cards[index]?.id;
    if (cards.some((card) => card.id === wanted)) select.value = wanted;
    select.addEventListener("change", () => { save({ models: models() }); renderModels(); });
  }
  find("compare").addEventListener("click", () => {
    const others = cards.filter((card) => card.id !== find("model").value);
    if (!settings.comparing && others.length && find("other").value === find("model").value) find("other").value = others[0].id;
    save({ comparing: !settings.comparing, models: models() });
    renderModels();
  });
}

async function start() {
  document.querySelectorAll("[data-icon]").forEach((place) => place.append(icon(place.dataset.icon)));
  preparePanes(settings, save);
  prepareSampling(settings, save);
  prepareComposer();
  find("message").focus(); // at once: what is typed while the rest loads is not lost
  find("new").addEventListener("click", () => attempt(begin));
  find("export").addEventListener("click", () => attempt(async () => {
    download(await askText(`${conversation.address}/export`), "conversation.jsonl");
  }));
  document.querySelectorAll("[data-export]").forEach((button) => button.addEventListener("click", () => attempt(async () => {
    download(await askText(button.dataset.export), `${button.dataset.export.split("/").at(-1)}.jsonl`);
  })));
  addEventListener("popstate", () => attempt(openAddressed));
  cards = (await ask("GET", "/api/models")).filter((card) => card.chats);
  await attempt(saveHalves);
  await attempt(openAddressed); // before there is a model to talk with: what is sent goes where the address says
  prepareModels();
  renderModels();
  await listConversations();
}

attempt(start);
