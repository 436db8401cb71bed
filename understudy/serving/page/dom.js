// Elements are made here and nowhere else. What they hold are text nodes, so no text ever becomes markup.

const SVG = "http://www.w3.org/2000/svg";
const ICONS = {
  plus: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  menu: "M4 7h16M4 12h16M4 17h16",
  columns: "M4 5h16v14H4zM12 5v14",
  download: "M12 4v11m-5-5l5 5 5-5M5 20h14",
  sliders: "M4 8h9m5 0h2M4 16h3m5 0h8M15.5 5.5v5M9.5 13.5v5",
  send: "M12 19V5m-6 6l6-6 6 6",
  stop: "M7 7h10v10H7z",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  again: "M20 11a8 8 0 1 0-2.3 6.3M20 5v6h-6",
  edit: "M4 20l1-4L16 5l3 3L8 19zM13.5 7.5l3 3",
  good: "M7 11l4-7c1.5 0 2.5 1 2.5 2.5V10H19a1.5 1.5 0 0 1 1.5 1.8l-1.2 6.4A2.2 2.2 0 0 1 17 20H7zM7 11H3.5v9H7",
  bad: "M7 13l4 7c1.5 0 2.5-1 2.5-2.5V14H19a1.5 1.5 0 0 0 1.5-1.8l-1.2-6.4A2.2 2.2 0 0 0 17 4H7zM7 13H3.5V4H7",
  tokens: "M4 19V9M10 19V5M16 19v-7M22 19H2",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  earlier: "M14 6l-6 6 6 6",
  later: "M10 6l6 6-6 6",
};

/** Return an element with attributes, properties that begin with "on" as listeners, and children (nodes or texts). */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return made;
}

/** Return a picture that goes with words, or with an aria-label, and is not read out itself. */
export function icon(name) {
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("viewBox", "0 0 24 24");
  picture.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  picture.append(path);
  return picture;
}

/** Return a button that shows only an icon; `label` is its name and its tooltip. */
export function iconButton(name, label, onclick, attributes = {}) {
  return make("button", { type: "button", class: "icon", "aria-label": label, title: label, onclick, ...attributes }, icon(name));
}

/** Return a model's name for people: of a run's id the words, which are easier to tell apart than the times before them. */
export const shortName = (id) => id.replace(/^\d{8}-\d{4}-/, "");

export const find = (id) => document.getElementById(id);

/** Say something to a screen reader. */
export function announce(words) {
  find("status").textContent = words;
}

/** Show what went wrong above the message box, with a way to try again if there is one; without words show nothing. */
export function notify(words = "", retry = null) {
  const again = retry && make("button", { type: "button", onclick: () => { notify(); retry(); } }, "Try again");
  find("notice").replaceChildren(...(words ? [make("p", { class: "callout bad" }, words, again)] : []));
}

/** Offer a text as a file to save. */
export function download(text, name) {
  const address = URL.createObjectURL(new Blob([text], { type: "application/jsonl" }));
  make("a", { href: address, download: name }).click();
  URL.revokeObjectURL(address);
}

/** Put a text on the clipboard, also where the page is not from a secure address. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const focused = document.activeElement;
    const area = make("textarea", { class: "unseen" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    focused?.focus();
  }
}
