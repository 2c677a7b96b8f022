// Draws pictures and classifies them with files that draw-export wrote, in Node.
//
//     node draw.js sample   decoder.onnx SEED [START [COUNT [PREFIX [NOISE_FILE]]]]
//     node draw.js classify classifier.onnx PICTURE...
//
// sample writes PREFIX0.pgm, PREFIX1.pgm, ... (.ppm for a model of three channels), the noise to NOISE_FILE
// as raw float32, and prints the check line by which ports are compared. classify reads binary PGM and PPM.
// docs/embedding.md is the definition of everything here; ../js has the noise stream and the metadata.

import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import ort from "onnxruntime-node";
import { modelInfo } from "../js/model_file.js";
import { CheckLine, noise } from "../js/noise.js";

// Since 1.29 the official builds report to Microsoft, and keep a device id in ~/.cache, unless told so before
// the first session.
process.env.ORT_DISABLE_TELEMETRY ??= "1";

/** A file of draw-export, ready to run; `info` is what it says of itself. */
async function openModel(path, wanted) {
  try {
    const bytes = readFileSync(path);
    const info = modelInfo(bytes, wanted);
    if (info.channels !== 1 && info.channels !== 3) throw new Error(`no pictures of ${info.channels} channels`);
    // From bytes: given a path, ONNX Runtime would follow references to other files.
    // One thread: these models are too small for more.
    const session = await ort.InferenceSession.create(bytes, { intraOpNumThreads: 1, logSeverityLevel: 4 });
    const [axis] = session.inputMetadata[0].shape;
    const batch = typeof axis === "number" && axis > 0 ? axis : 0; // of a file exported with --batch N; 0 for any
    return { path, info, session, batch, pixels: info.channels * info.height * info.width };
  } catch (error) {
    throw new Error(`${path}: ${error.message}`);
  }
}

/** One input through the graph, one output back: exactly `count` floats. */
async function run(model, input, values, shape, output, count) {
  let data;
  try {
    const results = await model.session.run({ [input]: new ort.Tensor("float32", values, shape) }, [output]);
    data = results[output].data;
  } catch (error) {
    throw new Error(`${model.path}: ${error.message}`);
  }
  if (!(data instanceof Float32Array) || data.length !== count) {
    throw new Error(`${model.path}: its ${output} does not have the shape that its metadata says`);
  }
  if (!data.every(Number.isFinite)) throw new Error(`${model.path}: its ${output} is not finite: the file is damaged`);
  return data;
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

/** A picture file as the model's input: grey by Rec. 601 where it has one channel, centred on black. */
function readPicture(path, { channels, height, width }) {
  const bytes = readFileSync(path);
  // The header is text: three numbers after blanks and comments, then one blank, then the pixels.
  const blank = "(?:[ \\t\\r\\n]|#[^\\n]*\\n)+";
  const header = new RegExp(`^P([56])${blank}([0-9]+)${blank}([0-9]+)${blank}([0-9]+)[ \\t\\r\\n]`)
    .exec(bytes.subarray(0, 4096).toString("latin1"));
  if (!header) throw new Error(`${path} is no binary PGM or PPM`);
  const given = header[1] === "6" ? 3 : 1;
  const [w, h, most] = header.slice(2).map(Number);
  if (w < 1 || h < 1 || most < 1 || most > 65535) throw new Error(`${path} has a damaged header`);
  if (w > width || h > height) {
    throw new Error(`${path} has ${w} x ${h} pixels, more than the model's ${width} x ${height}: give a smaller picture`);
  }
  const pixels = bytes.subarray(header[0].length);
  if (pixels.length < w * h * given * (most > 255 ? 2 : 1)) throw new Error(`${path} ends too early`);
  const level = (i) => Math.min((most > 255 ? pixels.readUInt16BE(2 * i) : pixels[i]) / most, 1);

  const top = Math.floor((height - h) / 2), left = Math.floor((width - w) / 2);
  const image = new Float32Array(channels * height * width);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const i = (y * w + x) * given;
      let levels = given === 3 ? [level(i), level(i + 1), level(i + 2)] : [level(i), level(i), level(i)];
      if (given === 3 && channels === 1) levels = [0.299 * levels[0] + 0.587 * levels[1] + 0.114 * levels[2]];
      for (let c = 0; c < channels; c++) image[(c * height + top + y) * width + left + x] = levels[c];
    }
  }
  return image;
}

