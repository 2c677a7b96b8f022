// The noise stream splitmix64-boxmuller-1: the same seed gives the same noise in every language.
// docs/embedding.md defines it. Plain ES module without dependencies, for Node and for browsers.
//
// BigInt is exact but some fifty times slower than numbers, so the 64-bit integers of the stream are
// kept as two 32-bit halves; BigInt is used once per call, to find the place in the stream.

const GAMMA_HI = 0x9e3779b9, GAMMA_LO = 0x7f4a7c15;
const GAMMA = 0x9e3779b97f4a7c15n;
const LIMIT = 1n << 64n;

// Where the halves of a BigUint64Array's integers lie depends on the machine's byte order.
const LITTLE_ENDIAN = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;
const LO = LITTLE_ENDIAN ? 0 : 1, HI = 1 - LO;

/** The upper 32 bits of the product of two 32-bit integers. */
function multiplyHigh(a, b) {
  const aLow = a & 0xffff, aHigh = a >>> 16, bLow = b & 0xffff, bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16); // below 2^32
  const rest = aLow * bHigh + (middle & 0xffff); // below 2^32
  return (aHigh * bHigh + (middle >>> 16) + (rest >>> 16)) | 0;
}

function checkNumber(value, name) {
  if (typeof value !== "bigint" || value < 0n || value >= LIMIT) {
    throw new RangeError(`the ${name} must be a whole number (BigInt) between 0 and 2^64 - 1, not ${value}`);
  }
}

/**
 * Outputs number firstM, firstM + 1, ... (mod 2^64) of the SplitMix64 generator seeded with `seed`.
 * @param {bigint} seed 0 .. 2^64 - 1
 * @param {bigint} firstM any integer; taken mod 2^64
 * @param {number} count
 * @returns {BigUint64Array}
 */
export function rawIntegers(seed, firstM, count) {
  checkNumber(seed, "seed");
  const result = new BigUint64Array(count);
  const words = new Uint32Array(result.buffer);
  const before = BigInt.asUintN(64, seed + firstM * GAMMA); // the counter; GAMMA is added before each use
  let hi = Number(before >> 32n) | 0, lo = Number(before & 0xffffffffn) | 0;
  for (let i = 0; i < 2 * count; i += 2) {
    const sum = (lo >>> 0) + GAMMA_LO;
    hi = (hi + GAMMA_HI + (sum > 0xffffffff ? 1 : 0)) | 0;
    lo = sum | 0;

    // x ^= x >> 30; x *= 0xbf58476d1ce4e5b9
    let a = hi ^ (hi >>> 30), b = lo ^ ((lo >>> 30) | (hi << 2));
    a = (multiplyHigh(b, 0x1ce4e5b9) + Math.imul(a, 0x1ce4e5b9) + Math.imul(b, 0xbf58476d)) | 0;
    b = Math.imul(b, 0x1ce4e5b9);
    // x ^= x >> 27; x *= 0x94d049bb133111eb
    b ^= (b >>> 27) | (a << 5);
    a ^= a >>> 27;
    a = (multiplyHigh(b, 0x133111eb) + Math.imul(a, 0x133111eb) + Math.imul(b, 0x94d049bb)) | 0;
    b = Math.imul(b, 0x133111eb);
    // x ^= x >> 31
    words[i + LO] = b ^ ((b >>> 31) | (a << 1));
    words[i + HI] = a ^ (a >>> 31);
  }
  return result;
}

/**
 * Standard normal noise of pictures start .. start + count - 1 of a seed, ready for the input `noise`.
 * @param {bigint} seed 0 .. 2^64 - 1
 * @param {bigint} start number of the first picture, 0 .. 2^64 - 1
 * @param {number} count pictures
 * @param {number} timeSteps T
 * @param {number} latentSize Z
 * @returns {Float32Array} [count, T, Z], last index fastest
 */
