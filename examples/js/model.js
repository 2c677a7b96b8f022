// A model file, opened: checked against its own metadata, ready to run in ONNX Runtime's Node or web package.

import { MAX_SIZE, modelInfo, product, promised } from "./model_file.js";

const OF_STEPS = ["canvases", "glimpses", "read_attention", "write_attention"]; // outputs that not every file has
const LARGEST_BATCH = 32; // where time per picture stops falling on a CPU

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
        throw new Error(
          `its ${kind} ${name} does not have the shape that its metadata says: [${value.shape}], not [batch, ${shape}]`,
        );
      }
      batches.add(typeof value.shape[0] === "number" && value.shape[0] > 0 ? value.shape[0] : null);
    }
  }
  const surplus = session.outputMetadata.find(({ name }) => OF_STEPS.includes(name) && !(name in outputs));
  if (surplus) throw new Error(`it has the output ${surplus.name}, of which its metadata does not know`);
  if (session.inputNames.length !== Object.keys(inputs).length) throw new Error("it has unknown inputs");
  if (batches.size !== 1) throw new Error("its inputs and outputs disagree on the batch size");
  const [batch] = batches;
  if (batch > MAX_SIZE) throw new Error(`its batch size is ${batch}`);
  return batch;
}

/** What the binding says, on one line. */
function firstLine(error) {
  return String(error?.message ?? error).split(/[\r\n]/)[0];
}

/**
 * What Sampler, Classifier and Scorer share. The entries for Node and for pages set `backend`:
 * {runtime(): Promise<ort>, read(source): Promise<Uint8Array>, sessionOptions}.
 */
export class OpenedModel {
  static modelType = "";
  static backend = null;

  /**
   * Open a file that draw-export wrote.
   * @param {string|URL|Blob|ArrayBuffer|Uint8Array} source a path (Node), an address (page), a File, or the whole file's bytes
   * @param {{ort?: object, sessionOptions?: object, name?: string}} [options] ort: ONNX Runtime's module, or a
   *     promise of it, in place of the installed package; name: what error messages call the file
   * @throws {Error} one line: not there, not ours, damaged, too new, of another type, or contradicting itself
   */
  static async open(source, { ort, sessionOptions, name = nameOf(source) } = {}) {
    Promise.resolve(ort).catch(() => {}); // its failure is said below, in its turn
    try {
      const bytes = source instanceof Uint8Array ? (source.buffer instanceof ArrayBuffer ? source : source.slice())
        : source instanceof ArrayBuffer ? new Uint8Array(source)
        : source instanceof Blob ? new Uint8Array(await source.arrayBuffer())
        : await this.backend.read(source);
      const info = modelInfo(bytes, this.modelType); // before ONNX Runtime is let near it: it follows references to other files
      const runtime = await (ort ?? this.backend.runtime());
      let session;
      try {
        // The bytes that were looked at, and no path, behind which another file might lie by now.
        session = await runtime.InferenceSession.create(bytes, { ...this.backend.sessionOptions, ...sessionOptions });
      } catch (error) {
        throw new Error(`ONNX Runtime cannot load it: ${firstLine(error)}`);
      }
      try {
        return new this(runtime, session, info, checkInterface(session, info), bytes.length, name);
      } catch (error) {
        await session.release();
        throw error;
      }
    } catch (error) {
      throw name ? new Error(`${name}: ${firstLine(error)}`) : error;
    }
  }

  #ort; #session; #inputs; #outputs;
  #queue = Promise.resolve(); // a session runs one batch at a time
  #released = null;

  /** @hidden Use `open`. */
  constructor(ort, session, info, fixedBatch, size, name) {
    this.#ort = ort;
    this.#session = session;
    ({ inputs: this.#inputs, outputs: this.#outputs } = promised(info));
    Object.assign(this, { info, fixedBatch, size, name });
  }

  /** Numbers of one picture: C x H x W. */
  get pixels() {
    return this.info.channels * this.info.height * this.info.width;
  }

  /**
   * Run `count` rows. A file of a fixed batch size is fed zeros for the rows that are missing.
   * @param {(begin: number, rows: number) => Object<string, Float32Array>} feed inputs of rows begin .. begin + rows - 1
   * @param {boolean} steps also what happens at every step, where the file gives it
   * @returns {Promise<Object<string, Float32Array>>} outputs by name, [count, ...]
   */
  runRows(count, feed, steps) {
    if (this.#released) return Promise.reject(this.#failed("it has been released"));
    const result = this.#queue.then(() => this.#batches(count, feed, steps));
    this.#queue = result.catch(() => {});
    return result;
  }

  async #batches(count, feed, steps) {
    const every = ["canvases", "glimpses", "read_attention", "write_attention"];
    const wanted = Object.entries(this.#outputs).filter(([name]) => steps || !every.includes(name));
    const size = this.fixedBatch ?? Math.min(count, LARGEST_BATCH);
    const results = {};
    for (let begin = 0; begin < count; begin += size) {
      const rows = Math.min(size, count - begin);
      const padded = this.fixedBatch ?? rows;
      const given = feed(begin, rows);
      const feeds = {};
      for (const [name, shape] of Object.entries(this.#inputs)) {
        let data = given[name];
        if (rows < padded) {
          data = new Float32Array(padded * product(shape));
          data.set(given[name]);
        }
        feeds[name] = new this.#ort.Tensor("float32", data, [padded, ...shape]);
      }
      let fetched;
      try {
        fetched = await this.#session.run(feeds, wanted.map(([name]) => name));
      } catch (error) {
        throw this.#failed(`running it failed: ${firstLine(error)}`);
      }
      for (const [name, shape] of wanted) {
        const length = product(shape);
        const data = fetched[name].data;
        if (data.length !== padded * length) throw this.#failed(`its ${name} does not have the shape that its metadata says`);
        results[name] ??= new Float32Array(count * length);
        results[name].set(data.subarray(0, rows * length), begin * length);
      }
    }
    for (const [name, values] of Object.entries(results)) {
      if (!values.every(Number.isFinite)) throw this.#failed(`its ${name} is not finite: the file is damaged`);
    }
    return results;
  }

  #failed(message) {
    return new Error(this.name ? `${this.name}: ${message}` : message);
  }

  /** Give the memory back, once what is running is done; again, nothing happens. */
  release() {
    return (this.#released ??= this.#queue.then(() => this.#session.release()));
  }
}

function nameOf(source) {
  if (typeof source === "string" || source instanceof URL) return String(source);
  return source?.name ?? "";
}
