// What an int8 file hands to ONNX Runtime's own operators: many releases take their weights in any shape, and read or
// write past the end of short ones. The operators of the default domain are checked there.

/** Whether these are the same numbers. */
const same = (one, other) => one?.length === other?.length && one.every((n, k) => n === other[k]);

/**
 * Throws unless weights, scales, zero points and biases are stored tensors of shapes that agree.
 * @param {object} graph of `readGraph`
 * @param {number} hiddenSize as the metadata have it
 * @param {number} latentSize likewise
 */
export function checkQuantised(graph, hiddenSize, latentSize) {
  for (const { operator, inputs, attributes } of graph.foreign) {
    const lstm = operator === "DynamicQuantizeLSTM";
    const stored = lstm ? lstmShapes(hiddenSize, latentSize) : productShapes(graph, operator, inputs);
    const computed = lstm ? [0, 5, 6] : [0]; // what comes in, and an LSTM's first states
    const written = lstm ? same(attributes.get("hidden_size"), [hiddenSize]) : true;
    if (!written || attributes.size !== (lstm ? 1 : 0)) {
      throw new Error(`its ${operator} has other attributes than draw-export writes`);
    }
    // What comes in is as wide as W only if it is the noise, whose shape is held against the metadata.
    if (lstm && !isNoiseByStep(graph.transposes.get(inputs[0] ?? ""))) {
      throw new Error(`its ${operator} takes something else than the noise`);
    }
    const last = Math.max(inputs.length, ...Object.keys(stored).map(Number));
    for (let position = 0; position <= last; position++) {
      const name = inputs[position] ?? "";
      const shape = graph.shapes.get(name);
      const fits = position in stored ? stored[position].some((allowed) => same(shape, allowed))
        : name === "" || computed.includes(position);
      if (!fits) throw new Error(`input ${position} of its ${operator} (${name || "none"}) has not the right size`);
    }
  }
}

function isNoiseByStep(node) {
  return node !== undefined && same(node.inputs, ["noise"]) && node.attributes.size === 1
    && same(node.attributes.get("perm"), [1, 0, 2]);
}

/** Shapes by the input's position: W, R, B, then scale and zero point of W and R. */
function lstmShapes(h, z) {
  const scale = [[1, 4 * h]], zero = [[1], [1, 4 * h]];
  return { 1: [[1, z, 4 * h]], 2: [[1, h, 4 * h]], 3: [[1, 8 * h]], 8: scale, 9: zero, 10: scale, 11: zero };
}

/** B, its scale and zero point, and where there is one the bias. */
function productShapes(graph, operator, inputs) {
  const shape = graph.shapes.get(inputs[1] ?? "");
  if (shape?.length !== 2 || shape.includes(0)) throw new Error(`the weights of its ${operator} are no stored matrix`);
  const row = [shape[1]];
  const shapes = { 1: [shape], 2: [row], 3: [[1], row] };
  return inputs.slice(4).some(Boolean) ? { ...shapes, 4: [row] } : shapes;
}
