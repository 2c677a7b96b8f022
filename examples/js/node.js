// The package in Node: models by path, run by onnxruntime-node.

import { readFile } from "node:fs/promises";
import * as models from "./models.js";

export { toRGBA } from "./cover.js";
export { fit, toChannels } from "./fit.js";
export { prepare } from "./image_file.js";
export { modelInfo, readMetadata } from "./model_file.js";
export { prepareLevels } from "./prepare.js";
export { CheckLine, checkLine, noise, rawIntegers } from "./noise.js";

// Since 1.29 the official builds report to Microsoft, and keep a device id in ~/.cache, unless told so before the first
// session: here, and not in `runtime`, for sessions of a module that a caller gives as well. A worker thread has a copy of
// the environment that ONNX Runtime does not see: the main thread must have loaded this module (README).
process.env.ORT_DISABLE_TELEMETRY ??= "1";

async function runtime() {
  try {
    const ort = await import("onnxruntime-node");
    return ort.default ?? ort;
  } catch (error) {
    if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw new Error("onnxruntime-node is not installed: npm install --ignore-scripts onnxruntime-node");
  }
}

const backend = {
  runtime,
  read: readFile,
  // One thread: these models are too small for more.
  sessionOptions: { intraOpNumThreads: 1, logSeverityLevel: 4 },
};

// Subclasses rather than a backend set on the class that both entries share: whoever loads both has each work.
export class Sampler extends models.Sampler {
  static backend = backend;
}

export class Classifier extends models.Classifier {
  static backend = backend;
}

export class Scorer extends models.Scorer {
  static backend = backend;
}
