// How pictures of models of photographs are prepared: "cover" of runtime/pictures/reading.py.

import { filtered, triangle } from "./fit.js";

/**
 * The largest centred box of the frame's aspect, resized to the frame in whole bytes, as training does it.
 * @param {Uint8Array|Uint8ClampedArray} pixels RGBA, [height, width, 4]
 * @param {{channels: number, height: number, width: number}} shape of the model's picture
 * @param {boolean} invert the colours; what is transparent stays black
 * @returns {Float32Array} [C, H, W] in [0, 1]
 */
export function cover(pixels, width, height, shape, invert) {
  const plane = width * height;
  const values = new Float32Array(shape.channels * plane), level = [0, 0, 0];
  for (let i = 0; i < plane; i++) {
    for (let c = 0; c < 3; c++) {
      const byte = invert ? 255 - pixels[4 * i + c] : pixels[4 * i + c];
      level[c] = Math.floor((byte * pixels[4 * i + 3]) / 255 + 0.5); // over black
    }
    if (shape.channels === 3) for (let c = 0; c < 3; c++) values[c * plane + i] = level[c];
    else values[i] = (level[0] * 19595 + level[1] * 38470 + level[2] * 7471 + 0x8000) >> 16; // Rec. 601 in bytes
  }
  const factor = Math.min(width / shape.width, height / shape.height);
  const left = Math.max((width - factor * shape.width) / 2, 0), top = Math.max((height - factor * shape.height) / 2, 0);
  // Weights in Pillow's whole numbers, which decide where a tie falls.
  const whole = ({ first, weights }) => ({ first, weights: weights.map((w) => Math.floor(w * 2 ** 22 + 0.5) / 2 ** 22) });
  const across = triangle(width, shape.width, left, Math.min(left + factor * shape.width, width)).map(whole);
  const down = triangle(height, shape.height, top, Math.min(top + factor * shape.height, height)).map(whole);
  const byte = (value) => Math.min(255, Math.max(0, Math.floor(value + 0.5)));
  const box = filtered({ values, channels: shape.channels, height, width }, across, down, byte);
  return box.values.map((value) => value / 255);
}

/**
 * Floats [C, H, W] in [0, 1], C = 1 or 3, as RGBA bytes: for `cover`, ImageData or an encoder.
 * @returns {Uint8ClampedArray} [H, W, 4]
 */
export function toRGBA(values, { channels, height, width }) {
  const plane = width * height;
  const bytes = new Uint8ClampedArray(4 * plane);
  for (let i = 0; i < plane; i++) {
    for (let c = 0; c < 3; c++) {
      const value = values[channels === 3 ? c * plane + i : i];
      bytes[4 * i + c] = Math.floor(Math.min(1, Math.max(0, value)) * 255 + 0.5);
    }
    bytes[4 * i + 3] = 255;
  }
  return bytes;
}
