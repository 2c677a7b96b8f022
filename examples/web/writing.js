// The upper half: a seed becomes sixteen pictures, drawn step by step with the write window over them.

import { Sampler } from "./js/web.js";
import { Panel, chosenSteps, filmStrip } from "./panel.js";
import { Picture, contactSheet, keepFitting, savePng } from "./picture.js";
import { Player } from "./player.js";

const SHEET = 16;
const LARGEST_SEED = 2n ** 64n - 1n;

export class Writing extends Panel {
  constructor(root) {
    super(root, Sampler);
    this.seed = 0n;
    this.temperature = 1; // what the noise is multiplied by
    this.chosen = 0; // number of the picture on the stage
    this.drawings = []; // of this seed: {image, canvases, windows}, where they are done
    this.presented = null; // number of the one that command and check line are of
    this.player = new Player(root.querySelector(".viewer"), () => this.paint(), (step) => this.stepName(step));
    this.input = root.querySelector("#seed");
    this.warmth = root.querySelector("#temperature");
    this.#controls();
    this.fit = keepFitting(root, () => [this.stage, ...this.tiles ?? [], ...this.film ?? []].filter(Boolean));
  }

  #controls() {
    this.action("previous-seed", () => this.draw(BigInt.asUintN(64, this.seed - 1n)));
    this.action("next-seed", () => this.draw(BigInt.asUintN(64, this.seed + 1n)));
    this.action("random-seed", () => this.draw(BigInt(crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000)));
    this.action("save", () => savePng(contactSheet([this.stage], 1), `draw-seed${this.seed}-picture${this.chosen}-step${this.step}.png`));
    this.action("save-sheet", () => savePng(contactSheet(this.tiles, 4), `draw-seed${this.seed}-step${this.step}.png`));
    this.root.querySelector('[data-part="window-switch"] input').addEventListener("change", () => this.paint());

    this.input.addEventListener("input", () => {
      clearTimeout(this.typing);
      const seed = this.#typedSeed();
      if (seed !== null) this.typing = setTimeout(() => this.draw(seed), 300);
    });
    this.input.addEventListener("keydown", (event) => {
      const change = { ArrowUp: 1n, ArrowDown: -1n }[event.key];
      if (!change) return;
      event.preventDefault();
      this.draw(BigInt.asUintN(64, this.seed + change));
    });
    this.input.form.addEventListener("submit", (event) => {
      event.preventDefault();
      clearTimeout(this.typing);
      const seed = this.#typedSeed();
      if (seed !== null && this.model) this.draw(seed);
    });

