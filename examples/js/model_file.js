// What a file of draw-export says of itself, and whether ONNX Runtime may see it.
// Plain ES module without dependencies, for Node and for browsers.

import { readGraph, readMetadata } from "./onnx_file.js";
import { checkQuantised } from "./quantised.js";

export { readMetadata };

const FORMAT_VERSION = 1;
const NOISE_STREAM = "splitmix64-boxmuller-1";
const MODEL_TYPES = ["draw.decoder", "draw.classifier", "draw.scorer"];
export const MAX_SIZE = 65536; // of anything that a file counts: units, pixels, filters, pictures of a fixed batch
const MAX_VALUES = 2 ** 28; // of one picture in an input or output: a gigabyte
// ONNX Runtime's own operators, in files of `dtype` int8 alone. Scorers are never int8.
const INT8_OPERATORS = {
  "draw.decoder": ["DynamicQuantizeMatMul", "DynamicQuantizeLSTM"],
  "draw.classifier": ["DynamicQuantizeMatMul"],
};

/** Shapes without the batch axis of the inputs and outputs that a file of this metadata has, by name. */
export function promised(info) {
  const { timeSteps: t, channels: c, height: h, width: w } = info;
  if (info.modelType === "draw.classifier") {
    const outputs = { logits: [info.labels.length], probabilities: [info.labels.length] };
    const n = info.readSize;
    if (info.steps) Object.assign(outputs, { glimpses: [t, c, n, n], read_attention: [t, 5] });
    return { inputs: { image: [c, h, w] }, outputs };
  }
  const scores = info.modelType === "draw.scorer";
  const noise = { noise: [t, info.latentSize] };
  const outputs = scores ? { bound: [], reconstruction: [c, h, w] } : { image: [c, h, w] };
  if (info.steps) outputs.canvases = [t, c, h, w];
  if (info.steps && info.attention) outputs.write_attention = [t, 5];
  if (info.steps && info.attention && scores) outputs.read_attention = [t, 5];
  return { inputs: scores ? { image: [c, h, w], ...noise } : noise, outputs };
}

/** Numbers in an array of this shape. */
export function product(shape) {
  return shape.reduce((total, n) => total * n, 1);
}

function checkValues(info) {
  for (const arrays of Object.values(promised(info))) {
    for (const [name, shape] of Object.entries(arrays)) {
      if (product(shape) > MAX_VALUES) {
        throw new Error(`its ${name} would have ${product(shape)} numbers a picture, more than ${MAX_VALUES}`);
      }
    }
  }
}

function classNames(list) {
  const labels = list.split(",");
  if (labels.length < 2 || labels.includes("")) throw new Error("metadata key labels must list at least two names");
  if (new Set(labels).size < labels.length) throw new Error("metadata key labels names a class twice");
  return labels;
}

/** Pixels of the light figures on black that a classifier reads; 0 where nothing is known of them. */
function figureSize(modelType, metadata, size) {
  if (modelType !== "draw.classifier") return 0;
  if (!("figure_size" in metadata)) return 0;
  return size("figure_size", 1, Math.max(size("image_height", 1), size("image_width", 1)));
}

/**
 * The metadata, checked: sizes as numbers, labels as a list.
 * @param {Uint8Array} bytes the whole file
 * @param {string} [wanted] the model_type that is needed, e.g. "draw.decoder"; any of ours unless given
 * @returns {{modelType: string, dataset: string, timeSteps: number, latentSize: number, channels: number,
 *            height: number, width: number, attention: boolean, steps: boolean, writeSize: number,
 *            readSize: number, figureSize: number, labels: string[], pictureFit: string, binaryPictures: boolean,
 *            metadata: Object<string, string>}}
 *          latentSize, writeSize, readSize and figureSize are 0 and labels is empty where the model type has none;
 *          steps says whether the file also gives the outputs of every step; pictureFit ("pad" or "cover") and
 *          binaryPictures (0 and 1 only) how the training pictures were made
 * @throws {Error} one line: not ours, too new, of another type, or with something in it that draw-export never writes
 */
export function modelInfo(bytes, wanted) {
  const metadata = readMetadata(bytes);
  if (!bytes.length) throw new Error("the file is empty");
  const said = (key) => {
    if (!(key in metadata)) throw new Error(`the metadata lacks the key ${key}`);
    return metadata[key];
  };
  const size = (key, least, most = MAX_SIZE) => {
    if (!/^(0|[1-9][0-9]{0,4})$/.test(said(key)) || Number(said(key)) < least || Number(said(key)) > most) {
      throw new Error(`metadata key ${key} is no sensible size: ${said(key)}`);
    }
    return Number(said(key));
  };
  if (!("model_type" in metadata && "format_version" in metadata)) {
    throw new Error("not a file that draw-export wrote: it has no draw-onnx metadata");
  }
  if (size("format_version", 1) > FORMAT_VERSION) {
    throw new Error(`format_version ${said("format_version")} is newer than this program reads (${FORMAT_VERSION})`);
  }
  const modelType = said("model_type");
  if (!MODEL_TYPES.includes(modelType)) throw new Error(`unknown model_type ${modelType} in the metadata`);
  if (wanted && modelType !== wanted) throw new Error(`this is a ${modelType}, and a ${wanted} is needed`);
  const oneOf = (key, given, ...allowed) => {
    if (!allowed.includes(given)) throw new Error(`metadata key ${key} must be ${allowed.join(" or ")}, not ${given}`);
    return given;
  };
  const flag = (key, given) => oneOf(key, given, "true", "false") === "true";
  const int8 = oneOf("dtype", metadata.dtype ?? "float32", "float32", "float16", "int8") === "int8";
  if (int8 && !INT8_OPERATORS[modelType]) throw new Error(`metadata key dtype: there is no ${modelType} in int8`);
  const graph = readGraph(bytes, int8 ? INT8_OPERATORS[modelType] : []);
  const hiddenSize = size("hidden_size", 1);
  const hasNoise = modelType !== "draw.classifier";
  if (hasNoise && said("noise_stream") !== NOISE_STREAM) {
    throw new Error(`unknown noise_stream ${said("noise_stream")}; this program makes ${NOISE_STREAM}`);
  }
  if (hasNoise) oneOf("prior", metadata.prior ?? "standard", "standard", "learned"); // another might want other noise
  const attention = flag("attention", said("attention"));
  const reads = attention || !hasNoise; // a classifier has no other way
  const filters = (key) => (reads ? size(key, 1) : size(key, 0, 0));
  const info = {
    modelType,
    dataset: said("dataset"),
    timeSteps: size("time_steps", 1),
    latentSize: hasNoise ? size("latent_size", 1) : 0,
    channels: size("image_channels", 1),
    height: size("image_height", 1),
    width: size("image_width", 1),
    attention,
    steps: oneOf("outputs", said("outputs"), "steps", "image") === "steps",
    writeSize: hasNoise ? filters("write_size") : 0,
    readSize: modelType === "draw.decoder" ? 0 : filters("read_size"),
    figureSize: figureSize(modelType, metadata, size),
    labels: hasNoise ? [] : classNames(said("labels")),
    // Keys that came later: files from before them read as they always did.
    pictureFit: oneOf("picture_fit", metadata.picture_fit ?? "pad", "pad", "cover"),
    binaryPictures: "binary" in metadata && flag("binary", metadata.binary),
    metadata,
  };
  if (![1, 3].includes(info.channels)) throw new Error(`no pictures of ${info.channels} channels`);
  checkValues(info);
  checkQuantised(graph, hiddenSize, info.latentSize);
  return info;
}
