// What a file of draw-export says of itself. ONNX Runtime's JavaScript packages do not give a model's
// metadata, so the few bytes of protobuf around it are read here.
// Plain ES module without dependencies, for Node and for browsers.

const FORMAT_VERSION = 1;
const NOISE_STREAM = "splitmix64-boxmuller-1";
const MODEL_TYPES = ["draw.decoder", "draw.classifier", "draw.scorer"];
const METADATA_PROPS = 14; // field number in onnx.proto's ModelProto; an entry has key = 1, value = 2
const GRAPH = 7, NODE = 1, ATTRIBUTE = 5, INITIALIZER = 5, EXTERNAL_DATA = 13;
const TENSORS = [5, 10], GRAPHS = [6, 11], SPARSE = [22, 23], SPARSE_INITIALIZER = 15; // of attributes, and of a graph

/** [field number, bytes] of every length-delimited field of a protobuf message; the others are skipped. */
function* fields(bytes) {
  let position = 0;
  const damaged = () => new Error("not an ONNX file, or it is damaged");
  const varint = () => {
    let value = 0;
    for (let scale = 1; scale < 2 ** 70; scale *= 128) {
      if (position >= bytes.length) throw damaged();
      const byte = bytes[position++];
      value += (byte & 127) * scale; // inexact above 2^53, where no length and no field number lies
      if (byte < 128) return value;
    }
    throw damaged();
  };
  while (position < bytes.length) {
    const key = varint();
    const wire = key % 8, number = Math.floor(key / 8);
    if (number === 0 || key >= 2 ** 32) throw damaged(); // ONNX Runtime's reader would keep 32 bits of a key
    if (wire === 0) varint();
    else if (wire === 1) position += 8;
    else if (wire === 5) position += 4;
    else if (wire === 2) {
      const length = varint();
      if (length > bytes.length - position) throw damaged();
      yield [number, bytes.subarray(position, position + length)];
      position += length;
    } else throw damaged();
  }
  if (position > bytes.length) throw damaged();
}

/**
 * The metadata of an ONNX file.
 * @param {Uint8Array} bytes the whole file
 * @returns {Object<string, string>} keys and values of metadata_props; empty for a file without any
 */
export function readMetadata(bytes) {
  const text = new TextDecoder();
  const metadata = Object.create(null);
  for (const [number, content] of fields(bytes)) {
    if (number !== METADATA_PROPS) continue;
    const entry = Object.fromEntries(fields(content));
    metadata[text.decode(entry[1])] = text.decode(entry[2]);
  }
  return metadata;
}

/** Every stored tensor of a graph, also in attributes of its nodes. */
function* tensors(graph) {
  for (const [number, content] of fields(graph)) {
    if (number === INITIALIZER) yield content;
    else if (number === SPARSE_INITIALIZER) yield* parts(content);
    else if (number === NODE) {
      for (const [inner, attribute] of fields(content)) {
        if (inner !== ATTRIBUTE) continue;
        for (const [kind, value] of fields(attribute)) {
          if (TENSORS.includes(kind)) yield value;
          else if (GRAPHS.includes(kind)) yield* tensors(value);
          else if (SPARSE.includes(kind)) yield* parts(value);
        }
      }
    }
  }
}

/** Values and indices of a sparse tensor. */
function* parts(sparse) {
  for (const [, tensor] of fields(sparse)) yield tensor;
}

/** Throws where a weight is said to lie in another file: in Node ONNX Runtime would read it. */
function checkWhole(bytes) {
  // "ORTM": ONNX Runtime would take the bytes for a model in its own format, whatever they are to a reader of ONNX.
  if ([0x4f, 0x52, 0x54, 0x4d].every((byte, i) => bytes[4 + i] === byte)) throw new Error("not an ONNX file, or it is damaged");
  for (const [number, graph] of fields(bytes)) {
    if (number !== GRAPH) continue;
    for (const tensor of tensors(graph)) {
      for (const [field] of fields(tensor)) {
        if (field === EXTERNAL_DATA) throw new Error("its weights are said to lie in another file, which is never followed");
      }
    }
  }
}

/** Pixels of the light figures on black that a classifier reads; 0 where nothing is known of them. */
function figureSize(modelType, metadata, size) {
  if (modelType !== "draw.classifier") return 0;
  if ("figure_size" in metadata) return size("figure_size", 1, Math.max(size("image_height", 1), size("image_width", 1)));
  return metadata.dataset.includes("mnist") ? 20 : 0; // files from before the key
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
 * @throws {Error} one line: not ours, too new, or of another type
 */
export function modelInfo(bytes, wanted) {
  const metadata = readMetadata(bytes);
  const text = (key) => {
    if (!(key in metadata)) throw new Error(`the metadata lacks the key ${key}`);
    return metadata[key];
  };
  const size = (key, least, most = 65536) => {
    if (!/^(0|[1-9][0-9]{0,4})$/.test(text(key)) || Number(text(key)) < least || Number(text(key)) > most) {
      throw new Error(`metadata key ${key} is no sensible size: ${text(key)}`);
    }
    return Number(text(key));
  };
  if (!("model_type" in metadata && "format_version" in metadata)) {
    throw new Error("not a file that draw-export wrote: it has no draw-onnx metadata");
  }
  if (size("format_version", 1) > FORMAT_VERSION) {
    throw new Error(`format_version ${text("format_version")} is newer than this program reads (${FORMAT_VERSION})`);
  }
  const modelType = text("model_type");
  if (!MODEL_TYPES.includes(modelType)) throw new Error(`unknown model_type ${modelType} in the metadata`);
  if (wanted && modelType !== wanted) throw new Error(`this is a ${modelType}, and a ${wanted} is needed`);
  const oneOf = (key, given, ...allowed) => {
    if (!allowed.includes(given)) throw new Error(`metadata key ${key} must be ${allowed.join(" or ")}, not ${given}`);
    return given;
  };
  const flag = (key, given) => oneOf(key, given, "true", "false") === "true";
  checkWhole(bytes);
  const hasNoise = modelType !== "draw.classifier";
  if (hasNoise && text("noise_stream") !== NOISE_STREAM) {
    throw new Error(`unknown noise_stream ${text("noise_stream")}; this program makes ${NOISE_STREAM}`);
  }
  return {
    modelType,
    dataset: text("dataset"),
    timeSteps: size("time_steps", 1),
    latentSize: hasNoise ? size("latent_size", 1) : 0,
    channels: size("image_channels", 1),
    height: size("image_height", 1),
    width: size("image_width", 1),
    attention: flag("attention", text("attention")),
    steps: oneOf("outputs", text("outputs"), "steps", "image") === "steps",
    writeSize: hasNoise ? size("write_size", 0) : 0,
    readSize: modelType === "draw.decoder" ? 0 : size("read_size", 0),
    figureSize: figureSize(modelType, metadata, size),
    labels: hasNoise ? [] : text("labels").split(","),
    // Keys that came later: files from before them read as they always did.
    pictureFit: oneOf("picture_fit", metadata.picture_fit ?? "pad", "pad", "cover"),
    binaryPictures: "binary" in metadata ? flag("binary", metadata.binary) : text("dataset").includes("mnist"),
    metadata,
  };
}
