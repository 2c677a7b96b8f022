// A model file, opened: fetched, checked against its own metadata, ready to run.

import { modelInfo } from "./js/model_file.js";

const ORT_FOLDER = new URL("./ort/", import.meta.url).href;

let loading; // ONNX Runtime is loaded once, for both models

function runtime() {
  loading ??= import("./ort/ort.wasm.min.mjs").then(
    (ort) => {
      ort.env.wasm.numThreads = 1; // more would need special headers from the server
      ort.env.wasm.wasmPaths = ORT_FOLDER;
      ort.env.logLevel = "error";
      return ort;
    },
    () => {
      throw new Error("ONNX Runtime's files are not in the folder ort: assemble the page with build.py");
    },
  );
  return loading;
}

/** Start loading ONNX Runtime while the models are still on their way. */
export function preload() {
  runtime().catch(() => {}); // said when a model is opened
}

/** The bytes behind an address of this site. */
export async function download(address) {
  let response;
  try {
    response = await fetch(address);
  } catch {
    throw new Error("it could not be fetched");
  }
  if (!response.ok) throw new Error(`it is not there (the server says ${response.status})`);
  return new Uint8Array(await response.arrayBuffer());
}

/** Shapes without the batch axis that a file of this metadata has. */
function promised(info) {
  const { timeSteps: t, channels: c, height: h, width: w } = info;
  if (info.modelType === "draw.classifier") {
    const outputs = { logits: [info.labels.length], probabilities: [info.labels.length] };
    const n = info.readSize;
    if (info.steps) Object.assign(outputs, { glimpses: [t, c, n, n], read_attention: [t, 5] });
    return { inputs: { image: [c, h, w] }, outputs };
  }
  const outputs = { image: [c, h, w] };
  if (info.steps) outputs.canvases = [t, c, h, w];
  if (info.steps && info.attention) outputs.write_attention = [t, 5];
  return { inputs: { noise: [t, info.latentSize] }, outputs };
}

/** Compare the graph with its metadata; returns N of a file exported with --batch N, else null. */
function checkInterface(session, info) {
  const { inputs, outputs } = promised(info);
  const batches = new Set();
  for (const [kind, expected, actual] of [
    ["input", inputs, session.inputMetadata],
    ["output", outputs, session.outputMetadata],
  ]) {
    for (const [name, shape] of Object.entries(expected)) {
      const value = actual.find((candidate) => candidate.name === name);
      if (!value) throw new Error(`it lacks the ${kind} ${name} that its metadata promises`);
      if (value.type !== "float32") throw new Error(`its ${kind} ${name} is ${value.type}, not float32`);
      if (value.shape.slice(1).join() !== shape.join()) {
        throw new Error(`its ${kind} ${name} has shape [${value.shape}], but its metadata says [batch, ${shape}]`);
      }
      batches.add(typeof value.shape[0] === "number" && value.shape[0] > 0 ? value.shape[0] : null);
    }
  }
  if (session.inputNames.length !== Object.keys(inputs).length) throw new Error("it has unknown inputs");
  if (batches.size !== 1) throw new Error("its inputs and outputs disagree on the batch size");
  return [...batches][0];
}

export class Model {
  /**
   * @param {Uint8Array} bytes the whole file
   * @param {string} wanted "draw.decoder" or "draw.classifier"
   * @throws {Error} one line: not ours, damaged, too new, of another type, or contradicting itself
   */
  static async open(bytes, wanted) {
    const info = modelInfo(bytes, wanted); // before ONNX Runtime is let near it
    const ort = await runtime();
    // The graph comes optimised from draw-export: without another pass it opens in half the time and runs as fast.
    const options = { executionProviders: ["wasm"], graphOptimizationLevel: "disabled", logSeverityLevel: 3 };
    let session;
    try {
      session = await ort.InferenceSession.create(bytes, options);
    } catch (error) {
      throw new Error(`ONNX Runtime cannot load it: ${String(error.message ?? error).split("\n")[0]}`);
    }
    try {
      return new Model(ort, session, info, checkInterface(session, info), bytes.length);
    } catch (error) {
      session.release();
      throw error;
    }
  }

  constructor(ort, session, info, fixedBatch, size) {
    Object.assign(this, { ort, session, info, fixedBatch, size });
    this.queue = Promise.resolve(); // a session runs one batch at a time
    const { inputs, outputs } = promised(info);
    [[this.input, this.inputShape]] = Object.entries(inputs);
    this.outputShapes = outputs;
  }

  /**
   * Run `count` rows of the model's input.
   * @param {Float32Array} data [count, ...]
   * @returns {Promise<Object<string, Float32Array>>} every output, [count, ...]
   */
  run(data, count) {
    const result = this.queue.then(() => this.#batches(data, count));
    this.queue = result.catch(() => {});
    return result;
  }

  async #batches(data, count) {
    const row = data.length / count;
    const size = this.fixedBatch ?? count;
    const results = {};
    for (let begin = 0; begin < count; begin += size) {
      const part = new Float32Array(size * row); // a fixed batch is filled up with zeros
      part.set(data.subarray(begin * row, Math.min(begin + size, count) * row));
      const feeds = { [this.input]: new this.ort.Tensor("float32", part, [size, ...this.inputShape]) };
      const fetched = await this.session.run(feeds, Object.keys(this.outputShapes));
      for (const [name, shape] of Object.entries(this.outputShapes)) {
        const length = shape.reduce((product, n) => product * n, 1);
        results[name] ??= new Float32Array(count * length);
        results[name].set(fetched[name].data.subarray(0, Math.min(size, count - begin) * length), begin * length);
      }
    }
    for (const values of Object.values(results)) {
      if (!values.every(Number.isFinite)) throw new Error("its results are not numbers: the file is damaged");
    }
    return results;
  }

  release() {
    this.queue = this.queue.then(() => this.session.release());
  }
}
