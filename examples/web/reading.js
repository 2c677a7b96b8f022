// The lower half: a picture, drawn, dropped or puzzled together, and the classifier's glimpses of it.

import { clutter } from "./clutter.js";
import { Classifier, readPicture } from "./js/web.js";
import { Panel, askForFile, chosenSteps, filmStrip } from "./panel.js";
import { Picture, keepFitting } from "./picture.js";
import { Player } from "./player.js";

export class Reading extends Panel {
  constructor(root) {
    super(root, Classifier);
    this.scene = null; // [C, H, W] in [0, 1]
    this.result = null; // {logits, probabilities, glimpses, windows}
    this.fresh = false; // nothing has been read or drawn since the model was opened
    this.player = new Player(root.querySelector(".viewer"), () => this.paint(), (step, count) => `glimpse ${step} of ${count}`);
    this.action("clear", () => this.clear());
    this.action("puzzle", () => {
      this.dismiss();
      this.onPuzzle?.();
    });
    this.action("choose", async () => {
      const [file] = await askForFile("image/*");
      if (file) this.readFile(file);
    });
    this.part("ink").addEventListener("change", () => this.file && this.readFile(this.file));
    this.fit = keepFitting(root, () => [this.stage, this.glimpse, ...this.film ?? []].filter(Boolean));
  }

  /** A model has been opened: lay the panel out for it. */
  async use() {
    const { info } = this.model;
    const glimpse = { channels: info.channels, height: info.readSize, width: info.readSize };
    this.round++;
    this.stage = new Picture(info);
    this.part("stage").replaceChildren(this.stage.element);
    this.glimpse = new Picture(glimpse);
    this.part("glimpse").replaceChildren(this.glimpse.element);
    this.root.querySelector(".glimpse-box").hidden = !info.steps;
    this.player.reset(1, 0);
    this.filmSteps = info.steps ? chosenSteps(info.timeSteps, 8) : [];
    this.film = this.filmSteps.map(() => new Picture(glimpse));
    filmStrip(this.root, this.film, this.filmSteps.map(String), (i) => this.player.seek(this.filmSteps[i]));
    this.#bars(info.labels);
    this.#listenToPen();
    this.fit();
    this.#blank();
    this.fresh = true;
    await this.onReady?.();
  }

  /** Show how large a digit is drawn best: as large as the decoder's pictures, if they fit. */
  setGuide(shape) {
    if (!this.stage) return;
    const fits = shape && shape.height < this.stage.height && shape.width < this.stage.width;
    this.stage.setGuide(fits ? shape : null);
  }

