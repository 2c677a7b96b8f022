// Just enough of the ONNX file format to judge a file before ONNX Runtime is let near it: the few bytes of protobuf that
// matter. ONNX Runtime's JavaScript packages do not give a model's metadata either.
// Plain ES module without dependencies, for Node and for browsers.

const MICROSOFT = "com.microsoft"; // ONNX Runtime's own operators

// Field numbers of onnx.proto, each with what it is a part of.
const MODEL_GRAPH = 7, MODEL_METADATA = 14, MODEL_FUNCTIONS = 25;
const ENTRY_KEY = 1, ENTRY_VALUE = 2;
const GRAPH_NODE = 1, GRAPH_INITIALIZER = 5, GRAPH_SPARSE_INITIALIZER = 15;
const NODE_INPUT = 1, NODE_OUTPUT = 2, NODE_OP_TYPE = 4, NODE_ATTRIBUTE = 5, NODE_DOMAIN = 7;
const ATTRIBUTE_NAME = 1, ATTRIBUTE_INT = 3, ATTRIBUTE_INTS = 8;
const ATTRIBUTE_TENSORS = [5, 10], ATTRIBUTE_GRAPHS = [6, 11], ATTRIBUTE_SPARSE = [22, 23];
const TENSOR_DIMS = 1, TENSOR_NAME = 8, TENSOR_EXTERNAL_DATA = 13, TENSOR_DATA_LOCATION = 14;
const MAX_NUMBERS = 16; // kept of a list, in which whoever looks expects fewer

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }); // what ONNX Runtime sees, or nothing

const damaged = () => new Error("not an ONNX file, or it is damaged");

/** [field number, value] of a protobuf message: bytes where the field has a length, numbers where it is a varint. */
function* fields(bytes) {
  let position = 0;
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
    const start = position, key = varint();
    const wire = key % 8, number = Math.floor(key / 8);
    // ONNX Runtime's reader would keep 32 bits of a key.
    if (number === 0 || key >= 2 ** 32 || position - start > 5) throw damaged();
    if (wire === 0) yield [number, varint()];
    else if (wire === 1) position += 8; // nothing that is looked at has a fixed length
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

/** Those of the fields that are messages, texts or bytes. */
function* messages(bytes) {
  for (const field of fields(bytes)) if (typeof field[1] !== "number") yield field;
}

function text(bytes) {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new Error("its texts are not UTF-8");
  }
}

/**
 * The metadata of an ONNX file.
 * @param {Uint8Array} bytes the whole file
 * @returns {Object<string, string>} keys and values of metadata_props; empty for a file without any
 */
export function readMetadata(bytes) {
  // An ArrayBuffer has no length, and would pass for an empty file.
  if (!ArrayBuffer.isView(bytes)) throw new TypeError("the bytes of a file are a Uint8Array (new Uint8Array(buffer))");
  const metadata = Object.create(null);
  for (const [number, content] of messages(bytes)) {
    if (number !== MODEL_METADATA) continue;
    const entry = Object.fromEntries(messages(content));
    metadata[text(entry[ENTRY_KEY])] = text(entry[ENTRY_VALUE]);
  }
  return metadata;
}

const never = (what) => new Error(`it ${what}, which draw-export never writes`);

/** Append one number, or several packed ones, up to as many as are kept. */
function keep(numbers, value) {
  if (typeof value === "number") {
    if (numbers.length < MAX_NUMBERS) numbers.push(value);
    return;
  }
  let number = 0, scale = 1;
  for (const byte of value) {
    number += (byte & 127) * scale;
    scale *= 128;
    if (byte >= 128) continue;
    if (numbers.length === MAX_NUMBERS) return;
    numbers.push(number);
    [number, scale] = [0, 1];
  }
  if (scale > 1) throw damaged();
}

/**
 * What a graph declares. Throws where a file holds what draw-export never writes: references to other files, which ONNX
 * Runtime would follow in Node, and all that could hide one. Graphs in attributes are refused and not entered, so that
 * every byte is read a few times at most.
 * @param {Uint8Array} bytes the whole file
 * @param {string[]} allowed operators of com.microsoft
 * @returns {{foreign: object[], transposes: Map<string, object>, shapes: Map<string, ?number[]>}} nodes of com.microsoft;
 *          Transpose nodes by what comes out; shapes of the stored tensors by name, null where a name is there twice
 */
export function readGraph(bytes, allowed) {
  // "ORTM": ONNX Runtime would take the bytes for a model in its own format, whatever they are to a reader of ONNX.
  if ([0x4f, 0x52, 0x54, 0x4d].every((byte, i) => bytes[4 + i] === byte)) throw damaged();
  const found = { foreign: [], transposes: new Map(), shapes: new Map() };
  let graphs = 0;
  for (const [number, content] of messages(bytes)) {
    if (number === MODEL_FUNCTIONS) throw never("uses a model-local function");
    if (number !== MODEL_GRAPH) continue;
    graphs++;
    for (const [part, value] of messages(content)) {
      if (part === GRAPH_NODE) readNode(value, allowed, found);
      else if (part === GRAPH_INITIALIZER) {
        const { name, shape } = readTensor(value);
        found.shapes.set(name, found.shapes.has(name) ? null : shape);
      } else if (part === GRAPH_SPARSE_INITIALIZER) throw never("has a sparse tensor");
    }
  }
  if (graphs !== 1) throw new Error("it has no graph");
  return found;
}

function readNode(bytes, allowed, found) {
  const node = { operator: "", inputs: [], attributes: new Map() }; // of attributes the whole numbers
  let domain = "", output = "";
  for (const [number, content] of messages(bytes)) {
    if (number === NODE_INPUT) node.inputs.push(text(content));
    else if (number === NODE_OUTPUT) output = text(content);
    else if (number === NODE_OP_TYPE) node.operator = text(content);
    else if (number === NODE_DOMAIN) domain = text(content);
    else if (number === NODE_ATTRIBUTE) {
      const { name, numbers } = readAttribute(content);
      node.attributes.set(name, numbers);
    }
  }
  if (domain === "" || domain === "ai.onnx") {
    if (node.operator === "Transpose") found.transposes.set(output, node);
  } else if (domain === MICROSOFT && allowed.includes(node.operator)) found.foreign.push(node);
  else throw never(`uses ${domain}.${node.operator}`);
}

function readAttribute(bytes) {
  const attribute = { name: "", numbers: [] };
  for (const [kind, value] of fields(bytes)) {
    if (kind === ATTRIBUTE_INTS || (kind === ATTRIBUTE_INT && typeof value === "number")) keep(attribute.numbers, value);
    else if (typeof value === "number") continue;
    else if (kind === ATTRIBUTE_NAME) attribute.name = text(value);
    else if (ATTRIBUTE_TENSORS.includes(kind)) readTensor(value);
    else if (ATTRIBUTE_GRAPHS.includes(kind)) throw never("has a graph within the graph, as loops and branches do");
    else if (ATTRIBUTE_SPARSE.includes(kind)) throw never("has a sparse tensor");
  }
  return attribute;
}

function readTensor(bytes) {
  const tensor = { name: "", shape: [] };
  for (const [number, value] of fields(bytes)) {
    if (number === TENSOR_EXTERNAL_DATA || (number === TENSOR_DATA_LOCATION && value !== 0)) {
      throw new Error("its weights are said to lie in another file, which is never followed");
    }
    if (number === TENSOR_DIMS) keep(tensor.shape, value);
    else if (number === TENSOR_NAME && typeof value !== "number") tensor.name = text(value);
  }
  return tensor;
}
