// How much ink lies on each pixel of a picture: steps 2 to 6 of "Pictures of ink" in docs/embedding.md. A plane is
// {values: Float64Array, height, width}, levels in 0..255. runtime/pictures/ink.py computes the same.

import { roundEven } from "./fit.js";

const FINE = 256, COARSE = 64, BLANK = 0.1, EVEN = 16;

/**
 * @param {Float64Array[]} colours one plane (grey) or three, 0..255
 * @param {?Float64Array} alpha 0..255
 * @param {"auto"|"light"|"dark"} wanted
 */
export function findInk(colours, alpha, height, width, wanted) {
  const plane = (values) => ({ values, height, width });
  if (alpha && least(alpha) < 250) {
    const filled = opaque(colours, alpha);
    if (!filled) return measured(plane(alpha.map((a) => a / 255)), wanted === "auto" ? "light" : wanted, false, "alpha");
    colours = filled;
  }
  const { values, fine, name } = bestPlane(colours.map(plane));
  const threshold = otsu(fine.values);
  const kind = wanted === "auto" ? inkKind(fine, threshold) : wanted;
  const even = evenGround(fine, threshold, kind);
  const ground = even === null ? unevenGround(values, kind).values : null;
  const density = values.values.map((value, i) => {
    const level = ground ? ground[i] : even;
    return clip(kind === "dark" ? 1 - value / Math.max(level, 1) : (value - level) / Math.max(255 - level, 1));
  });
  return measured(plane(density), kind, even === null, name);
}

function measured(density, kind, levelled, plane) {
  const smooth = Math.min(density.height, density.width) >= 64 ? blurred(density) : density;
  const noise = 1.48 * median(density.values.map((value, i) => Math.abs(value - smooth.values[i])));
  const peak = greatest(smooth.values);
  return { density, smooth, peak, noise, kind, levelled, plane, blank: peak < Math.max(BLANK, 4 * noise) };
}

/** Density stretched so that `low` of the peak (at least the noise) becomes 0 and `high` of it 1. */
export function strength({ density, peak, noise }, low, high) {
  const floor = Math.max(low * peak, Math.min(3 * noise, peak / 2));
  return { ...density, values: density.values.map((value) => clip((value - floor) / (high * peak - floor))) };
}

/** Grey, unless a colour shows the ink much better. */
function bestPlane(planes) {
  const cells = planes.map((plane) => cellMeans(plane, FINE));
  if (planes.length === 1) return { values: planes[0], fine: cells[0], name: "grey" };
  const mixed = ([r, g, b]) => ({ ...r, values: r.values.map((v, i) => 0.299 * v + 0.587 * g.values[i] + 0.114 * b.values[i]) });
  const grey = mixed(cells);
  const contrasts = cells.map(({ values }) => greatest(values) - least(values));
  const best = contrasts.indexOf(Math.max(...contrasts));
  if (contrasts[best] > 1.5 * (greatest(grey.values) - least(grey.values))) {
    return { values: planes[best], fine: cells[best], name: ["red", "green", "blue"][best] };
  }
  return { values: mixed(planes), fine: grey, name: "grey" };
}

/** Transparent parts filled with the commonest visible colour; null where alpha alone says what is drawn. */
function opaque(colours, alpha) {
  const seen = colours.map((values) => values.filter((_, i) => alpha[i] >= 128).sort());
  if (!seen[0].length) return null;
  const spread = Math.max(...seen.map((values) => percentile(values, 98) - percentile(values, 2)));
  if (spread < 64 && seen[0].length < alpha.length) return null;
  return colours.map((values, c) => {
    const fill = percentile(seen[c], 50);
    return values.map((value, i) => (alpha[i] / 255) * value + (1 - alpha[i] / 255) * fill);
  });
}

/** "light" or "dark": by border and histogram where they agree, else by what stands out in its surroundings. */
function inkKind(fine, threshold) {
  const light = fine.values.map((value) => (value > threshold ? 1 : 0));
  const border = mean(light.filter((_, i) => onBorder(fine, i))), whole = mean(light);
  if (Math.min(border, whole) > 0.8) return "dark";
  if (Math.max(border, whole) < 0.2) return "light";
  const around = windowed(fine, roundEven(Math.max(fine.height, fine.width) / 8)).values;
  const apart = fine.values.map((value, i) => value - around[i]);
  const skewness = mean(apart.map((value) => value ** 3)) / (mean(apart.map((value) => value ** 2)) ** 1.5 + 1e-9);
  if (Math.abs(skewness) > 0.6) return skewness < 0 ? "dark" : "light";
  return border + whole > 1 ? "dark" : "light";
}

/** The outermost 32nd of a picture, at least a pixel. */
function onBorder({ height, width }, i) {
  const band = Math.max(1, roundEven(Math.max(height, width) / 32));
  const y = Math.floor(i / width), x = i % width;
  return y < band || x < band || y >= height - band || x >= width - band;
}

/** The level of ground that is the same everywhere; null if it is not. */
function evenGround(fine, threshold, kind) {
  const isGround = (value) => (kind === "dark" ? value > threshold : value <= threshold);
  const levels = fine.values.filter(isGround).sort();
  if (!levels.length) return median(fine.values);
  const [low, high] = kind === "dark" ? [25, 95] : [5, 75];
  const spread = percentile(levels, high) - percentile(levels, low);
  const border = mean(fine.values.filter((_, i) => onBorder(fine, i)).map((value) => (isGround(value) ? 1 : 0)));
  return spread <= EVEN && border >= 0.85 ? percentile(levels, 50) : null;
}

