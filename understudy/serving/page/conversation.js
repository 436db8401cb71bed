// A conversation as the server keeps it: a tree of messages, of which the path to the leaf is shown.

import { ask } from "./api.js";

export class Conversation {
  /** Take what the server says of a conversation; without it, one that the server does not know yet. */
  constructor(stored = { id: null, title: "", system: "", leaf: null, messages: [] }) {
    Object.assign(this, stored);
    this.messages = new Map(stored.messages.map((message) => [message.id, message]));
    this.drawing = new Set(); // of the AbortControllers of replies that are on their way
  }

  static async load(id) {
    return new Conversation(await ask("GET", `/api/conversations/${encodeURIComponent(id)}`));
  }

  get address() {
    return `/api/conversations/${this.id}`;
  }

  /** Return the messages from the first one down to `leaf`. */
  path(leaf = this.leaf) {
    const found = [];
    for (let message = this.messages.get(leaf); message; message = this.messages.get(message.parent)) found.unshift(message);
    return found;
  }

  /** Return the messages that stand side by side with this one, itself included, in the order they were written. */
  siblings(message) {
    return [...this.messages.values()].filter((other) => other.parent === message.parent);
  }

  /** Return the last message below this one, where each message is followed by the latest answer to it. */
  lastBelow(message) {
    for (;;) {
      const below = [...this.messages.values()].findLast((other) => other.parent === message.id);
      if (!below) return message;
      message = below;
    }
  }

  /** Return what a model is given: the system message and the path to `leaf`, with replies as people rewrote them. */
  prompt(leaf) {
    const system = this.system.trim() ? [{ role: "system", content: this.system }] : [];
    return [...system, ...this.path(leaf).map((message) => ({ role: message.role, content: said(message) }))];
  }

  /** Keep a message on the server, which knows the conversation from its first message on. */
  async add(message) {
    if (this.id === null) {
      const title = [...message.content.trim().replace(/\s+/g, " ")].slice(0, 80).join("");
      const { id } = await ask("POST", "/api/conversations", { title, system: this.system });
      Object.assign(this, { id, title });
    }
    const stored = await ask("POST", `${this.address}/messages`, message);
    this.messages.set(stored.id, stored);
    this.leaf = stored.id;
    return stored;
  }

  /** Show the path to a message from now on. */
  async show(message) {
    this.leaf = message.id;
    await ask("PATCH", this.address, { leaf: message.id });
  }

  /** Flag a reply, or rewrite it. */
  async judge(message, judgement) {
    this.messages.set(message.id, await ask("PATCH", `${this.address}/messages/${message.id}`, judgement));
  }
}

/** Return the text that counts of a message. */
export const said = (message) => message.rewrite ?? message.content;

/**
 * Collects a reply that is being drawn, as a message in the tree of its conversation.
 * The parts of a character that several tokens make up belong to the last of them.
 */
export class Draft {
  static count = 0;

  constructor(parent, model, sampling) {
    Object.assign(this, { id: `draft-${++Draft.count}`, parent, role: "assistant", content: "", model, finish_reason: "" });
    this.details = { tokens: [], sampling, dropped: 0 };
    this.isDraft = true;
    this.decoder = new TextDecoder();
  }

  extend(text, tokens) {
    this.content += text;
    for (const { token, bytes, logprob, top_logprobs: top = [] } of tokens) {
      const own = bytes?.length ? this.decoder.decode(new Uint8Array(bytes), { stream: true }) : token;
      const others = top.filter((other) => other.token !== token).map((other) => [other.token, other.logprob]).slice(0, 4);
      this.details.tokens.push({ text: own, logprob, top: others });
    }
  }

  /** Return what the server is to keep. */
  get body() {
    const { parent, role, content, model, finish_reason, details } = this;
    return { parent, role, content, model, finish_reason, details };
  }
}
