// A picture becomes what a model reads, by the rule of the Python runtime (runtime/pictures/reading.py): turned
// as EXIF says, transparent parts over black, grey by Rec. 601; then shrunk only if larger, aspect kept, centred on
// black ("pad"), or, for models of photographs, the largest centred box of the model's aspect, resized ("cover").

const MAX_PIXELS = 64_000_000;
const REC601 = [0.299, 0.587, 0.114];

/**
 * A picture file in a page.
 * @param {Blob} file PNG, JPEG, GIF, WebP or whatever else this browser decodes
 * @param {{channels: number, height: number, width: number, pictureFit?: string}} shape of the model's picture
 * @param {boolean} invert dark ink on light paper becomes light on dark
 * @returns {Promise<Float32Array>} [C, H, W] in [0, 1]
 */
export async function readPicture(file, shape, invert = false) {
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
  return prepare(pixels, width, height, shape, invert);
}

/**
 * Decoded pixels, from a canvas or from a decoder of yours.
 * @param {Uint8Array|Uint8ClampedArray} pixels RGBA, [height, width, 4]
 * @param {{channels: number, height: number, width: number, pictureFit?: string}} shape of the model's picture
 * @param {boolean} invert dark ink on light paper becomes light on dark; what is transparent stays black
 * @returns {Float32Array} [C, H, W] in [0, 1]
 */
export function prepare(pixels, width, height, shape, invert = false) {
  if (!(width >= 1 && height >= 1) || pixels.length !== 4 * width * height) {
    throw new RangeError(`${pixels.length} bytes are no RGBA picture of ${width} × ${height} pixels`);
  }
  if (shape.channels !== 1 && shape.channels !== 3) throw new RangeError(`no pictures of ${shape.channels} channels`);
  if (shape.pictureFit === "cover") return cover(pixels, width, height, shape, invert);
  const times = Math.min(Math.max(width / shape.width, height / shape.height) / 2, width, height);
  return fit(toChannels(averaged(pixels, width, height, Math.max(1, Math.floor(times)), invert), shape.channels), shape);
}

/**
 * The other way: floats [C, H, W] in [0, 1], C = 1 or 3, as RGBA bytes for ImageData or an encoder.
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

/** RGBA bytes, averaged over boxes of `times` x `times` pixels, as {values [3, h, w], ...} in [0, 1] over black. */
function averaged(pixels, width, height, times, invert) {
  const w = Math.ceil(width / times), h = Math.ceil(height / times);
  const values = new Float32Array(3 * w * h);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const right = Math.min(width, (x + 1) * times), bottom = Math.min(height, (y + 1) * times);
      const area = (right - x * times) * (bottom - y * times);
      for (let c = 0; c < 3; c++) {
        let sum = 0, opacity = 0;
        for (let j = y * times; j < bottom; j++) {
          for (let i = x * times; i < right; i++) {
            const at = 4 * (j * width + i);
            sum += (pixels[at + c] * pixels[at + 3]) / 255;
            opacity += pixels[at + 3];
          }
        }
        const rounded = (total) => (times > 1 ? average(Math.round(total), area) : total);
        values[(c * h + y) * w + x] = (invert ? rounded(opacity) - rounded(sum) : rounded(sum)) / 255;
      }
    }
  }
  return { values, channels: 3, height: h, width: w };
}

/** A mean of bytes as a byte, in Pillow's whole numbers, which decide where a tie falls. */
function average(sum, count) {
  return Math.floor(((sum + (count >> 1)) * Math.floor(2 ** 24 / count)) / 2 ** 24);
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
  return resize(image, triangle(image.width, width), triangle(image.height, height), (value) => value);
}

/** Filters along x, then along y; `rounded` is applied after each. */
function resize(image, across, down, rounded) {
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
 * are the edges of the part that is resized.
 */
function triangle(from, to, low = 0, high = from) {
  const scale = (high - low) / to;
  const reach = Math.max(scale, 1); // not narrower than a pixel where it enlarges
  return Array.from({ length: to }, (_, k) => {
    const centre = low + (k + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - reach + 0.5));
    const end = Math.min(from, Math.floor(centre + reach + 0.5));
    const weights = Array.from({ length: end - first }, (_, i) => Math.max(0, 1 - Math.abs((first + i - centre + 0.5) * (1 / reach))));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: weights.map((weight) => weight * (1 / sum)) }; // as Pillow rounds
  });
}

/** Halves go to the even neighbour, as Python rounds. */
function roundEven(value) {
  const low = Math.floor(value);
  return value - low === 0.5 ? low + (low % 2) : Math.round(value);
}

/** The largest centred box of the frame's aspect, resized to the frame in whole bytes, as training does it. */
function cover(pixels, width, height, shape, invert) {
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
  const box = resize({ values, channels: shape.channels, height, width }, across, down, byte);
  return box.values.map((value) => value / 255);
}
