// Play, pause, and a slider over steps 1 .. count. Space plays, arrows step, Home and End jump.

export const stillPreferred = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

export class Player {
  /**
   * @param {Element} viewer holds .play, input.steps and .position; keys are heard in all of it
   * @param {(step: number) => void} onStep
   * @param {(step: number, count: number) => string} name what a step is called
   */
  constructor(viewer, onStep, name) {
    Object.assign(this, { onStep, name, count: 1, step: 1, timer: 0, interval: 200 });
    this.button = viewer.querySelector(".play");
    this.slider = viewer.querySelector(".steps");
    this.position = viewer.querySelector(".position");
    this.button.addEventListener("click", () => this.toggle());
    this.slider.addEventListener("input", () => this.seek(this.slider.valueAsNumber));
    viewer.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Steps there are, and milliseconds each. */
  reset(count, interval) {
    this.pause();
    Object.assign(this, { count, interval });
    this.slider.max = count;
    this.slider.disabled = this.button.disabled = count < 2;
    this.slider.parentElement.hidden = count < 2;
  }

  get playing() {
    return this.timer !== 0;
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play(this.step < this.count ? this.step : 1);
  }

  /** Play from a step on. With reduced motion only when asked for by the button or a key. */
  play(from = 1) {
    this.pause();
    this.show(from);
    if (from >= this.count) return;
    this.timer = setInterval(() => {
      this.show(this.step + 1);
      if (this.step >= this.count) this.pause();
    }, this.interval);
    this.#mark();
  }

  /** Play by itself, or show the end at once where motion is not wanted. */
  start() {
    if (stillPreferred()) this.seek(this.count);
    else this.play(1);
  }

  pause() {
    clearInterval(this.timer);
    this.timer = 0;
    this.#mark();
  }

  seek(step) {
    this.pause();
    this.show(step);
  }

  show(step) {
    this.step = Math.min(Math.max(step, 1), this.count);
    this.slider.value = this.step;
    this.slider.style.setProperty("--done", `${(100 * (this.step - 1)) / Math.max(1, this.count - 1)}%`);
    const text = this.name(this.step, this.count);
    this.slider.setAttribute("aria-valuetext", text);
    this.position.textContent = text;
    this.onStep(this.step);
  }

  #mark() {
    this.button.toggleAttribute("data-playing", this.playing);
    this.button.setAttribute("aria-label", this.playing ? "Pause" : "Play");
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || this.button.disabled) return;
    const onButton = event.target === this.button;
    if (event.key === " " && onButton) return; // a click by itself
    const actions = {
      " ": () => this.toggle(),
      ArrowLeft: () => this.seek(this.step - 1),
      ArrowRight: () => this.seek(this.step + 1),
      Home: () => this.seek(1),
      End: () => this.seek(this.count),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }
}