export function noise(seed, start, count, timeSteps, latentSize) {
  return noiseFromRaw(pictureIntegers(seed, start, count, timeSteps, latentSize));
}

/** The two raw integers behind every noise value of these pictures, in order: what the check line hashes. */
export function pictureIntegers(seed, start, count, timeSteps, latentSize) {
  checkNumber(start, "number of the first picture");
  const perPicture = timeSteps * latentSize;
  return rawIntegers(seed, start * BigInt(perPicture) * 2n, 2 * count * perPicture);
}

function noiseFromRaw(integers) {
  const words = new Uint32Array(integers.buffer);
  const result = new Float32Array(integers.length / 2);
  // The upper 53 bits are exact as a number; adding 1/2 to one of 2^52 or more rounds to even, as everywhere.
  const uniform = (i) => (words[i + HI] * 0x200000 + (words[i + LO] >>> 11) + 0.5) * 2 ** -53;
  for (let k = 0; k < result.length; k++) {
    result[k] = Math.sqrt(-2 * Math.log(uniform(4 * k))) * Math.cos(2 * Math.PI * uniform(4 * k + 2));
  }
  return result;
}

/**
 * FNV-1a-64 over the integers, each as eight bytes, lowest first.
 * @param {BigUint64Array} integers
 * @returns {string} 16 hexadecimal digits
 */
export function fnv1a64(integers) {
  return hexadecimal(fnvUpdate(FNV_BASIS, integers));
}

const FNV_BASIS = [0xcbf29ce4, 0x84222325]; // upper and lower half

function fnvUpdate([hi, lo], integers) {
  const words = new Uint32Array(integers.buffer, integers.byteOffset, 2 * integers.length);
  for (let i = 0; i < words.length; i += 2) {
    for (let half = 0; half < 2; half++) {
      const word = words[i + (half ? HI : LO)];
      for (let shift = 0; shift < 32; shift += 8) {
        lo = (lo ^ ((word >>> shift) & 0xff)) >>> 0;
        // times 2^40 + 0x1b3
        const product = lo * 0x1b3; // below 2^41: exact
        hi = (Math.imul(hi, 0x1b3) + Math.floor(product / 0x100000000) + (lo << 8)) >>> 0;
        lo = product >>> 0;
      }
    }
  }
  return [hi, lo];
}

function hexadecimal([hi, lo]) {
  return hi.toString(16).padStart(8, "0") + lo.toString(16).padStart(8, "0");
}

/**
 * The line by which ports are compared: the hash of the raw integers behind the pictures' noise, the mean of
 * all their values, and the first four values of the first one. Pictures are added batch by batch, in order.
 */
export class CheckLine {
  #hash = FNV_BASIS;
  #sum = 0;
  #values = 0;
  #first = null;

  constructor(seed, timeSteps, latentSize) {
    Object.assign(this, { seed, timeSteps, latentSize });
  }

  /** @param {Float32Array} images pictures start .. start + count - 1, [count, C, H, W] */
  add(start, count, images) {
    const integers = pictureIntegers(this.seed, start, count, this.timeSteps, this.latentSize);
    this.#hash = fnvUpdate(this.#hash, integers);
    this.#sum = images.reduce((sum, value) => sum + value, this.#sum);
    this.#values += images.length;
    this.#first ??= images.slice(0, 4);
  }

  toString() {
    if (!this.#first) throw new Error("no pictures have been added to the check line");
    const numbers = [this.#sum / this.#values, ...this.#first].map((value) => value.toFixed(6));
    return ["check", hexadecimal(this.#hash), ...numbers].join(" ");
  }
}

/**
 * The check line of pictures start .. start + count - 1 in one go.
 * @param {Float32Array} images [count, C, H, W]
 */
export function checkLine(seed, start, count, timeSteps, latentSize, images) {
  const line = new CheckLine(seed, timeSteps, latentSize);
  line.add(start, count, images);
  return String(line);
}
