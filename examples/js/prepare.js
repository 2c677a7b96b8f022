// Pictures of ink as people have them become what a model of light figures on black knows: the numbered rule of
// "Pictures of ink" in docs/embedding.md, as runtime/pictures/prepare.py follows it. Plain ES modules, no dependencies.

import { cover, toRGBA } from "./cover.js";
import { connectedParts, findFigure } from "./figure.js";
import { fit, resized, roundEven } from "./fit.js";
import { dilated, findInk, strength } from "./ink.js";

export const WORK = 1024; // pixels of the longer side that are looked at
const BLACK = Math.fround(0.12), WHITE = 0.5, STROKE = 0.4, LARGE = 1.2, SMALL = 0.75, THIN = 0.085, MOSTLY = 0.5, FEW = 2;

/**
 * @param {{channels: number, height: number, width: number, levels: Float32Array, alpha: ?Float32Array}} picture
 *        levels [1 or 3, h, w] and alpha [h, w], in [0, 1]
 * @param {{channels: number, height: number, width: number, pictureFit?: string}} shape of the model's picture
 * @param {number} figureSize pixels of the figures that the model knows; 0 where it knows none of one size
 * @param {"auto"|"light"|"dark"} ink
 * @returns {{image: Float32Array, ink: string, steps: string[], warning: string}}
 */
export function prepareLevels(picture, shape, figureSize, ink = "auto") {
  checkInk(ink);
  const pixels = picture.height * picture.width;
  const size = `${picture.width} × ${picture.height} pixels`;
  if (picture.channels !== 1 && picture.channels !== 3) throw new RangeError(`no pictures of ${picture.channels} channels`);
  if (!(pixels >= 1) || picture.levels.length !== picture.channels * pixels) {
    throw new RangeError(`${picture.levels.length} levels are no ${picture.channels} channels of ${size}`);
  }
  if (picture.alpha && picture.alpha.length !== pixels) {
    throw new RangeError(`${picture.alpha.length} alphas are no plane of ${size}`);
  }
  if (!picture.levels.every(Number.isFinite)) throw new RangeError("levels hold NaN or infinity");
  const { channels, height, width, levels, alpha } = figureSize ? averaged(picture) : picture;
  const plane = height * width;
  const over = (values) => ({ channels, height, width, values: alpha ? values.map((v, i) => v * alpha[i % plane]) : values });
  if (!figureSize) {
    const visible = over(ink === "dark" ? levels.map((v) => 1 - v) : levels);
    const covers = shape.pictureFit === "cover";
    const image = covers ? cover(toRGBA(visible.values, visible), width, height, shape, false) : fit(visible, shape);
    return { image, ink: ink === "dark" ? "dark" : "light", steps: ink === "dark" ? ["inverted"] : [], warning: "" };
  }
  const factor = Math.min(shape.height / height, shape.width / width, 1);
  const overBlack = over(levels);
  if (factor === 1 && ink !== "dark" && isInput(overBlack, figureSize)) {
    return { image: fit(overBlack, shape), ink: "light", steps: [], warning: "" };
  }
  const colours = Array.from({ length: channels }, (_, c) => in255(levels.subarray(c * plane, (c + 1) * plane)));
  const found = findInk(colours, alpha && in255(alpha), height, width, ink);
  if (found.blank) {
    return { image: fit(overBlack, shape), ink: found.kind, steps: [], warning: "blank: no ink was found" };
  }
  const mask = Uint8Array.from(found.smooth.values, (value) => (value > STROKE * found.peak ? 1 : 0));
  const figure = findFigure(mask, height, width);
  const share = mask.reduce((sum, bit) => sum + bit, 0) / plane;
  let warning = share > MOSTLY ? `mostly ink: ${roundEven(100 * share)}% of the picture` : "";
  const steps = [found.plane === "alpha" ? "ink from alpha" : `${found.kind} ink`];
  if (["red", "green", "blue"].includes(found.plane)) steps[0] += ` in ${found.plane}`;
  if (found.levelled) steps.push("levelled");
  if (figure.several && !warning) warning = "several figures, of which one is read";
  if (staysWhole(figure, factor, figureSize)) {
    if (factor < 1) steps.push("shrunk");
    return { image: fit(single(strength(found, 0, 1)), shape), ink: found.kind, steps, warning };
  }
  const { image, thickened } = placed(found, mask, figure, figureSize, shape);
  steps.push("cropped", `scaled from ${figure.side} to ${figureSize} pixels`);
  if (thickened) steps.push("thickened");
  return { image, ink: found.kind, steps, warning };
}

/** Means over boxes of `times` x `times` pixels (fewer at the edges) of what `read` gives for pixel y·width + x. */
export function boxMeans(read, width, height, times, mean = (sum, count) => sum / count) {
  const w = Math.ceil(width / times), h = Math.ceil(height / times);
  const means = new Float32Array(w * h);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const right = Math.min(width, (x + 1) * times), bottom = Math.min(height, (y + 1) * times);
      let sum = 0;
      for (let j = y * times; j < bottom; j++) for (let i = x * times; i < right; i++) sum += read(j * width + i);
      means[y * w + x] = mean(sum, (right - x * times) * (bottom - y * times));
    }
  }
  return means;
}

