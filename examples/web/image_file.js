// A picture file becomes what a model reads, by the rule of the Python runtime (runtime/pictures/reading.py): turned
// as EXIF says, transparent parts over black, grey by Rec. 601, shrunk only if larger, aspect kept, centred on black.

const MAX_PIXELS = 64_000_000;
const REC601 = [0.299, 0.587, 0.114];

/**
 * @param {Blob} file PNG, JPEG, GIF, WebP or whatever else this browser decodes
 * @param {{channels: number, height: number, width: number}} shape of the model's picture
 * @param {boolean} invert dark ink on light paper becomes light on dark
 * @returns {Promise<Float32Array>} [C, H, W] in [0, 1]
 */
export async function readPicture(file, shape, invert) {
  const name = file.name ?? "the picture";
  let bitmap;
  try {
    // Bytes as they are in the file: no colour management, as in Python.
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new Error(`${name} is no picture that this browser can read.`);
  }
  const { width, height } = bitmap;
  if (width * height > MAX_PIXELS) throw new Error(`${name} has more than the 64 megapixels that are read.`);
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  let pixels;
  try {
    pixels = context.getImageData(0, 0, width, height).data;
  } catch {
    throw new Error(`${name} is too large for this browser: ${width} × ${height} pixels.`);
  }
  const times = Math.min(Math.max(width / shape.width, height / shape.height) / 2, width, height);
  return fit(toChannels(averaged(pixels, width, height, Math.max(1, Math.floor(times)), invert), shape.channels), shape);
}

/** RGBA bytes, averaged over boxes of `times` x `times` pixels, as {values [3, h, w], ...} in [0, 1] over black. */
function averaged(pixels, width, height, times, invert) {
  const w = Math.ceil(width / times), h = Math.ceil(height / times);
  const values = new Float32Array(3 * w * h);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const right = Math.min(width, (x + 1) * times), bottom = Math.min(height, (y + 1) * times);
      const area = (right - x * times) * (bottom - y * times);
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let j = y * times; j < bottom; j++) {
          for (let i = x * times; i < right; i++) {
            const at = 4 * (j * width + i);
            sum += ((invert ? 255 - pixels[at + c] : pixels[at + c]) * pixels[at + 3]) / 255;
          }
        }
        const level = times > 1 ? Math.floor(sum / area + 0.5) : sum; // averages are bytes in Python too
        values[(c * h + y) * w + x] = level / 255;
      }
    }
  }
  return { values, channels: 3, height: h, width: w };
}

/** Grey to colour or colour to grey. */
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
export function fit(image, shape) {
  const factor = Math.min(shape.height / image.height, shape.width / image.width);
  const small = factor < 1 ? shrink(image, Math.max(1, roundEven(image.height * factor)), Math.max(1, roundEven(image.width * factor))) : image;
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

/** Resize with a triangle filter that is widened so that every pixel counts, first along x, then along y. */
function shrink(image, height, width) {
  const { channels, values } = image;
  const across = triangle(image.width, width), down = triangle(image.height, height);
  const result = new Float32Array(channels * height * width);
  for (let c = 0; c < channels; c++) {
    const rows = new Float32Array(image.height * width);
    for (let y = 0; y < image.height; y++) {
      for (let x = 0; x < width; x++) {
        const from = (c * image.height + y) * image.width + across[x].first;
        rows[y * width + x] = across[x].weights.reduce((sum, weight, i) => sum + weight * values[from + i], 0);
      }
    }
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        result[(c * height + y) * width + x] =
          down[y].weights.reduce((sum, weight, i) => sum + weight * rows[(down[y].first + i) * width + x], 0);
      }
    }
  }
  return { values: result, channels, height, width };
}

/** For each of `to` new pixels the first of `from` old ones that counts, and the weights from there on. */
function triangle(from, to) {
  const scale = from / to;
  return Array.from({ length: to }, (_, k) => {
    const centre = (k + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - scale + 0.5));
    const end = Math.min(from, Math.floor(centre + scale + 0.5));
    const weights = Array.from({ length: end - first }, (_, i) => Math.max(0, 1 - Math.abs((first + i - centre + 0.5) / scale)));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

/** Halves go to the even neighbour, as Python rounds. */
function roundEven(value) {
  const low = Math.floor(value);
  return value - low === 0.5 ? low + (low % 2) : Math.round(value);
}
