// The three kinds of file: a decoder paints, a classifier answers, a scorer rates.
// All arrays are flat Float32Arrays, last index fastest; `info` has the sizes.

import { OpenedModel } from "./model.js";
import { checkLine, noise } from "./noise.js";

const LARGEST = 2n ** 64n - 1n;
const MAX_TEMPERATURE = 10;

/** A seed or a picture's number as BigInt; numbers are taken where they are exact. */
function whole(value, name) {
  if (Number.isSafeInteger(value)) value = BigInt(value);
  if (typeof value !== "bigint" || value < 0n || value > LARGEST) {
    throw new RangeError(`the ${name} must be a whole number from 0 to 2^64 - 1 (a BigInt above 2^53), not ${value}`);
  }
  return value;
}

/** Seed and first number of `count` pictures. */
function place(seed, start, count) {
  const first = whole(start, "number of the first picture");
  if (!Number.isSafeInteger(count) || count < 1 || first + BigInt(count) > 2n ** 64n) {
    throw new RangeError("the number of pictures must be at least 1, and pictures are numbered up to 2^64 - 1");
  }
  return [whole(seed, "seed"), first];
}

/** How many pictures [n, C, H, W] these are. */
function countPictures(model, images) {
  const count = images.length / model.pixels;
  const { channels, height, width } = model.info;
  if (!Number.isInteger(count) || count < 1) {
    throw new RangeError(`pictures must be [n, ${channels}, ${height}, ${width}] numbers, not ${images.length} of them`);
  }
  if (!images.every((value) => value >= 0 && value <= 1)) {
    throw new RangeError("pictures must be numbers from 0 to 1 (divide bytes by 255)");
  }
  return count;
}

const part = (values, begin, rows, length) => values.slice(begin * length, (begin + rows) * length);

// Copied: a caller may use its buffer for the next picture before this one is read.
const floats = (values) => Float32Array.from(values);

/** Draws with a decoder. */
export class Sampler extends OpenedModel {
  static modelType = "draw.decoder";

  /**
   * Pictures start .. start + count - 1 of a seed: the same ones in every language.
   * The noise is multiplied by `temperature`: below 1 pictures are more regular and vary less.
   */
  async sample(count, { seed = 0n, start = 0n, steps = true, temperature = 1 } = {}) {
    if (typeof temperature !== "number" || !(temperature >= 0 && temperature <= MAX_TEMPERATURE)) {
      throw new RangeError(`the temperature must be between 0 and ${MAX_TEMPERATURE}, not ${temperature}`);
    }
    const scale = Math.fround(temperature);
    const [s, first] = place(seed, start, count);
    const { timeSteps, latentSize } = this.info;
    const own = noise(s, first, count, timeSteps, latentSize).map((value) => scale * value);
    const got = await this.#draw(own, count, steps);
    return { ...got, seed: s, start: first, temperature };
  }

  /** Pictures from noise of your own, [n, T, Z]. */
  async sampleNoise(values, { steps = true } = {}) {
    const { timeSteps, latentSize } = this.info;
    const count = values.length / (timeSteps * latentSize);
    if (!Number.isInteger(count) || count < 1) {
      throw new RangeError(`noise must be [n, ${timeSteps}, ${latentSize}] numbers, not ${values.length} of them`);
    }
    const own = floats(values);
    if (!own.every(Number.isFinite)) throw new RangeError("noise holds NaN or infinity");
    return this.#draw(own, count, steps);
  }

  async #draw(values, count, steps) {
    const row = values.length / count;
    const got = await this.runRows(count, (begin, rows) => ({ noise: part(values, begin, rows, row) }), steps);
    return {
      count,
      images: got.image,
      noise: values,
      canvases: got.canvases ?? null,
      writeAttention: got.write_attention ?? null,
    };
  }

  /** The line by which ports are compared, of what `sample` gave. */
  checkLine({ images, seed, start, count }) {
    return checkLine(seed, start, count, this.info.timeSteps, this.info.latentSize, images);
  }
}

/** Classifies pictures. */
export class Classifier extends OpenedModel {
  static modelType = "draw.classifier";

  /** @param {Float32Array} images [n, C, H, W] in [0, 1]; see `prepare` and `readPicture` */
  async classify(images, { steps = true } = {}) {
    const count = countPictures(this, images);
    const { labels } = this.info;
    const own = floats(images);
    const got = await this.runRows(count, (begin, rows) => ({ image: part(own, begin, rows, this.pixels) }), steps);
    const answers = Array.from({ length: count }, (_, k) => {
      const logits = got.logits.subarray(k * labels.length, (k + 1) * labels.length);
      return labels[logits.indexOf(Math.max(...logits))];
    });
    return {
      count,
      answers,
      logits: got.logits,
      probabilities: got.probabilities,
      glimpses: got.glimpses ?? null,
      readAttention: got.read_attention ?? null,
    };
  }
}

/** Rates pictures in nats. */
export class Scorer extends OpenedModel {
  static modelType = "draw.scorer";

  /**
   * Picture k takes the noise of picture start + k of the seed.
   * @param {Float32Array} images [n, C, H, W] in [0, 1], taken as they are: where info.binaryPictures, make them 0 and 1
   */
  async score(images, { seed = 0n, start = 0n, steps = true } = {}) {
    const count = countPictures(this, images);
    const [s, first] = place(seed, start, count);
    const { timeSteps, latentSize } = this.info;
    const own = floats(images);
    const feed = (begin, rows) => ({
      image: part(own, begin, rows, this.pixels),
      noise: noise(s, first + BigInt(begin), rows, timeSteps, latentSize),
    });
    const got = await this.runRows(count, feed, steps);
    return {
      count,
      bound: got.bound,
      reconstruction: got.reconstruction,
      canvases: got.canvases ?? null,
      readAttention: got.read_attention ?? null,
      writeAttention: got.write_attention ?? null,
    };
  }
}