/** The ground's level at every pixel: what is left when strokes narrower than a third of the picture go. */
function unevenGround(plane, kind) {
  const cells = cellMeans(plane, COARSE);
  const reach = Math.max(1, roundEven(Math.max(cells.height, cells.width) / 6));
  const closed = kind === "dark" ? eroded(dilated(cells, reach), reach) : dilated(eroded(cells, reach), reach);
  return enlarged(blurred(closed), plane);
}

// Small operators.

const clip = (value) => Math.min(1, Math.max(0, value));
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const least = (values) => values.reduce((low, value) => Math.min(low, value), Infinity);
const greatest = (values) => values.reduce((high, value) => Math.max(high, value), -Infinity);
const median = (values) => percentile(values.slice().sort(), 50);

/** Of sorted values, straight between neighbours. */
function percentile(sorted, percent) {
  const at = ((sorted.length - 1) * percent) / 100, low = Math.floor(at);
  return sorted[low] + (at - low) * (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]);
}

const cellSize = ({ height, width }, most) => Math.ceil(Math.max(height, width) / most);

/** Means over square cells, so few that the longer side has at most `most`. */
function cellMeans(plane, most) {
  const size = cellSize(plane, most);
  if (size === 1) return plane;
  const height = Math.ceil(plane.height / size), width = Math.ceil(plane.width / size);
  const values = new Float64Array(height * width);
  for (let y = 0; y < plane.height; y++) {
    const row = Math.floor(y / size) * width;
    for (let x = 0; x < plane.width; x++) values[row + Math.floor(x / size)] += plane.values[y * plane.width + x];
  }
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      values[y * width + x] /= Math.min(size, plane.height - y * size) * Math.min(size, plane.width - x * size);
    }
  }
  return { values, height, width };
}

/** The level of the greatest variance between the two classes that it divides, of 256 steps (Otsu 1979). */
function otsu(values) {
  const low = least(values), high = greatest(values);
  if (high <= low) return high;
  const counts = new Float64Array(256);
  for (const value of values) counts[Math.min(Math.floor(((value - low) / (high - low)) * 256), 255)]++;
  const total = values.length, sum = counts.reduce((all, count, k) => all + k * count, 0);
  let below = 0, sums = 0, best = 0, most = -1;
  for (let k = 0; k < 255; k++) {
    below += counts[k];
    sums += k * counts[k];
    const above = total - below;
    const between = below && above ? ((sum * below) / total - sums) ** 2 / (below * above) : 0;
    if (between > most) [most, best] = [between, k];
  }
  return low + ((best + 1) / 256) * (high - low);
}

/** Along one axis and then the other: `line` makes `n` new values of those that `at` gives. */
function alongBoth(plane, line) {
  const { height, width } = plane;
  let values = plane.values;
  for (const [lines, n, step, stride] of [[width, height, width, 1], [height, width, 1, width]]) {
    const result = new Float64Array(values.length);
    for (let k = 0; k < lines; k++) {
      line(n, (i) => values[k * stride + i * step], (i, value) => (result[k * stride + i * step] = value));
    }
    values = result;
  }
  return { values, height, width };
}

/** Sums over 3 x 3 pixels, the edge repeated, divided by 9. */
function blurred(plane) {
  const sums = alongBoth(plane, (n, at, put) => {
    for (let i = 0; i < n; i++) put(i, at(Math.max(i - 1, 0)) + at(i) + at(Math.min(i + 1, n - 1)));
  });
  return { ...sums, values: sums.values.map((value) => value / 9) };
}

/** Means over the pixels within `reach` along both axes, of those inside the picture. */
function windowed(plane, reach) {
  return alongBoth(plane, (n, at, put) => {
    const sums = new Float64Array(n + 1);
    for (let i = 0; i < n; i++) sums[i + 1] = sums[i] + at(i);
    for (let i = 0; i < n; i++) {
      const low = Math.max(i - reach, 0), high = Math.min(i + reach + 1, n);
      put(i, (sums[high] - sums[low]) / (high - low));
    }
  });
}

/** The greatest value within `reach` pixels along both axes. */
export function dilated(plane, reach) {
  return alongBoth(plane, (n, at, put) => {
    for (let i = 0; i < n; i++) {
      let most = -Infinity;
      for (let j = Math.max(0, i - reach); j <= Math.min(n - 1, i + reach); j++) most = Math.max(most, at(j));
      put(i, most);
    }
  });
}

function eroded(plane, reach) {
  const negative = ({ values, ...rest }) => ({ ...rest, values: values.map((value) => -value) });
  return negative(dilated(negative(plane), reach));
}

/** Cells of `cellMeans` spread over the pixels again, straight between their middles. */
function enlarged(cells, { height, width }) {
  const size = cellSize({ height, width }, COARSE);
  const between = (n, count) => {
    const at = Math.min(Math.max((n + 0.5) / size - 0.5, 0), count - 1);
    const first = Math.min(Math.floor(at), Math.max(count - 2, 0));
    return [first, Math.min(first + 1, count - 1), at - first];
  };
  const values = new Float64Array(height * width);
  for (let y = 0; y < height; y++) {
    const [y0, y1, v] = between(y, cells.height);
    for (let x = 0; x < width; x++) {
      const [x0, x1, u] = between(x, cells.width);
      const at = (column) => (1 - v) * cells.values[y0 * cells.width + column] + v * cells.values[y1 * cells.width + column];
      values[y * width + x] = (1 - u) * at(x0) + u * at(x1);
    }
  }
  return { values, height, width };
}
