// Where in a picture's ink the largest figure is: step 7 of "Pictures of ink" in docs/embedding.md.
// runtime/pictures/figure.py finds the same.

// In parts of the largest piece: longer side, or area.
const NEAR = 0.25, DUST = 0.01, PIECE = 0.2, ALIKE = 0.7;
const CLUTTER = 0.08; // of the figure's area
const PIECES = 3; // a figure's parts, dust not counted

/**
 * @param {Uint8Array} mask 1 where there is ink, [height, width]
 * @returns {?{top, left, bottom, right, side, core, alone, several}} ends exclusive; null without ink
 */
export function findFigure(mask, height, width) {
  const parts = connectedParts(mask, height, width);
  if (!parts.length) return null;
  const largest = parts.reduce((most, { area }) => Math.max(most, area), 0);
  const sizeable = (part) => part.side >= 0.05 * Math.max(height, width) && part.area >= 0.005 * largest;
  const among = parts.filter(sizeable);
  // The others are frames.
  let loose = parts.filter((part) => part.contact <= 0.9 * part.side && !(sizeable(part) && isDrawnAround(part, among)));
  if (!loose.some(sizeable)) loose = parts;
  const core = loose.reduce((best, part) => (part.area * part.side > best.area * best.side ? part : best));
  const near = (part) =>
    Math.max(part.top - core.bottom, core.top - part.bottom, part.left - core.right, core.left - part.right) <= NEAR * core.side;
  const counts = loose.filter((part) => part.area >= DUST * core.area);
  const own = counts.filter(near);
  const rest = counts.filter((part) => !near(part) && part.side >= PIECE * core.side);
  const other = total(areas(rest)), pieces = own.filter((part) => part.side >= PIECE * core.side).length;
  const top = Math.min(...own.map((part) => part.top)), bottom = Math.max(...own.map((part) => part.bottom));
  const left = Math.min(...own.map((part) => part.left)), right = Math.max(...own.map((part) => part.right));
  return {
    top, left, bottom, right,
    side: Math.max(bottom - top, right - left),
    core: core.side,
    alone: other === 0 || (other <= CLUTTER * total(areas(own)) && pieces <= PIECES),
    several: rest.some((part) => part.side >= ALIKE * core.side && part.area >= 0.4 * core.area),
  };
}

/** Whether it is a thin box with another part well inside, about half as large at least. */
function isDrawnAround(box, among) {
  const inset = 0.05 * box.side;
  const inside = (part) =>
    part.top >= box.top + inset && part.bottom <= box.bottom - inset && part.left >= box.left + inset && part.right <= box.right - inset;
  const full = (box.bottom - box.top) * (box.right - box.left);
  return box.area <= 0.25 * full && among.some((part) => inside(part) && part.side >= 0.45 * box.side);
}

const areas = (parts) => parts.map((part) => part.area);
const total = (values) => values.reduce((sum, value) => sum + value, 0);

/** Parts of a mask whose pixels touch, at corners too, in the order of their first pixels. */
export function connectedParts(mask, height, width) {
  const seen = new Uint8Array(mask.length), parts = [], waiting = [];
  for (let start = 0; start < mask.length; start++) {
    if (!mask[start] || seen[start]) continue;
    const part = { area: 0, contact: 0, top: height, left: width, bottom: 0, right: 0 };
    seen[start] = 1;
    waiting.push(start);
    while (waiting.length) {
      const at = waiting.pop(), y = Math.floor(at / width), x = at % width;
      part.area++;
      if (y === 0 || y === height - 1) part.contact++;
      else part.contact += (x === 0) + (x === width - 1);
      part.top = Math.min(part.top, y);
      part.bottom = Math.max(part.bottom, y + 1);
      part.left = Math.min(part.left, x);
      part.right = Math.max(part.right, x + 1);
      for (let j = Math.max(y - 1, 0); j <= Math.min(y + 1, height - 1); j++) {
        for (let i = Math.max(x - 1, 0); i <= Math.min(x + 1, width - 1); i++) {
          const next = j * width + i;
          if (!mask[next] || seen[next]) continue;
          seen[next] = 1;
          waiting.push(next);
        }
      }
    }
    part.side = Math.max(part.bottom - part.top, part.right - part.left);
    parts.push(part);
  }
  return parts;
}
