// Decoded pictures become what a model reads, by the rules of the Python runtime (docs/embedding.md): a classifier's by
// prepare.js, others' shrunk if larger and centred on black ("pad"), or cropped and resized to fill the frame ("cover").

import { cover } from "./cover.js";
import { WORK, boxMeans, checkInk, prepareLevels } from "./prepare.js";

const MAX_PIXELS = 64_000_000;

/**
 * A picture file in a page, turned as EXIF says.
 * @param {Blob} file PNG, JPEG, GIF, WebP or whatever else this browser decodes
 * @param {{channels: number, height: number, width: number, figureSize: number}} info of the model
 * @param {"auto"|"light"|"dark"} ink
 * @returns {Promise<{image: Float32Array, ink: string, steps: string[], warning: string}>} image [C, H, W] in [0, 1]
 */
export async function readPicture(file, info, ink = "auto") {
  const name = file.name ?? "the picture";
  let bitmap;
  try {
    // Bytes as they are in the file: no colour management, as in Python.
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new Error(`${name} is no picture that this browser can read.`);
  }
  const { width, height } = bitmap;
  let context;
  try {
    if (width * height > MAX_PIXELS) throw new Error(`${name} has more than the 64 megapixels that are read.`);
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
  } finally {
    bitmap.close(); // or a refused picture keeps its hundreds of megabytes
  }
  let pixels;
  try {
    pixels = context.getImageData(0, 0, width, height).data;
  } catch {
    throw new Error(`${name} is too large for this browser: ${width} × ${height} pixels.`);
  }
  return prepare(pixels, width, height, info, ink);
}

/**
 * Pixels from a canvas or from a decoder of yours.
 * @param {Uint8Array|Uint8ClampedArray} pixels RGBA, [height, width, 4]
 * @param {{channels: number, height: number, width: number, figureSize?: number, pictureFit?: string}} info of the model
 * @param {"auto"|"light"|"dark"} ink dark on light becomes light on dark; what is transparent stays black
 * @returns {{image: Float32Array, ink: string, steps: string[], warning: string}} image [C, H, W] in [0, 1]
 */
export function prepare(pixels, width, height, info, ink = "auto") {
  if (!(width >= 1 && height >= 1) || pixels.length !== 4 * width * height) {
    throw new RangeError(`${pixels.length} bytes are no RGBA picture of ${width} × ${height} pixels`);
  }
  if (info.channels !== 1 && info.channels !== 3) throw new RangeError(`no pictures of ${info.channels} channels`);
  checkInk(ink);
  if (info.pictureFit === "cover") {
    const dark = ink === "dark";
    const image = cover(pixels, width, height, info, dark);
    return { image, ink: dark ? "dark" : "light", steps: dark ? ["inverted"] : [], warning: "" };
  }
  // Without figures of a known size as few pixels as are twice the model's, else as many as are looked at.
  const twice = Math.floor(Math.min(Math.max(width / info.width, height / info.height) / 2, width, height));
  const times = info.figureSize ? Math.ceil(Math.max(width, height) / WORK) : Math.max(1, twice);
  return prepareLevels(averaged(pixels, width, height, times), info, info.figureSize ?? 0, ink);
}

/**
 * RGBA bytes, averaged over boxes of `times` x `times` pixels, as levels; one channel where all is grey. Colours count as
 * much as they are seen: what lies under a transparent pixel says nothing.
 */
export function averaged(pixels, width, height, times) {
  const w = Math.ceil(width / times), h = Math.ceil(height / times), plane = w * h;
  const shown = times > 1 ? premultiplied(pixels) : pixels;
  const bytes = new Float32Array(4 * plane);
  for (let c = 0; c < 4; c++) bytes.set(boxMeans((i) => shown[4 * i + c], width, height, times, average), c * plane);
  let grey = true;
  for (let at = 0; at < plane; at++) {
    const alpha = bytes[3 * plane + at];
    if (shown !== pixels && alpha > 0 && alpha < 255) {
      for (let c = 0; c < 3; c++) bytes[c * plane + at] = Math.min(255, Math.floor((255 * bytes[c * plane + at]) / alpha));
    }
    grey &&= bytes[at] === bytes[plane + at] && bytes[at] === bytes[2 * plane + at];
  }
  const levels = bytes.map((value) => value / 255);
  const channels = grey ? 1 : 3;
  return { channels, height: h, width: w, levels: levels.subarray(0, channels * plane), alpha: levels.subarray(3 * plane) };
}

/** Each colour times its alpha, as bytes; `pixels` themselves where nothing is transparent. */
function premultiplied(pixels) {
  let at = 3;
  while (at < pixels.length && pixels[at] === 255) at += 4;
  if (at >= pixels.length) return pixels;
  return pixels.map((value, i) => (i % 4 < 3 ? Math.round((value * pixels[i | 3]) / 255) : value));
}

/** A mean of bytes as a byte, in Pillow's whole numbers, which decide where a tie falls. */
function average(sum, count) {
  return count === 1 ? sum : Math.floor(((sum + (count >> 1)) * Math.floor(2 ** 24 / count)) / 2 ** 24);
}
