// The list of conversations, and the two panes at the sides, which cover the chat on a narrow screen.

import { ask } from "./api.js";
import { find, iconButton, make } from "./dom.js";

/** Show the owner's conversations; `current` is the id of the one on the page. */
export async function showList(current, onDelete) {
  const headings = await ask("GET", "/api/conversations");
  const entries = headings.map(({ id, title }) => make("li", {},
    make("a", { href: `#${id}`, "aria-current": id === current && "page" }, title || "Untitled"),
    iconButton("trash", `Delete ${title || "Untitled"}`, () => onDelete(id, title))));
  find("conversations").replaceChildren(...(entries.length ? entries : [make("li", { class: "soft none" }, "No conversations yet.")]));
}

/** Let the buttons of the page open and close the panes, and Escape close one that covers the chat. */
export function preparePanes(settings, save) {
  const about = find("about");
  const isWide = () => matchMedia("(min-width: 68rem)").matches;
  const showPanel = (shown) => {
    find("panel").hidden = !shown;
    about.setAttribute("aria-expanded", String(shown));
  };
  const showSidebar = (shown) => {
    document.body.classList.toggle("list-open", shown);
    if (shown) find("new").focus();
  };
  showPanel(isWide() && settings.panel !== false);
  about.addEventListener("click", () => {
    const shown = find("panel").hidden;
    showPanel(shown);
    if (isWide()) save({ panel: shown });
    else if (shown) find("panel").querySelector("button").focus();
  });
  document.querySelector("[data-opens=sidebar]").addEventListener("click", () => showSidebar(true));
  document.querySelector("[data-closes=sidebar]").addEventListener("click", () => {
    showSidebar(false);
    document.querySelector("[data-opens=sidebar]").focus();
  });
  document.querySelector("[data-closes=panel]").addEventListener("click", () => {
    showPanel(false);
    if (isWide()) save({ panel: false });
    about.focus();
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || find("ask").open) return;
    if (document.body.classList.contains("list-open")) document.querySelector("[data-closes=sidebar]").click();
    else if (!isWide() && !find("panel").hidden) document.querySelector("[data-closes=panel]").click();
  });
  find("conversations").addEventListener("click", (event) => {
    if (event.target.closest("a")) showSidebar(false);
  });
  find("new").addEventListener("click", () => showSidebar(false));
}
