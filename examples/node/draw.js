// Draws pictures and classifies them with files that draw-export wrote, in Node.
//
//     node draw.js sample   decoder.onnx SEED [START [COUNT [PREFIX [NOISE_FILE]]]] [--temperature FACTOR]
//     node draw.js classify classifier.onnx PICTURE...
//
// sample writes PREFIX0.pgm, PREFIX1.pgm, ... (.ppm for a model of three channels), the noise to NOISE_FILE
// as raw float32, and prints the check line by which ports are compared. FACTOR, 0 to 10, multiplies the noise: below 1
// pictures are more regular and vary less. classify reads binary PGM and PPM.
// docs/embedding.md is the definition of everything here; the package draw-onnx (../js) does it.

import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { CheckLine, Classifier, Sampler, prepare, prepareLevels } from "draw-onnx";

/** What no terminal should be sent, escaped as in Python: labels and messages come from files, and hold anything. */
function printable(text) {
  return text.replace(/(?! )[\p{C}\p{Z}]/gu, (character) => {
    const code = character.codePointAt(0).toString(16);
    return code.length < 3 ? `\\x${code.padStart(2, "0")}`
      : code.length < 5 ? `\\u${code.padStart(4, "0")}` : `\\U${code.padStart(8, "0")}`;
  });
}

// Pictures: planes [C, H, W] of levels in [0, 1] here, interleaved bytes in PGM and PPM files.

function writePicture(path, { channels, height, width }, image) {
  const plane = height * width;
  const body = Buffer.alloc(plane * channels);
  for (let i = 0; i < body.length; i++) {
    const level = image[(i % channels) * plane + Math.floor(i / channels)];
    body[i] = Math.min(Math.max(level, 0), 1) * 255 + 0.5;
  }
  writeFileSync(path, Buffer.concat([Buffer.from(`P${channels === 3 ? 6 : 5}\n${width} ${height}\n255\n`), body]));
}

/** A picture file as the model's input, prepared as draw-classify does. */
function readPicture(path, info) {
  let bytes;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new Error(`${path}: ${error.message}`);
  }
  // The header is text: three numbers after blanks and comments, then one blank, then the pixels.
  const blank = "(?:[ \\t\\r\\n]|#[^\\n]*\\n)+";
  const header = new RegExp(`^P([56])${blank}([0-9]+)${blank}([0-9]+)${blank}([0-9]+)[ \\t\\r\\n]`)
    .exec(bytes.subarray(0, 4096).toString("latin1"));
  if (!header) throw new Error(`${path} is no binary PGM or PPM`);
  const channels = header[1] === "6" ? 3 : 1;
  const [width, height, most] = header.slice(2).map(Number);
  if (width < 1 || height < 1 || most < 1 || most > 65535) throw new Error(`${path} has a damaged header`);
  const plane = width * height, depth = most > 255 ? 2 : 1;
  const pixels = bytes.subarray(header[0].length);
  if (pixels.length < plane * channels * depth) throw new Error(`${path} ends too early`);
  const level = (i) => Math.min((depth === 2 ? pixels.readUInt16BE(2 * i) : pixels[i]) / most, 1);
  if (depth === 1 || channels === 3) { // as whole bytes, like Pillow: a clamped array rounds, and halves to the even one
    const rgba = new Uint8ClampedArray(4 * plane).fill(255);
    for (let i = 0; i < 3 * plane; i++) {
      rgba[4 * Math.floor(i / 3) + (i % 3)] = level(channels === 3 ? i : Math.floor(i / 3)) * 255;
    }
    return prepare(rgba, width, height, info).image;
  }
  const levels = Float32Array.from({ length: plane }, (_, i) => level(i));
  return prepareLevels({ channels, height, width, levels, alpha: null }, info, info.figureSize).image;
}

async function sample(path, seed, start, count, temperature, prefix, noisePath) {
  const sampler = await Sampler.open(path);
  const { info, pixels } = sampler;
  const check = new CheckLine(seed, info.timeSteps, info.latentSize);
  if (noisePath) writeFileSync(noisePath, "");
  for (let done = 0; done < count; done += 32) {
    // In portions, so that memory does not grow with COUNT.
    const first = start + BigInt(done);
    const got = await sampler.sample(Math.min(32, count - done), { seed, start: first, steps: false, temperature });
    if (noisePath) appendFileSync(noisePath, new Uint8Array(got.noise.buffer));
    check.add(first, got.count, got.images);
    for (let k = 0; k < got.count; k++) {
      const image = got.images.subarray(k * pixels, (k + 1) * pixels);
      writePicture(`${prefix}${first + BigInt(k)}.${info.channels === 3 ? "ppm" : "pgm"}`, info, image);
    }
  }
  process.stdout.write(`${check}\n`);
}

async function classify(path, pictures) {
  const classifier = await Classifier.open(path);
  for (const picture of pictures) {
    const image = readPicture(picture, classifier.info);
    const { answers, probabilities } = await classifier.classify(image, { steps: false });
    process.stdout.write(`${printable(picture)}: ${printable(answers[0])} ${Math.max(...probabilities).toFixed(6)}\n`);
  }
}

/** A whole number 0 .. 2^64 - 1 as BigInt: a Number is exact only up to 2^53. */
function parseNumber(text, name) {
  if (!/^[0-9]{1,20}$/.test(text) || BigInt(text) >= 2n ** 64n) {
    throw new Error(`${name} must be a whole number from 0 to 2^64 - 1, not ${text}`);
  }
  return BigInt(text);
}

function parseTemperature(text) {
  const factor = text.trim() === "" ? NaN : Number(text);
  if (!(factor >= 0 && factor <= 10)) throw new Error(`--temperature must be a number from 0 to 10, not ${text}`);
  return factor;
}

const [verb, file, ...rest] = process.argv.slice(2);
process.stdout.on("error", (error) => { // a full disk; a reader that went away is no error worth a word
  if (error.code !== "EPIPE") console.error(`draw: error: stdout: ${error.message}`);
  process.exitCode = 1;
});
try {
  const factor = verb === "sample" && rest.length >= 3 && rest.at(-2) === "--temperature" ? rest.splice(-2)[1] : "1";
  // Without its FACTOR, or not at the end, --temperature would be a PREFIX.
  if (verb === "sample" && rest.length >= 1 && rest.length <= 5 && !rest.includes("--temperature")) {
    const temperature = parseTemperature(factor);
    const [seed, start = "0", count = "1", prefix = "picture", noisePath] = rest;
    const [s, first, n] = [parseNumber(seed, "SEED"), parseNumber(start, "START"), parseNumber(count, "COUNT")];
    if (n < 1n || first + n > 2n ** 64n) {
      throw new Error("COUNT must be at least 1, and pictures are numbered up to 2^64 - 1");
    }
    await sample(file, s, first, Number(n), temperature, prefix, noisePath);
  } else if (verb === "classify" && rest.length >= 1) {
    await classify(file, rest);
  } else {
    console.error("usage: node draw.js sample   decoder.onnx SEED [START [COUNT [PREFIX [NOISE_FILE]]]] [--temperature FACTOR]\n" +
      "       node draw.js classify classifier.onnx PICTURE...");
    process.exitCode = 2;
  }
} catch (error) {
  console.error(`draw: error: ${printable(error.message.split(/[\r\n]/)[0])}`);
  process.exitCode = 1;
}
