// What both halves of the page share: a model's states, its facts, and files from the visitor's disk.

import { runtime } from "./runtime.js";

export class Panel {
  /** @param {Element} root the section; @param {Function} kind of model it needs: Sampler or Classifier */
  constructor(root, kind) {
    // Files have numbers in the order in which they are asked for, the page's own 0; `opened` is the open model's.
    Object.assign(this, { root, kind, model: null, asked: 0, opened: 0, round: 0, said: "" });
    this.loading = new Map(); // names of files on their way, by their numbers
    this.status = root.querySelector(".status");
    this.problem = root.querySelector(".problem");
    this.action("open-model", () => this.askForModel());
  }

  part(name) {
    return this.root.querySelector(`[data-part="${name}"]`);
  }

  action(name, run) {
    this.root.querySelector(`[data-action="${name}"]`).addEventListener("click", run);
  }

  enable() {
    for (const control of this.root.querySelectorAll("[data-action], .field input, .warmth input")) control.disabled = false;
  }

  /** A line below the pictures, which screen readers speak. */
  say(text) {
    this.said = text;
    this.status.textContent = text;
  }

  /** What a wrong file leaves untouched: the newest that is on its way, else the open one. */
  get #kept() {
    return [...this.loading.values()].at(-1) ?? (this.model ? this.name : null);
  }

  /** The line below says what is on its way, else what was said last. */
  #showLoading() {
    this.status.textContent = this.loading.size ? `Loading ${this.#kept} …` : this.said;
  }

  /**
   * Open the model at an address of this site, or a File; then `use` it, or say why not. Of several that are on their
   * way the one that was asked for last stays; a wrong file stops none.
   */
  async openModel(source, number = ++this.asked) {
    const name = source instanceof File ? source.name : unquoted(source);
    this.dismiss();
    this.loading.set(number, name);
    this.#showLoading();
    let model, mistake;
    try {
      model = await this.kind.open(source, { name, ort: runtime() });
    } catch (error) {
      mistake = error;
    }
    this.loading.delete(number);
    if (number < this.opened) { // a later one was quicker
      this.#showLoading();
      return model?.release();
    }
    if (mistake) return this.fail(mistake.message, this.#kept && `${name} was not opened; ${this.#kept} stays.`);
    this.model?.release();
    Object.assign(this, { model, name, opened: number });
    this.root.dataset.state = "ready";
    try {
      this.showFacts();
      this.enable();
      await this.use();
    } catch (error) {
      if (this.model === model) this.giveUp(error);
    }
  }

  /** The open model failed while it ran. */
  giveUp(error) {
    this.round++; // what it still computes is dropped
    this.player.pause();
    this.model?.release();
    this.model = null;
    this.said = "";
    this.root.dataset.state = "error";
    this.fail(error.message);
  }

  /** A clear word and a way on; it takes the panel's place unless a model is open or on its way. */
  fail(message, heading) {
    const kept = this.#kept;
    if (!kept) this.root.dataset.state = "error";
    this.#showLoading();
    const [title, text, choices] = ["strong", "p", "div"].map((kind) => document.createElement(kind));
    title.textContent = heading ?? "This model cannot be used.";
    text.textContent = message;
    if (kept) choices.append(button("Close", () => this.#close()));
    choices.append(button("Open a model file…", () => this.askForModel()));
    this.problem.replaceChildren(title, text, choices);
    this.problem.hidden = false;
  }

  /** The visitor goes on: what was wrong with a file is no matter any more. */
  dismiss() {
    this.problem.hidden = true;
  }

  #close() {
    this.dismiss();
    this.root.querySelector("details").open = true; // what is folded away takes no focus
    this.root.querySelector('[data-action="open-model"]').focus();
  }

  async askForModel() {
    const [file] = await askForFile(".onnx");
    if (file) await this.openModel(file);
  }

  showFacts() {
    const { info, size } = this.model;
    const facts = {
      File: `${this.name}, ${(size / 1e6).toLocaleString("en", { maximumSignificantDigits: 3 })} MB`,
      "Trained on": info.dataset,
      Picture: `${info.width} × ${info.height}, ${info.channels === 1 ? "grey" : "colour"}`,
      [info.latentSize ? "Steps" : "Glimpses"]: info.timeSteps,
      ...(info.latentSize && { "Noise a step": `${info.latentSize} numbers` }),
      "Hidden units": info.metadata.hidden_size,
      Window: this.windowSize ? `${this.windowSize} × ${this.windowSize} filters` : "none: no attention",
      Licence: info.metadata.model_license || "not stated",
      Author: info.metadata.model_author || "not stated",
      Weights: `SHA-256 ${info.metadata.weights_sha256?.slice(0, 16)}…`,
    };
    const list = this.root.querySelector(".facts");
    list.replaceChildren(
      ...Object.entries(facts).map(([term, value]) => {
        const pair = document.createElement("div");
        pair.append(
          Object.assign(document.createElement("dt"), { textContent: term }),
          Object.assign(document.createElement("dd"), { textContent: value }),
        );
        return pair;
      }),
    );
  }

  get windowSize() {
    const { info } = this.model;
    return info.attention ? info.writeSize || info.readSize : 0;
  }
}

function button(text, run) {
  const element = Object.assign(document.createElement("button"), { type: "button", textContent: text });
  element.addEventListener("click", run);
  return element;
}

/** The file name of an address. */
function unquoted(address) {
  try {
    return decodeURIComponent(address);
  } catch {
    return address; // no UTF-8
  }
}

/** The browser's file dialogue; no files when it is closed without one. */
export function askForFile(accept) {
  return new Promise((resolve) => {
    // In the document while it is open: a field that nothing refers to may be collected with its dialogue.
    const input = Object.assign(document.createElement("input"), { type: "file", accept, hidden: true });
    const done = () => {
      resolve([...input.files]);
      input.remove();
    };
    input.addEventListener("change", done);
    input.addEventListener("cancel", done);
    document.body.append(input);
    input.click();
  });
}

/** Up to `most` of the numbers 1 .. count, evenly spread, the first and the last among them. */
export function chosenSteps(count, most) {
  if (count <= most) return Array.from({ length: count }, (_, i) => i + 1);
  return Array.from({ length: most }, (_, i) => Math.round(1 + (i * (count - 1)) / (most - 1)));
}

/** A row of small pictures under the columns; returns them. A click asks for the step. */
export function filmStrip(root, pictures, captions, onChoose) {
  const film = root.querySelector(".film");
  film.style.setProperty("--count", Math.max(8, pictures.length)); // few are not blown up
  film.classList.toggle("four", pictures.length % 4 === 0);
  film.replaceChildren(
    ...pictures.map((picture, i) => {
      const figure = document.createElement("figure");
      figure.append(picture.element);
      figure.append(Object.assign(document.createElement("figcaption"), { textContent: captions[i] }));
      figure.addEventListener("click", () => onChoose(i));
      return figure;
    }),
  );
  root.querySelector(".film-box").hidden = pictures.length < 2;
}
