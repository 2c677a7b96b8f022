// One picture on the page: a canvas with as many pixels as the model's picture, and windows over it.

import { toRGBA } from "./js/web.js";

const SVG = "http://www.w3.org/2000/svg";

/**
 * The frame of an attention window in picture pixels, 0 at the left edge of the first one.
 *
 * It runs through the outermost of the n x n filter centres (a window of one filter frames one pixel). Its line is
 * half as wide as the Gaussians' standard deviation, from one screen pixel up to one pixel of the picture: a thin line
 * is a precise window, a thick one a blurred one, as in the paper. Where a picture pixel is larger than eight
 * screen pixels all lines are thinned in proportion, or they would hide what is drawn. What would lie outside is
 * moved to the edge.
 *
 * @param {Float32Array} row (x, y, delta, sigma, gamma), pixel 1 the first
 * @param {number} scale screen pixels per picture pixel
 */
export function frame(row, n, width, height, scale) {
  const [x, y, delta, sigma] = row;
  const line = Math.max(Math.min(sigma / 2, 1) * Math.min(1, 8 / scale), 1 / scale);
  const reach = n > 1 ? ((n - 1) / 2) * Math.abs(delta) : 0.5;
  const edge = (position, size) => Math.min(Math.max(position - 0.5, line / 2), size - line / 2);
  const left = edge(x - reach, width), right = edge(x + reach, width);
  const top = edge(y - reach, height), bottom = edge(y + reach, height);
  return { left, top, width: right - left, height: bottom - top, line };
}

export class Picture {
  /** @param {{channels: number, height: number, width: number}} shape */
  constructor({ channels, height, width }) {
    Object.assign(this, { channels, height, width, scale: 1 });
    this.element = document.createElement("div");
    this.element.className = "picture";
    this.canvas = this.element.appendChild(document.createElement("canvas"));
    this.canvas.width = width;
    this.canvas.height = height;
    this.overlay = this.element.appendChild(document.createElementNS(SVG, "svg"));
    this.overlay.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.overlay.setAttribute("aria-hidden", "true");
    this.context = this.canvas.getContext("2d");
    this.context.fillRect(0, 0, width, height);
  }

  /** @param {Float32Array} values [C, H, W] in [0, 1] */
  show(values) {
    this.context.putImageData(new ImageData(toRGBA(values, this), this.width), 0, 0);
  }

  /**
   * Draw attention windows; the last is the present one, those before it a trail.
   * @param {Float32Array[]} rows (x, y, delta, sigma, gamma) each; none removes what is there
   * @param {number} n filters per axis
   */
  showWindows(rows, n) {
    this.rows = rows;
    this.filters = n;
    const frames = rows.map((row) => frame(row, n, this.width, this.height, this.scale));
    // The present window keeps its element, so that it glides from place to place.
    let now = this.overlay.querySelector("rect.now");
    for (const old of [...this.overlay.children]) if (old !== now && !old.matches(".guide")) old.remove();
    if (!frames.length) {
      now?.remove();
      return;
    }
    for (const past of frames.slice(0, -1)) {
      const rect = this.overlay.appendChild(document.createElementNS(SVG, "rect"));
      rect.setAttribute("class", "trail");
      place(rect, { ...past, line: Math.min(past.line, this.#thinnest()) });
    }
    if (frames.length > 1) {
      const path = this.overlay.appendChild(document.createElementNS(SVG, "polyline"));
      path.setAttribute("points", frames.map((f) => `${f.left + f.width / 2},${f.top + f.height / 2}`).join(" "));
      path.setAttribute("stroke-width", this.#thinnest());
      path.setAttribute("stroke-dasharray", `${2 * this.#thinnest()} ${2 * this.#thinnest()}`);
    }
    now ??= document.createElementNS(SVG, "rect");
    now.setAttribute("class", "now");
    place(now, frames.at(-1));
    if (!now.isConnected || this.overlay.lastChild !== now) this.overlay.append(now);
  }

  /** A dashed box of a shape in the middle, or none. */
  setGuide(shape) {
    this.overlay.querySelector(".guide")?.remove();
    if (!shape) return;
    const rect = document.createElementNS(SVG, "rect");
    rect.setAttribute("class", "guide");
    const left = (this.width - shape.width) / 2, top = (this.height - shape.height) / 2;
    place(rect, { left, top, width: shape.width, height: shape.height, line: this.#thinnest() });
    rect.setAttribute("stroke-dasharray", `${4 * this.#thinnest()} ${4 * this.#thinnest()}`);
    this.overlay.prepend(rect);
  }

  #thinnest() {
    return Math.max(1, Math.min(1.5, this.scale / 2)) / this.scale; // in picture pixels
  }

  /** Make it as wide as fits into `available` screen pixels with every picture pixel a square of whole ones. */
  fit(available) {
    const ratio = window.devicePixelRatio || 1;
    const whole = Math.floor((available * ratio) / this.width) / ratio;
    this.scale = whole > 0 ? whole : available / this.width; // smaller than its own pixels: it has to shrink
    this.element.style.width = `${this.width * this.scale}px`;
    this.element.style.height = `${this.height * this.scale}px`;
    if (this.rows) this.showWindows(this.rows, this.filters);
  }
}

function place(rect, { left, top, width, height, line }) {
  for (const [name, value] of Object.entries({ x: left, y: top, width, height, "stroke-width": line })) {
    rect.setAttribute(name, value);
  }
}

/** Fit pictures into their parents, now and whenever these change their width. */
export function keepFitting(container, pictures) {
  const fitAll = () => {
    for (const picture of pictures()) {
      const room = picture.element.closest(".cell") ?? picture.element.parentElement;
      if (room?.clientWidth) picture.fit(room.clientWidth);
    }
  };
  new ResizeObserver(fitAll).observe(container);
  return fitAll;
}

/**
 * Pictures side by side on one canvas, whole screen pixels each, ready to be saved.
 * @param {Picture[]} pictures of one shape
 */
export function contactSheet(pictures, columns, side = 1120) {
  const [{ width, height }] = pictures;
  const rows = Math.ceil(pictures.length / columns);
  const scale = Math.max(1, Math.floor(side / Math.max(columns * width, rows * height)));
  const gap = pictures.length > 1 ? Math.max(1, Math.floor(scale / 2)) : 0;
  const canvas = document.createElement("canvas");
  canvas.width = columns * (width * scale + gap) - gap;
  canvas.height = rows * (height * scale + gap) - gap;
  const context = canvas.getContext("2d");
  context.fillStyle = "rgb(70 70 70)";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = false;
  pictures.forEach((picture, k) => {
    const left = (k % columns) * (width * scale + gap), top = Math.floor(k / columns) * (height * scale + gap);
    context.drawImage(picture.canvas, left, top, width * scale, height * scale);
    for (const row of picture.rows ?? []) {
      const box = frame(row, picture.filters, width, height, scale);
      context.strokeStyle = getComputedStyle(picture.element).getPropertyValue("--window") || "red";
      context.lineWidth = box.line * scale;
      context.strokeRect(left + box.left * scale, top + box.top * scale, box.width * scale, box.height * scale);
    }
  });
  return canvas;
}

/** Offer a canvas as a PNG file. */
export async function savePng(canvas, name) {
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
