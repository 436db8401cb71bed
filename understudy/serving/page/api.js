// What the page asks of the server: JSON below /api, and replies that stream from the OpenAI-compatible API.

import { find } from "./dom.js";

const KEY = "understudy-key";

/** What the server refused, or why it could not be reached. */
export class Refusal extends Error {}

/** Return the answer to a request as parsed JSON. Throws Refusal. */
export async function ask(method, path, body) {
  const answer = await request(method, path, body);
  return answer.status === 204 ? null : answer.json();
}

/** Return the answer to a request as a text. Throws Refusal. */
export async function askText(path) {
  return (await request("GET", path)).text();
}

/**
 * Draw a reply, and call `onPiece(text, tokens)` as it comes. Return how it ended: {finish_reason, dropped}.
 * Throws Refusal; or, once `signal` is aborted, ends with the reason "cancelled".
 */
export async function drawReply(options, onPiece, signal) {
  const end = { finish_reason: "", dropped: 0 };
  try {
    const answer = await request("POST", "/v1/chat/completions", { ...options, stream: true }, { signal });
    for await (const data of events(answer.body)) {
      if (data === "[DONE]") break;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new Refusal(chunk.error.message);
      end.dropped = chunk.understudy?.dropped_messages ?? end.dropped;
      const choice = chunk.choices?.[0];
      if (!choice) continue;
      end.finish_reason = choice.finish_reason ?? end.finish_reason;
      const tokens = choice.logprobs?.content ?? [];
      if (choice.delta?.content || tokens.length) onPiece(choice.delta?.content ?? "", tokens);
    }
  } catch (error) {
    if (!signal.aborted) throw error instanceof Refusal ? error : new Refusal("The reply broke off: the server went away.");
    end.finish_reason = "cancelled";
  }
  return end;
}

async function request(method, path, body, more = {}) {
  for (;;) {
    let answer;
    try {
      answer = await fetch(path, { method, headers: headers(body), body: body && JSON.stringify(body), ...more });
    } catch (error) {
      if (more.signal?.aborted) throw error;
      throw new Refusal("The server cannot be reached. Is `understudy serve` still running?");
    }
    if (answer.ok) return answer;
    const said = await answer.json().catch(() => null);
    const reason = said?.error?.message ?? (typeof said?.detail === "string" ? said.detail : `The server answered ${answer.status}.`);
    if (answer.status !== 401) throw new Refusal(reason);
    await askForKey(localStorage.getItem(KEY) === null ? "" : reason);
  }
}

function headers(body) {
  const key = localStorage.getItem(KEY);
  return { ...(body ? { "Content-Type": "application/json" } : {}), ...(key ? { Authorization: `Bearer ${key}` } : {}) };
}

/** Return what a websocket offers as a protocol to name the key: it can send no header. */
export function keyProtocol() {
  const key = localStorage.getItem(KEY);
  return key ? [`key.${Array.from(new TextEncoder().encode(key), (byte) => byte.toString(16).padStart(2, "0")).join("")}`] : [];
}

let asked = null; // several requests may be refused at once, but the key is asked for once

function askForKey(reason) {
  asked ??= new Promise((resolve) => {
    const dialog = find("ask");
    find("ask-reason").textContent = reason;
    dialog.addEventListener("close", () => {
      localStorage.setItem(KEY, find("key").value.trim());
      asked = null;
      resolve();
    }, { once: true });
    dialog.showModal();
  });
  return asked;
}

/** Yield the data of each server-sent event. */
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data:")) yield line.slice(5).trimStart();
  }
}