    this.warmth.addEventListener("input", () => {
      const temperature = this.warmth.valueAsNumber;
      this.#showTemperature(temperature);
      clearTimeout(this.turning);
      this.turning = setTimeout(() => {
        this.temperature = temperature;
        this.draw(this.#typedSeed() ?? this.seed);
      }, 100);
    });

    const sheet = this.root.querySelector(".sheet");
    sheet.addEventListener("keydown", (event) => {
      const change = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -4, ArrowDown: 4 }[event.key];
      if (!change) return;
      event.preventDefault();
      this.choose((this.chosen + change + SHEET) % SHEET);
      sheet.querySelectorAll("button")[this.chosen].focus();
    });
  }

  /** The number in the field, or null after saying what is wrong with it. */
  #typedSeed() {
    const text = this.input.value.trim();
    const seed = /^[0-9]{1,20}$/.test(text) ? BigInt(text) : null;
    const valid = seed !== null && seed <= LARGEST_SEED;
    this.input.setAttribute("aria-invalid", String(!valid));
    this.root.querySelector("#seed-problem").textContent = valid ? "" : `A seed is a whole number from 0 to ${LARGEST_SEED}.`;
    return valid ? seed : null;
  }

  #showTemperature(temperature) {
    this.warmth.value = temperature;
    this.warmth.style.setProperty("--done", `${(100 * temperature) / this.warmth.max}%`);
    this.warmth.form.querySelector("output").textContent = String(temperature);
  }

  /** A model has been opened: lay the panel out for it and draw. */
  async use() {
    const { info } = this.model;
    this.stage = new Picture(info);
    this.part("stage").replaceChildren(this.stage.element);
    this.tiles = Array.from({ length: SHEET }, () => new Picture(info));
    const cells = this.tiles.map((tile, k) => {
      const button = Object.assign(document.createElement("button"), { type: "button" });
      button.setAttribute("role", "radio");
      button.setAttribute("aria-label", `Picture ${k}`);
      button.append(tile.element);
      button.addEventListener("click", () => this.choose(k));
      const cell = Object.assign(document.createElement("div"), { className: "cell" });
      cell.append(button);
      return cell;
    });
    this.root.querySelector(".sheet").replaceChildren(...cells);
    const count = this.#positions;
    this.filmSteps = info.steps ? chosenSteps(info.timeSteps, 10) : [];
    this.film = this.filmSteps.map(() => new Picture(info));
    filmStrip(this.root, this.film, this.filmSteps.map(String), (i) => {
      // The last picture of the strip is the finished one.
      this.player.seek(this.filmSteps[i] === info.timeSteps ? count : this.filmSteps[i]);
    });
    this.part("window-switch").hidden = !this.#hasWindows;
    const patch = this.#hasWindows ? `, each a patch of ${info.writeSize} × ${info.writeSize} painted through the red window` : "";
    this.root.querySelector(".about").textContent = `Noise in, picture out, in ${info.timeSteps} steps${patch}.`;
    this.fit();
    await this.#drawAll(this.seed);
  }

  get #hasWindows() {
    return this.model.info.steps && this.model.info.attention;
  }

  /** Positions of the slider: with windows one more than steps, to see the finished picture whole. */
  get #positions() {
    const { steps, timeSteps } = this.model.info;
    return steps ? timeSteps + (this.#hasWindows ? 1 : 0) : 1;
  }

  get finished() {
    return Boolean(this.drawings[this.chosen]) && this.player.step === this.#positions;
  }

  /** 1-based number of the step that is shown. */
  get step() {
    const { timeSteps, steps } = this.model.info;
    return steps ? Math.min(this.player.step, timeSteps) : timeSteps;
  }

  stepName(position) {
    const { timeSteps } = this.model.info;
    return position > timeSteps ? "finished" : `step ${position} of ${timeSteps}`;
  }

  /** The visitor wants another seed, or temperature. */
  async draw(seed) {
    if (!this.model) return; // it has failed meanwhile
    this.dismiss();
    await this.#drawAll(seed);
  }

  /** Draw the sixteen pictures of a seed, the chosen one first. */
  async #drawAll(seed) {
    const round = ++this.round; // results of an older one are dropped
    clearTimeout(this.typing);
    this.seed = seed;
    this.drawings = [];
    this.presented = null;
    if (document.activeElement !== this.input || this.input.value !== String(seed)) this.input.value = seed;
    this.#typedSeed(); // takes back a complaint
    this.#showTemperature(this.temperature);
    this.#remember();
    try {
      const first = this.chosen, begin = performance.now();
      await this.#compute(first, 1, round);
      const taken = performance.now() - begin;
      if (round !== this.round) return;
      if (this.chosen === first) this.#present(taken); // another may have been chosen meanwhile
      // In portions of some 40 ms, so that the page stays responsive.
      const portion = Math.max(1, Math.min(SHEET, Math.floor(40 / Math.max(taken, 1))));
      for (let next = 0; next < SHEET; next += portion) {
        await this.#compute(next, Math.min(portion, SHEET - next), round);
        if (round !== this.round) return;
        if (this.presented !== this.chosen && this.drawings[this.chosen]) this.#present();
        else this.paint();
        await new Promise((resolve) => setTimeout(resolve));
        if (round !== this.round) return;
      }
    } catch (error) {
      if (round === this.round) this.giveUp(error);
      return;
    }
    await this.onDrawn?.();
  }

  /** Pictures first .. first + count - 1 of the seed; those that are there already stay as they are. */
  async #compute(first, count, round) {
    const results = await this.model.sample(count, { seed: this.seed, start: BigInt(first), temperature: this.temperature });
    if (round !== this.round) return;
    const row = (values, k) => values?.subarray((k * values.length) / count, ((k + 1) * values.length) / count);
    for (let k = 0; k < count; k++) {
      this.drawings[first + k] ??= {
        image: row(results.images, k), // [C, H, W]
        canvases: row(results.canvases, k), // [T, C, H, W]
        windows: row(results.writeAttention, k), // [T, 5]
      };
    }
  }

  /** Another of the sixteen goes on the stage. */
  choose(k) {
    this.dismiss();
    this.chosen = k;
    this.#remember();
    if (this.drawings[k]) this.#present(); // else as soon as it is there
  }

  #present(milliseconds) {
    this.presented = this.chosen;
    const { info } = this.model;
    const { image } = this.drawings[this.chosen];
    const count = this.#positions;
    this.player.reset(count, Math.min(260, Math.max(45, 2600 / count)));
    this.#paintFilm();
    this.player.start();
    const steps = info.steps ? "" : " This file gives finished pictures only: draw-export --outputs steps gives every step.";
    const taken = milliseconds ? `, computed in ${Math.max(1, Math.round(milliseconds))} ms` : "";
    const warmth = this.temperature === 1 ? "" : ` --temperature ${this.temperature}`;
    const output = info.steps ? "--png" : "--grid";
    this.say(`Seed ${this.seed}, picture ${this.chosen}${taken}.${steps}`);
    this.root.querySelector(".command").textContent =
      `draw-gen --onnx ${quoted(this.name.split("/").at(-1))} --seed ${this.seed} --start ${this.chosen} -n 1${warmth} ${output} picture.png --check`;
    this.root.querySelector(".check-line").textContent =
      this.model.checkLine({ images: image, seed: this.seed, start: BigInt(this.chosen), count: 1 });
  }

  #remember() {
    // After a pause: browsers refuse an address that changes all the time.
    clearTimeout(this.remembering);
    this.remembering = setTimeout(() => history.replaceState(null, "", this.address), 200);
    this.root.querySelectorAll(".sheet button").forEach((button, k) => {
      button.setAttribute("aria-checked", String(k === this.chosen));
      button.tabIndex = k === this.chosen ? 0 : -1;
    });
  }

  /** What the address says of the drawing: it may be kept and sent. */
  get address() {
    const warmth = this.temperature === 1 ? "" : `&temperature=${this.temperature}`;
    return `#seed=${this.seed}&picture=${this.chosen}${warmth}`;
  }

  /** The canvas [C, H, W] of a drawing after a step, and its window. */
  #moment(drawing, position) {
    const { timeSteps } = this.model.info;
    if (!drawing) return { values: [], rows: [] };
    if (!drawing.canvases || position >= timeSteps + (this.#hasWindows ? 1 : 0)) return { values: drawing.image, rows: [] };
    const size = drawing.image.length, t = position - 1;
    const shown = this.#hasWindows && this.root.querySelector('[data-part="window-switch"] input').checked;
    return {
      values: drawing.canvases.subarray(t * size, (t + 1) * size),
      rows: shown ? [drawing.windows.subarray(5 * t, 5 * t + 5)] : [],
    };
  }

  /** Stage, sheet and strip at the player's step. */
  paint() {
    if (!this.stage) return;
    const { writeSize } = this.model.info;
    [this.stage, ...this.tiles].forEach((picture, i) => {
      const { values, rows } = this.#moment(this.drawings[i ? i - 1 : this.chosen], this.player.step);
      picture.show(values);
      picture.showWindows(rows, writeSize);
    });
    this.stage.canvas.setAttribute("role", "img");
    this.stage.canvas.setAttribute("aria-label", `Picture ${this.chosen} of seed ${this.seed}, ${this.stepName(this.player.step)}`);
    const now = this.filmSteps.findLastIndex((step) => step <= this.player.step);
    this.root.querySelectorAll(".film figure").forEach((figure, i) => figure.classList.toggle("now", i === now));
  }

  #paintFilm() {
    this.film.forEach((picture, i) => {
      const last = this.filmSteps[i] === this.model.info.timeSteps;
      const { values, rows } = this.#moment(this.drawings[this.chosen], last ? Infinity : this.filmSteps[i]);
      picture.show(values);
      picture.showWindows(rows, this.model.info.writeSize);
    });
  }
}

/** A file name as a shell takes it for one word. */
function quoted(name) {
  return /^[\w%+=:,.@-]+$/.test(name) ? name : `'${name.replaceAll("'", `'\\''`)}'`;
}
