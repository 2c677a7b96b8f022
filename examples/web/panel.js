// What both halves of the page share: a model's states, its facts, and files from the visitor's disk.

import { runtime } from "./runtime.js";

export class Panel {
  /** @param {Element} root the section; @param {Function} kind of model it needs: Sampler or Classifier */
  constructor(root, kind) {
    Object.assign(this, { root, kind, model: null, opening: 0 });
    this.status = root.querySelector(".status");
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
    this.status.textContent = text;
  }

  /** Open the model at an address of this site, or a File; then `use` it, or say why not. */
  async openModel(source) {
    const opening = ++this.opening;
    const name = source instanceof File ? source.name : source;
    this.say(`Loading ${name} …`);
    try {
      const model = await this.kind.open(source, { ort: runtime() });
      if (opening !== this.opening) return model.release(); // another was chosen meanwhile
      this.model?.release();
      this.model = model;
      this.name = name;
      this.root.querySelector(".problem").hidden = true;
      this.root.dataset.state = "ready";
      this.showFacts();
      this.enable();
      await this.use();
    } catch (error) {
      if (opening === this.opening) this.fail(error.message);
    }
  }

  /** The open model failed while it ran. */
  giveUp(error) {
    this.player.pause();
    this.model.release();
    this.model = null;
    this.fail(error.message);
  }

  /** A clear word and a way on; it takes the panel's place unless a model is open already. */
  fail(message, heading = "This model cannot be used.") {
    if (!this.model) this.root.dataset.state = "error";
    this.say("");
    const box = this.root.querySelector(".problem");
    const title = Object.assign(document.createElement("strong"), { textContent: heading });
    const text = Object.assign(document.createElement("p"), { textContent: message });
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Open a model file…" });
    button.addEventListener("click", () => this.askForModel());
    box.replaceChildren(title, text, button);
    box.hidden = false;
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
