// The tokens of a reply: each a button that tells how likely it was, and what else the model might have said.

import { make } from "./dom.js";

const percent = (logprob) => `${(100 * Math.exp(logprob)).toFixed(1)}%`;
const shown = (text) => (text === "" ? "part of a character" : text.replace(/\n/g, "↵").replace(/ /g, "␣"));

/** Return the index of the token that holds the character at `offset` of the reply. */
export function tokenAt(tokens, offset) {
  let end = 0;
  return tokens.findIndex(({ text }) => (end += text.length) > offset);
}

/** Return whether the tokens spell the text, so that a place in the text tells the token. */
export function spell(tokens, text) {
  return tokens.map((token) => token.text).join("").startsWith(text);
}

/** Return the view of a reply's tokens, with the one at `index` open. Arrow keys go from token to token. */
export function tokenView(tokens, index, onopen) {
  const details = make("div", { class: "alternatives", "aria-live": "polite" });
  const buttons = tokens.map((token, i) => {
    const button = make("button", { type: "button", class: "token", onclick: () => open(i) }, token.text || "⋯");
    button.style.setProperty("--doubt", `${Math.round(45 * (1 - Math.exp(token.logprob)))}%`);
    button.setAttribute("aria-label", `${shown(token.text)}, ${percent(token.logprob)}`);
    return button;
  });

  function open(i) {
    onopen(i);
    buttons.forEach((button, j) => {
      button.tabIndex = i === j ? 0 : -1;
      button.setAttribute("aria-pressed", String(i === j));
    });
    details.replaceChildren(alternatives(tokens[i]));
  }

  function onkeydown(event) {
    const at = buttons.indexOf(document.activeElement);
    const goal = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (at < 0 || goal === undefined || !buttons[goal]) return;
    event.preventDefault();
    buttons[goal].focus();
    open(goal);
  }

  const group = make("div", { class: "tokens", role: "group", "aria-label": "Tokens of the reply", onkeydown }, buttons);
  open(Math.min(Math.max(index, 0), tokens.length - 1));
  return make("div", {}, group, details);
}

/** Return a token and its runners-up, the likeliest first, as bars. */
function alternatives(token) {
  const all = [[token.text, token.logprob, true], ...token.top].sort((a, b) => b[1] - a[1]);
  const rows = all.map(([text, logprob, drawn]) => {
    const bar = make("span", { class: "bar-fill" });
    bar.style.width = percent(logprob);
    return make("li", { class: drawn ? "drawn" : undefined },
      make("code", {}, shown(text)), make("span", { class: "track", "aria-hidden": "true" }, bar),
      make("span", { class: "figure" }, percent(logprob), drawn && make("span", { class: "unseen" }, ", the one that was drawn")));
  });
  return make("ol", {}, rows);
}
