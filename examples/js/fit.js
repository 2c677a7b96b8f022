// Pictures as [C, H, W] floats: grey and colour, resized, centred on black. Shared by what prepares pictures.

const REC601 = [0.299, 0.587, 0.114];

/** Grey to colour or colour to grey. @param image {values, channels, height, width} */
export function toChannels(image, channels) {
  if (image.channels === channels) return image;
  const plane = image.height * image.width;
  const values = new Float32Array(channels * plane);
  for (let i = 0; i < plane; i++) {
    if (channels === 1) values[i] = REC601.reduce((sum, weight, c) => sum + weight * image.values[c * plane + i], 0);
    else for (let c = 0; c < channels; c++) values[c * plane + i] = image.values[i];
  }
  return { ...image, values, channels };
}

/** Shrink if larger, aspect kept, and centre on black: [C, H, W] of `shape`. */
export function fit(given, shape) {
  const image = toChannels(given, shape.channels);
  const factor = Math.min(shape.height / image.height, shape.width / image.width);
  const small = factor < 1 ? resized(image, Math.max(1, roundEven(image.height * factor)), Math.max(1, roundEven(image.width * factor))) : image;
  const result = new Float32Array(shape.channels * shape.height * shape.width);
  const top = Math.floor((shape.height - small.height) / 2), left = Math.floor((shape.width - small.width) / 2);
  for (let c = 0; c < shape.channels; c++) {
    for (let y = 0; y < small.height; y++) {
      for (let x = 0; x < small.width; x++) {
        const value = small.values[(c * small.height + y) * small.width + x];
        result[(c * shape.height + top + y) * shape.width + left + x] = Math.min(1, Math.max(0, value));
      }
    }
  }
  return result;
}

/** Resize with a triangle filter, widened where it shrinks so that every pixel counts; first along x, then along y. */
export function resized(image, height, width) {
  return filtered(image, triangle(image.width, width), triangle(image.height, height));
}

/** Filters of `triangle` along x, then along y; `rounded` is applied after each. */
export function filtered(image, across, down, rounded = (value) => value) {
  const { channels, values } = image;
  const width = across.length, height = down.length;
  const result = new Float32Array(channels * height * width);
  for (let c = 0; c < channels; c++) {
    const rows = new Float32Array(image.height * width);
    for (let y = 0; y < image.height; y++) {
      for (let x = 0; x < width; x++) {
        const from = (c * image.height + y) * image.width + across[x].first;
        rows[y * width + x] = rounded(across[x].weights.reduce((sum, weight, i) => sum + weight * values[from + i], 0));
      }
    }
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        result[(c * height + y) * width + x] = rounded(
          down[y].weights.reduce((sum, weight, i) => sum + weight * rows[(down[y].first + i) * width + x], 0),
        );
      }
    }
  }
  return { values: result, channels, height, width };
}

/**
 * For each of `to` new pixels the first of `from` old ones that counts, and the weights from there on; `low` and `high`
 * are the edges of the part that is resized, in float32 as Pillow takes them: where a tie falls hangs on it.
 */
export function triangle(from, to, low = 0, high = from) {
  low = Math.fround(low);
  const scale = Math.fround(Math.fround(high) - low) / to, reach = Math.max(scale, 1);
  return Array.from({ length: to }, (_, k) => {
    const centre = low + (k + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - reach + 0.5));
    const end = Math.min(from, Math.floor(centre + reach + 0.5));
    const weights = Array.from({ length: end - first }, (_, i) => Math.max(0, 1 - Math.abs((first + i - centre + 0.5) / reach)));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

/** Halves go to the even neighbour, as Python rounds. */
export function roundEven(value) {
  const low = Math.floor(value);
  return value - low === 0.5 ? low + (low % 2) : Math.round(value);
}
