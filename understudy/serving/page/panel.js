// How replies are drawn, and what the models are that draw them.

import { find, make, shortName } from "./dom.js";

const DEFAULTS = { temperature: "0.5", top_p: "1", max_tokens: "256", seed: "", stop_text: "", system: "" };

/** Fill the form of sampling options from the settings, and save what is changed. */
export function prepareSampling(settings, save) {
  const form = find("sampling");
  const fill = (values) => {
    for (const name of Object.keys(DEFAULTS)) find(name).value = values[name] ?? DEFAULTS[name];
    tell();
  };
  const tell = () => {
    form.querySelectorAll("output").forEach((output) => { output.value = find(output.htmlFor.value).value; });
    find("summed").textContent = `temperature ${find("temperature").value}`;
  };
  fill(settings.sampling ?? {});
  form.addEventListener("input", () => {
    tell();
    save({ sampling: Object.fromEntries(Object.keys(DEFAULTS).map((name) => [name, find(name).value])) });
  });
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    fill({});
    save({ sampling: {} });
  });
  form.addEventListener("submit", (event) => event.preventDefault());
}

/** Return the sampling options as the API takes them. */
export function sampling() {
  const value = (name) => find(name).value;
  return {
    temperature: Number(value("temperature")),
    top_p: Number(value("top_p")),
    max_tokens: Number(value("max_tokens")) || Number(DEFAULTS.max_tokens),
    ...(value("seed") === "" ? {} : { seed: Number(value("seed")) }),
    ...(value("stop_text") === "" ? {} : { stop: [value("stop_text")] }),
  };
}

/** Show what the chosen models are. */
export function showCards(cards) {
  find("cards").replaceChildren(...cards.map((card) => make("section", { class: "card" },
    make("h3", {}, shortName(card.id)),
    make("p", { class: "soft" }, card.summary),
    card.warnings.map((warning) => make("p", { class: "callout warn" }, warning)),
    Object.entries(card.sections).map(([title, values]) => [
      make("h4", {}, title),
      make("dl", {}, Object.entries(values).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))),
    ]))));
}