/** Throws unless this is what the ink may be said to be. */
export function checkInk(ink) {
  if (!["auto", "light", "dark"].includes(ink)) throw new RangeError(`ink is auto, light or dark, not ${ink}`);
}

/** Averaged over squares of so many pixels that no side has more than WORK; colours count as much as they are seen. */
function averaged(picture) {
  const { height, width, levels, alpha } = picture;
  const times = Math.ceil(Math.max(height, width) / WORK);
  if (times === 1) return picture;
  const h = Math.ceil(height / times), w = Math.ceil(width / times), plane = h * w;
  const means = (values) => {
    const result = new Float32Array((values.length / (height * width)) * plane);
    for (let c = 0; c * plane < result.length; c++) {
      result.set(boxMeans((i) => values[c * height * width + i], width, height, times), c * plane);
    }
    return result;
  };
  if (!alpha) return { ...picture, height: h, width: w, levels: means(levels) };
  const share = means(alpha), seen = means(levels.map((value, i) => value * alpha[i % (height * width)]));
  return { ...picture, height: h, width: w, levels: seen.map((v, i) => v / (share[i % plane] || 1)), alpha: share };
}

const single = (plane) => ({ ...plane, channels: 1, values: Float32Array.from(plane.values) });
const in255 = (levels) => Float64Array.from(levels, (level) => roundEven(level * 25500) / 100);

/** Whether the picture goes in as a whole, `factor` times its size. */
function staysWhole(figure, factor, figureSize) {
  if (figure.alone) return factor === 1 && hasSize(figure, figureSize);
  return factor * figure.side >= 0.6 * figureSize && factor * figure.core <= 2 * figureSize;
}

const hasSize = ({ side }, figureSize) => side >= SMALL * figureSize && side <= LARGE * figureSize;

/** Whether it is light on black already, and no single figure of another size than the model knows. */
function isInput({ channels, height, width, values }, figureSize) {
  const plane = height * width;
  const levels = new Float32Array(plane);
  for (let i = 0; i < plane; i++) {
    for (let c = 0; c < channels; c++) levels[i] += values[c * plane + i];
    levels[i] /= channels;
  }
  const rows = [levels.subarray(0, width), levels.subarray(plane - width)];
  const columns = [0, width - 1].map((x) => Float32Array.from({ length: height }, (_, y) => levels[y * width + x]));
  const border = Float32Array.from([...rows, ...columns].flatMap((line) => [...line])).sort();
  const middle = (border[(border.length >> 1) - 1] + border[border.length >> 1]) / 2; // of an even number
  const most = levels.reduce((high, value) => Math.max(high, value), 0);
  const ink = Uint8Array.from(levels, (value) => (value > BLACK ? 1 : 0));
  const share = ink.reduce((sum, bit) => sum + bit, 0) / plane;
  if (middle > BLACK || share > 0.5 || most < WHITE) return false;
  if (connectedParts(ink, height, width).length > FEW) return true;
  const figure = findFigure(Uint8Array.from(levels, (value) => (value > 0.5 * most ? 1 : 0)), height, width);
  return !figure || hasSize(figure, figureSize);
}

/** The figure alone, as large as the model knows them, in the middle of black. */
function placed(found, mask, figure, figureSize, shape) {
  const { height, width } = found.density;
  const margin = Math.max(1, roundEven(0.05 * figure.side));
  const top = Math.max(figure.top - margin, 0), left = Math.max(figure.left - margin, 0);
  const h = Math.min(figure.bottom + margin, height) - top, w = Math.min(figure.right + margin, width) - left;
  const cut = (values, Type) => Type.from({ length: h * w }, (_, i) => values[(top + Math.floor(i / w)) * width + left + (i % w)]);
  let level = { values: cut(strength(found, 0.2, 0.8).values, Float64Array), height: h, width: w };
  const reach = roundEven((THIN * figure.side - strokeWidth(cut(mask, Uint8Array), h, w)) / 2);
  if (reach >= 1) level = dilated(level, reach);
  const factor = figureSize / figure.side;
  const scaled = resized(single(level), Math.max(1, roundEven(h * factor)), Math.max(1, roundEven(w * factor)));
  return { image: fit(scaled, shape), thickened: reach >= 1 };
}

/** Mean width of strokes: twice the area over the length of the outline. */
function strokeWidth(mask, height, width) {
  const at = (y, x) => (y >= 0 && x >= 0 && y < height && x < width ? mask[y * width + x] : 0);
  let area = 0, outline = 0;
  for (let y = 0; y <= height; y++) {
    for (let x = 0; x <= width; x++) {
      area += at(y, x);
      outline += (at(y, x) !== at(y - 1, x)) + (at(y, x) !== at(y, x - 1));
    }
  }
  return (2 * area) / ((outline * Math.PI) / 4);
}
