// The messages of a conversation, each with what can be done about it.

import { announce, copy, find, iconButton, make, shortName } from "./dom.js";
import { said } from "./conversation.js";
import { spell, tokenAt, tokenView } from "./tokens.js";

const ENDS = {
  length: "cut at the longest length",
  cancelled: "stopped",
  error: "broken off by an error",
};
const open = new Map(); // of each reply whose tokens are shown, by its id, the token that is open
let editing = null; // the id of the message that is being written anew

/**
 * Show a conversation's messages. `actions` has what to do: regenerate, resend, show, judge, and `card(model)`.
 * `sides` are the two models to compare by the last replies, or null.
 */
export function showThread(conversation, sides, actions) {
  const thread = find("thread");
  const focused = document.activeElement?.dataset.key;
  const atEnd = isAtEnd(thread);
  const path = conversation.path();
  const context = { conversation, actions, render: () => showThread(conversation, sides, actions) };
  const shown = path.map((message) => messageView(message, context));
  const pair = sides && path.length && compared(conversation, path.at(-1), sides);
  if (pair) shown[shown.length - 1] = make("div", { class: "sides" }, pair.map((message) => messageView(message, context, true)));
  thread.replaceChildren(...(shown.length ? shown : [actions.welcome()]));
  if (focused) thread.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  if (atEnd) scrollToEnd();
}

/** Show more of a reply that is being drawn. */
export function showMore(draft) {
  const thread = find("thread");
  const words = thread.querySelector(`[data-message="${draft.id}"] .words`);
  if (!words) return; // another conversation is shown
  const atEnd = isAtEnd(thread);
  words.textContent = draft.content;
  if (atEnd) scrollToEnd();
}

export function scrollToEnd() {
  const thread = find("thread");
  thread.scrollTop = thread.scrollHeight;
}

const isAtEnd = (thread) => thread.scrollHeight - thread.scrollTop - thread.clientHeight < 60;

/** Return the latest reply of each of two models to one message; null where there are no two. */
function compared(conversation, last, [left, right]) {
  if (last.role !== "assistant") return null;
  const siblings = conversation.siblings(last);
  const second = siblings.findLast((message) => message.model === right);
  const first = siblings.findLast((message) => message.model === left && message !== second);
  return first && second ? [first, second] : null;
}

function messageView(message, context, isSide = false) {
  const fromUser = message.role === "user";
  const body = editing === message.id ? editor(message, context) : words(message, context);
  const title = fromUser ? "You" : shortName(message.model);
  return make("article", { class: `message ${message.role}`, "data-message": message.id, "aria-busy": message.isDraft && "true" },
    make("h2", { class: fromUser ? "unseen" : "who" }, title, message.rewrite !== null && message.rewrite !== undefined && make("span", { class: "badge" }, "rewritten by hand")),
    body,
    remarks(message),
    !message.isDraft && editing !== message.id && buttons(message, context, isSide));
}

function words(message, context) {
  const tokens = message.details?.tokens ?? [];
  const text = said(message);
  if (open.has(message.id)) return tokenView(tokens, open.get(message.id), (i) => open.set(message.id, i));
  const shown = make("p", { class: "words" }, text || (message.isDraft ? "" : "(nothing was said)"));
  if (tokens.length && message.rewrite === null && spell(tokens, text)) {
    shown.classList.add("clickable");
    shown.title = "Click a word for its tokens' probabilities";
    shown.addEventListener("click", (event) => {
      const place = document.caretPositionFromPoint?.(event.clientX, event.clientY)?.offset
        ?? document.caretRangeFromPoint?.(event.clientX, event.clientY)?.startOffset;
      if (place === undefined || !getSelection().isCollapsed) return;
      open.set(message.id, tokenAt(tokens, place));
      context.render();
    });
  }
  return shown;
}

/** Return how a reply ended, where that is worth knowing. */
function remarks(message) {
  const dropped = message.details?.dropped ?? 0;
  const lines = [
    ENDS[message.finish_reason],
    dropped && `the oldest ${dropped} messages no longer fitted the context and were left out`,
  ].filter(Boolean);
  return lines.length > 0 && make("p", { class: "soft remark" }, `(${lines.join("; ")})`);
}

