// A canvas that shows a game: shapes in the game's own units, in the light or in the dark as the reader has it.

const DARK = matchMedia("(prefers-color-scheme: dark)");

export class Board {
  #canvas; #pen; #scene = null; #palette = {}; #frame = null; #you = null; #scale = 1; #behind = null; #images = new Map(); #asked = 0;

  /** `onShown()` is called when what was last given to `show` has been drawn. */
  constructor(canvas, onShown = () => {}) {
    this.#canvas = canvas;
    this.#pen = canvas.getContext("2d");
    this.onShown = onShown;
    new ResizeObserver(() => this.#fit()).observe(canvas.parentElement);
    DARK.addEventListener("change", () => this.#fit());
  }

  /** Say what stays as it is: the scene, and the colours by name, in the light and in the dark. */
  open(scene, palette) {
    this.#scene = scene;
    this.#palette = palette;
    this.#frame = null;
    this.#fit();
  }

  /** Draw a moment with the next picture of the screen; `you` is the number of the agent to mark. */
  show(frame, you = null) {
    this.#frame = frame;
    this.#you = you;
    this.#asked ||= requestAnimationFrame(() => this.#draw());
  }

  #fit() {
    if (!this.#scene) return;
    const { width, height } = this.#scene, room = this.#canvas.parentElement.getBoundingClientRect();
    const finer = devicePixelRatio || 1, largest = Math.min(room.width / width, room.height / height) * finer;
    // A unit of whole pixels leaves no seams between shapes
    this.#scale = largest > 8 ? Math.floor(largest) : largest;
    this.#canvas.width = Math.max(1, Math.round(width * this.#scale));
    this.#canvas.height = Math.max(1, Math.round(height * this.#scale));
    this.#canvas.style.width = `${this.#canvas.width / finer}px`;
    this.#canvas.style.height = `${this.#canvas.height / finer}px`;
    // What never moves is drawn once
    this.#behind = new OffscreenCanvas(this.#canvas.width, this.#canvas.height);
    const pen = this.#behind.getContext("2d");
    pen.scale(this.#scale, this.#scale);
    this.#shapes(pen, this.#scene.background);
    this.#draw();
  }

  #draw() {
    this.#asked = 0;
    if (!this.#behind) return;
    this.#pen.setTransform(1, 0, 0, 1, 0, 0);
    this.#pen.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    this.#pen.drawImage(this.#behind, 0, 0);
    this.#pen.scale(this.#scale, this.#scale);
    if (!this.#frame) return;
    this.#shapes(this.#pen, this.#frame.shapes);
    const place = this.#frame.places?.[this.#you];
    if (place) this.#mark(place);
    this.onShown();
  }

  #colour(name) {
    return this.#palette[name]?.[DARK.matches ? 1 : 0] ?? "transparent";
  }

  #shapes(pen, shapes) {
    for (const [kind, colour, at, text] of shapes) {
      pen.fillStyle = pen.strokeStyle = this.#colour(colour);
      pen.beginPath();
      if (kind === "box") {
        pen.roundRect(at[0], at[1], at[2], at[3], at[4]);
        pen.fill();
      } else if (kind === "disc") {
        pen.arc(at[0], at[1], at[2], 0, 2 * Math.PI);
        pen.fill();
      } else if (kind === "area") {
        for (let i = 0; i < at.length; i += 2) pen.lineTo(at[i], at[i + 1]);
        pen.fill();
      } else if (kind === "line") {
        pen.lineWidth = at[0];
        pen.lineCap = pen.lineJoin = "round";
        for (let i = 1; i < at.length; i += 2) pen.lineTo(at[i], at[i + 1]);
        pen.stroke();
      } else if (kind === "words") {
        // Browsers draw no letters below a pixel, so they are drawn in pixels
        const scale = this.#scale;
        pen.save();
        pen.scale(1 / scale, 1 / scale);
        pen.font = `600 ${at[2] * scale}px system-ui, sans-serif`;
        pen.textAlign = "center";
        pen.textBaseline = "middle";
        pen.fillText(text, at[0] * scale, at[1] * scale);
        pen.restore();
      } else if (kind === "image") {
        const image = this.#image(text);
        if (image) pen.drawImage(image, at[0], at[1], at[2], at[3]);
      }
    }
  }

  /** Return a picture once it is decoded; until then nothing, and it is drawn again. */
  #image(text) {
    if (!this.#images.has(text)) {
      if (this.#images.size > 64) this.#images.clear();
      this.#images.set(text, null);
      const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
      createImageBitmap(new Blob([bytes], { type: "image/png" })).then((image) => {
        this.#images.set(text, image);
        this.#asked ||= requestAnimationFrame(() => this.#draw());
      });
    }
    return this.#images.get(text);
  }

  /** Point at a place from above. */
  #mark([x, y]) {
    const size = Math.min(this.#scene.width, this.#scene.height) / 32, tip = Math.max(y - 3.1 * size, 1.6 * size), pen = this.#pen;
    pen.beginPath();
    for (const [right, down] of [[0, 0], [-size, -1.5 * size], [size, -1.5 * size]]) pen.lineTo(x + right, tip + down);
    pen.closePath();
    pen.lineJoin = "round";
    pen.lineWidth = size / 1.5;
    pen.strokeStyle = this.#colour("paper");
    pen.stroke();
    pen.fillStyle = this.#colour("dark");
    pen.fill();
  }
}

/** Return seconds as minutes and seconds, such as 1:05. */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** Return a number for people, with at most two places after the point. */
export const figure = (value) => String(Math.round(value * 100) / 100);