  #bars(labels) {
    this.root.querySelector(".bars").replaceChildren(
      ...labels.map((label) => {
        const item = document.createElement("li");
        const name = Object.assign(document.createElement("span"), { textContent: label });
        const track = Object.assign(document.createElement("div"), { className: "track" });
        track.append(Object.assign(document.createElement("div"), { className: "fill" }));
        item.append(name, track, Object.assign(document.createElement("span"), { className: "percent" }));
        return item;
      }),
    );
  }

  /** The visitor wants an empty scene to draw in. */
  clear() {
    this.dismiss();
    this.fresh = false;
    this.#blank();
  }

  #blank() {
    this.file = null;
    this.round++;
    this.scene = new Float32Array(this.model.info.channels * this.model.info.height * this.model.info.width);
    this.result = null;
    this.player.reset(1, 0);
    this.part("stage").classList.add("blank");
    this.paint();
    this.#showAnswer();
    this.say("Draw a digit with the pointer, drop or paste a picture.");
  }

  /** Classify a scene [C, H, W] and play its glimpses. */
  async look(scene, text = "") {
    this.fresh = false;
    this.part("stage").classList.remove("blank");
    this.scene = scene;
    if (!(await this.#classify())) return;
    this.player.start();
    const { labels, probabilities, best } = this.answer;
    const steps = this.model.info.steps ? "" : " This file gives the answer only: draw-export --outputs steps gives the glimpses.";
    this.say(`${text} The answer is ${labels[best]}, with ${percent(probabilities[best])}.${steps}`.trim());
  }

  /** @returns {Promise<boolean>} whether this is still the scene that is wanted */
  async #classify() {
    if (!this.model) return false; // it has failed, with the pen still down
    const round = ++this.round;
    const { info } = this.model;
    try {
      const { glimpses, readAttention: windows, logits, probabilities } = await this.model.classify(this.scene);
      if (round !== this.round) return false;
      this.result = { logits, probabilities, glimpses, windows };
    } catch (error) {
      if (round === this.round) this.giveUp(error);
      return false;
    }
    const count = info.steps ? info.timeSteps : 1;
    this.player.reset(count, Math.min(420, Math.max(60, 3400 / count)));
    this.player.show(count);
    this.#showAnswer();
    this.film.forEach((picture, i) => picture.show(this.#seen(this.filmSteps[i] - 1)));
    return true;
  }

  /** Glimpse t without its gain, so that brightness is the picture's. */
  #seen(t) {
    const { channels, readSize } = this.model.info;
    const size = channels * readSize * readSize;
    if (!this.result?.glimpses) return new Float32Array(size);
    const gamma = this.result.windows[5 * t + 4];
    return this.result.glimpses.subarray(t * size, (t + 1) * size).map((value) => (gamma > 0 ? value / gamma : 0));
  }

  /** Names, probabilities, and which is the largest; null for an empty scene. */
  get answer() {
    if (!this.result) return null;
    const { probabilities, logits } = this.result;
    return { labels: this.model.info.labels, probabilities, best: logits.indexOf(Math.max(...logits)) };
  }

  #showAnswer() {
    const { answer } = this;
    const { info } = this.model;
    const label = this.root.querySelector(".answer");
    label.textContent = answer ? answer.labels[answer.best] : "–";
    label.classList.toggle("long", label.textContent.length > 3);
    const sure = answer ? answer.probabilities[answer.best] : 0;
    this.root.querySelector(".answer-box").classList.toggle("unsure", sure < 0.5);
    this.root.querySelector(".confidence").textContent = answer
      ? `${percent(sure)}, after ${info.timeSteps} glimpses`
      : "nothing to see yet";
    this.root.querySelectorAll(".bars li").forEach((item, k) => {
      const p = answer?.probabilities[k] ?? 0;
      item.classList.toggle("best", k === answer?.best);
      item.querySelector(".fill").style.setProperty("--p", p);
      item.querySelector(".percent").textContent = answer ? percent(p) : "";
    });
  }

  /** Scene, windows and the glimpse at the player's step. */
  paint() {
    if (!this.stage) return;
    const { readSize } = this.model.info;
    const windows = this.result?.windows;
    const t = this.player.step - 1;
    this.stage.show(this.scene);
    this.stage.showWindows(windows ? Array.from({ length: t + 1 }, (_, i) => windows.subarray(5 * i, 5 * i + 5)) : [], readSize);
    this.stage.canvas.setAttribute("role", "img");
    this.stage.canvas.setAttribute("aria-label", "The picture that is read; draw on it with the pointer");
    this.glimpse.show(this.#seen(t));
    const now = this.result ? this.filmSteps.findLastIndex((step) => step <= this.player.step) : -1;
    this.root.querySelectorAll(".film figure").forEach((figure, i) => figure.classList.toggle("now", i === now));
    if (!this.result) this.film.forEach((picture) => picture.show(new Float32Array(3 * readSize * readSize)));
  }

  /** A picture file, a Blob of the clipboard, or whatever was dropped. */
  async readFile(file) {
    const { model } = this;
    if (!model) return this.say(`${file.name ?? "The picture"} was not read: no model is open yet.`);
    this.dismiss();
    this.fresh = false;
    const round = ++this.round; // whatever the visitor does meanwhile counts more
    const wanted = () => round === this.round && model === this.model;
    this.say(`Reading ${file.name ?? "the picture"} …`);
    try {
      await new Promise((resolve) => setTimeout(resolve)); // decoding may take seconds: let the line be seen
      const { image, steps, warning } = await readPicture(file, model.info, this.part("ink").value);
      if (!wanted()) return;
      this.file = file;
      const done = steps.length ? ` Prepared: ${steps.join(", ")}.` : "";
      const hint = warning ? ` The model knows nothing like it: ${warning}.` : "";
      await this.look(image, `${file.name ?? "The picture"} is read.${done}${hint}`);
    } catch (error) {
      if (wanted()) this.say(error.message);
    }
  }

  /** Hide one drawing among pieces of the others. `number` fixes the places. */
  puzzle(drawings, chosen, shape, number) {
    this.file = null;
    return this.look(clutter(this.model.info, drawings, chosen, shape, number), `Puzzle ${number}.`);
  }

  /** A pen of about the width of MNIST's strokes; the answer follows while one draws. */
  #listenToPen() {
    const { canvas } = this.stage;
    const { channels, height, width } = this.model.info;
    const radius = Math.max(0.6, (1.3 * Math.max(width, height)) / 100);
    let last = null, waiting = false;

    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * width - 0.5, ((event.clientY - box.top) / box.height) * height - 0.5];
    };
    const stroke = ([x0, y0], [x1, y1]) => {
      const dx = x1 - x0, dy = y1 - y0, length = dx * dx + dy * dy, reach = radius + 1;
      for (let y = Math.max(0, Math.floor(Math.min(y0, y1) - reach)); y <= Math.min(height - 1, Math.max(y0, y1) + reach); y++) {
        for (let x = Math.max(0, Math.floor(Math.min(x0, x1) - reach)); x <= Math.min(width - 1, Math.max(x0, x1) + reach); x++) {
          const along = length ? Math.min(1, Math.max(0, ((x - x0) * dx + (y - y0) * dy) / length)) : 0;
          const ink = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(x - x0 - along * dx, y - y0 - along * dy)));
          for (let c = 0; c < channels; c++) {
            const i = (c * height + y) * width + x;
            this.scene[i] = Math.max(this.scene[i], ink);
          }
        }
      }
    };
    const follow = () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(async () => {
        if (last) await this.#classify(); // once the pen is lifted the glimpses play
        waiting = false;
      });
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !event.isPrimary) return; // one finger draws: a palm that rests does not
      canvas.setPointerCapture(event.pointerId);
      this.dismiss();
      this.fresh = false;
      this.part("stage").classList.remove("blank");
      this.scene = this.scene.slice(); // a run may still be reading the old one
      last = place(event);
      stroke(last, last);
      this.paint();
      follow();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!last || !event.isPrimary) return;
      for (const part of event.getCoalescedEvents?.() ?? [event]) {
        const next = place(part);
        stroke(last, next);
        last = next;
      }
      this.stage.show(this.scene);
      follow();
    });
    const lift = (event) => {
      if (!last || !event.isPrimary) return;
      last = null;
      this.file = null;
      this.look(this.scene, "Your drawing.");
    };
    canvas.addEventListener("pointerup", lift);
    canvas.addEventListener("pointercancel", lift);
  }
}

function percent(p) {
  return `${(100 * p).toFixed(1)} %`;
}