function editor(message, context) {
  const fromUser = message.role === "user";
  const area = make("textarea", { "aria-label": fromUser ? "Edit the message" : "Rewrite the reply", rows: 3, "data-key": `area-${message.id}` });
  area.value = said(message);
  const leave = () => { editing = null; context.render(); focusKey(`edit-${message.id}`); };
  const save = () => {
    editing = null;
    if (fromUser) context.actions.resend(message, area.value);
    else context.actions.judge(message, { rewrite: area.value }, "The reply is rewritten.");
  };
  area.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { event.stopPropagation(); leave(); }
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save();
  });
  requestAnimationFrame(() => area.focus());
  const original = !fromUser && message.rewrite !== null && make("button", { type: "button", onclick: () => {
    editing = null;
    context.actions.judge(message, { rewrite: null }, "The reply is as the model said it.");
  } }, "Restore the original");
  return make("form", { class: "editor", onsubmit: (event) => { event.preventDefault(); save(); } }, area,
    make("div", { class: "row" },
      make("button", { type: "submit", class: "primary" }, fromUser ? "Send" : "Save"),
      make("button", { type: "button", onclick: leave }, "Cancel"), original));
}

function buttons(message, context, isSide) {
  const { conversation, actions, render } = context;
  const key = (name) => ({ "data-key": `${name}-${message.id}` });
  const edit = (label) => iconButton("edit", label, () => { editing = message.id; render(); }, key("edit"));
  const copyIt = iconButton("copy", "Copy", async () => { await copy(said(message)); announce("Copied."); }, key("copy"));
  if (message.role === "user") return make("div", { class: "row actions" }, switcher(message, context), copyIt, edit("Edit and send again"));

  const flag = (name, label) => iconButton(name, label, () => {
    const taken = message.flag === name;
    actions.judge(message, { flag: taken ? null : name }, taken ? "The flag is taken away." : `Flagged ${name}.`);
  }, { ...key(name), "aria-pressed": String(message.flag === name) });
  const tokens = message.details.tokens.length > 0 && iconButton("tokens", "Tokens and their probabilities", () => {
    if (!open.delete(message.id)) open.set(message.id, 0);
    render();
  }, { ...key("tokens"), "aria-pressed": String(open.has(message.id)) });
  const chosen = conversation.path().includes(message);
  const keep = isSide && make("button", { type: "button", ...key("keep"), "aria-pressed": String(chosen), onclick: () => actions.show(message) },
    chosen ? "The chat goes on from here" : "Go on from this one");
  return make("div", { class: "row actions" },
    !isSide && switcher(message, context), copyIt,
    iconButton("again", "Draw another reply", () => actions.regenerate(message, isSide), key("again")),
    flag("good", "Good reply"), flag("bad", "Bad reply"), edit("Rewrite by hand"), tokens, keep);
}

/** Return the way to the messages that stand in this one's place: other replies, or how it was worded before. */
function switcher(message, { conversation, actions }) {
  const siblings = conversation.siblings(message).filter((other) => !other.isDraft);
  const at = siblings.indexOf(message);
  if (siblings.length < 2) return null;
  const step = (name, label, goal) => iconButton(name, label, () => {
    actions.show(conversation.lastBelow(siblings[goal]), `${name}-${siblings[goal].id}`);
  }, { "data-key": `${name}-${message.id}`, disabled: !siblings[goal] });
  return make("span", { class: "switcher" },
    step("earlier", "The one before", at - 1), make("span", { class: "soft" }, `${at + 1} of ${siblings.length}`), step("later", "The one after", at + 1));
}

/** Put the focus on what has this key, or on the message box where that is gone. */
export function focusKey(key) {
  const goal = document.querySelector(`[data-key="${CSS.escape(key)}"]:not([disabled])`) ?? find("message");
  goal.focus();
}