async function sample(path, seed, start, count, prefix, noisePath) {
  const model = await openModel(path, "draw.decoder");
  const { timeSteps, latentSize, channels } = model.info;
  const batch = model.batch || Math.min(count, 32);
  const check = new CheckLine(seed, timeSteps, latentSize);
  if (noisePath) writeFileSync(noisePath, "");
  for (let done = 0; done < count; done += batch) {
    // A batch is always full: pictures beyond the last are drawn and dropped.
    const wanted = Math.min(batch, count - done);
    const first = start + BigInt(done);
    const values = noise(seed, first, batch, timeSteps, latentSize);
    if (noisePath) appendFileSync(noisePath, new Uint8Array(values.buffer, 0, 4 * wanted * timeSteps * latentSize));
    const images = await run(model, "noise", values, [batch, timeSteps, latentSize], "image", batch * model.pixels);
    check.add(first, wanted, images.subarray(0, wanted * model.pixels));
    for (let k = 0; k < wanted; k++) {
      const image = images.subarray(k * model.pixels, (k + 1) * model.pixels);
      writePicture(`${prefix}${first + BigInt(k)}.${channels === 3 ? "ppm" : "pgm"}`, model.info, image);
    }
  }
  console.log(String(check));
}

async function classify(path, pictures) {
  const model = await openModel(path, "draw.classifier");
  const { channels, height, width, labels } = model.info;
  const batch = model.batch || 1; // a fixed batch: one picture, the others black
  for (const picture of pictures) {
    const images = new Float32Array(batch * model.pixels);
    images.set(readPicture(picture, model.info));
    const probabilities = (
      await run(model, "image", images, [batch, channels, height, width], "probabilities", batch * labels.length)
    ).subarray(0, labels.length);
    const best = probabilities.indexOf(Math.max(...probabilities));
    console.log(`${picture}: ${labels[best]} ${probabilities[best].toFixed(6)}`);
  }
}

/** A whole number 0 .. 2^64 - 1 as BigInt: a Number is exact only up to 2^53. */
function parseNumber(text, name) {
  if (!/^[0-9]{1,20}$/.test(text) || BigInt(text) >= 2n ** 64n) {
    throw new Error(`${name} must be a whole number from 0 to 2^64 - 1, not ${text}`);
  }
  return BigInt(text);
}

const [verb, file, ...rest] = process.argv.slice(2);
try {
  if (verb === "sample" && rest.length >= 1 && rest.length <= 5) {
    const [seed, start = "0", count = "1", prefix = "picture", noisePath] = rest;
    const [s, first, n] = [parseNumber(seed, "SEED"), parseNumber(start, "START"), parseNumber(count, "COUNT")];
    if (n < 1n || first + n > 2n ** 64n) {
      throw new Error("COUNT must be at least 1, and pictures are numbered up to 2^64 - 1");
    }
    await sample(file, s, first, Number(n), prefix, noisePath);
  } else if (verb === "classify" && rest.length >= 1) {
    await classify(file, rest);
  } else {
    console.error("usage: node draw.js sample   decoder.onnx SEED [START [COUNT [PREFIX [NOISE_FILE]]]]\n" +
      "       node draw.js classify classifier.onnx PICTURE...");
    process.exitCode = 2;
  }
} catch (error) {
  console.error(`draw: error: ${error.message.split(/[\r\n]/)[0]}`);
  process.exitCode = 1;
}
