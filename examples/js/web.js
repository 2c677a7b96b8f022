// The package in a page: models by address or as files of the visitor's, run by onnxruntime-web.

import * as models from "./models.js";

export { toRGBA } from "./cover.js";
export { fit, toChannels } from "./fit.js";
export { prepare, readPicture } from "./image_file.js";
export { modelInfo, readMetadata } from "./model_file.js";
export { prepareLevels } from "./prepare.js";
export { CheckLine, checkLine, noise, rawIntegers } from "./noise.js";

async function runtime() {
  const ort = await import("onnxruntime-web/wasm");
  ort.env.wasm.numThreads = 1; // more would need special headers from the server
  ort.env.logLevel = "error";
  return ort;
}

/** The bytes behind an address. */
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

const backend = {
  runtime,
  read: download,
  // The graph comes optimised from draw-export: without another pass it opens in half the time and runs as fast.
  sessionOptions: { executionProviders: ["wasm"], graphOptimizationLevel: "disabled", logSeverityLevel: 3 },
};

// Subclasses, as in node.js, which may be loaded beside this.
export class Sampler extends models.Sampler {
  static backend = backend;
}

export class Classifier extends models.Classifier {
  static backend = backend;
}

export class Scorer extends models.Scorer {
  static backend = backend;
}
