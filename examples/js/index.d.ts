// Types of the package, for Node and for pages alike. Arrays are flat, last index fastest.

/** What a file of draw-export says of itself; sizes that a model type lacks are 0. */
export interface ModelInfo {
  modelType: "draw.decoder" | "draw.classifier" | "draw.scorer";
  dataset: string;
  /** T */
  timeSteps: number;
  /** Z */
  latentSize: number;
  /** C, 1 or 3 */
  channels: number;
  /** H */
  height: number;
  /** W */
  width: number;
  attention: boolean;
  /** Whether the file also gives what happens at every step. */
  steps: boolean;
  /** Filters per axis of the write window. */
  writeSize: number;
  /** Filters per axis of the read window. */
  readSize: number;
  /** Pixels of the figures that a classifier knows, 0 where it knows none of one size. */
  figureSize: number;
  /** Of a classifier: at least two, no two alike. */
  labels: string[];
  /** How the training pictures were made. */
  pictureFit: "pad" | "cover";
  /** Whether the training pictures are 0 and 1 only. */
  binaryPictures: boolean;
  /** All keys as they stand in the file. */
  metadata: Record<string, string>;
}

/** Size of a model's picture. */
export interface PictureShape {
  channels: number;
  height: number;
  width: number;
  pictureFit?: "pad" | "cover";
  figureSize?: number;
}

/** A path (Node) or an address (page), a File, or the whole file's bytes. */
export type Source = string | URL | Blob | ArrayBuffer | Uint8Array;

export interface OpenOptions {
  /** ONNX Runtime's module, or a promise of it, in place of onnxruntime-node or onnxruntime-web/wasm. */
  ort?: object | Promise<object>;
  /** Options of `InferenceSession.create`, over the package's own. */
  sessionOptions?: Record<string, unknown>;
  /** What error messages call the file. */
  name?: string;
}

export interface StepsOption {
  /** Also what happens at every step, where the file gives it; true unless given. */
  steps?: boolean;
}

export interface NoisePlace {
  /** 0 .. 2^64 - 1; a BigInt above 2^53. 0 unless given. */
  seed?: bigint | number;
  /** Number of the first picture, 0 .. 2^64 - 1. 0 unless given. */
  start?: bigint | number;
}

export interface TemperatureOption {
  /** What the noise is multiplied by, 0 to 10; below 1 pictures are more regular and vary less. 1 unless given. */
  temperature?: number;
}

declare class OpenedModel {
  protected constructor();
  readonly info: ModelInfo;
  /** What error messages call the file. */
  readonly name: string;
  /** Bytes of the file. */
  readonly size: number;
  /** N of a file exported with --batch N, else null. */
  readonly fixedBatch: number | null;
  /** Numbers of one picture: C x H x W. */
  readonly pixels: number;
  /** Gives the memory back, once what is running is done. */
  release(): Promise<void>;
}

export interface Samples {
  count: number;
  /** [n, C, H, W] Bernoulli means in [0, 1] */
  images: Float32Array;
  /** [n, T, Z] as it went in: the seed's, times the temperature */
  noise: Float32Array;
  /** [n, T, C, H, W] the picture after each step */
  canvases: Float32Array | null;
  /** [n, T, 5] x, y, delta, sigma, gamma in pixels; pixel 1 is the first */
  writeAttention: Float32Array | null;
}

export class Sampler extends OpenedModel {
  static open(source: Source, options?: OpenOptions): Promise<Sampler>;
  /** Pictures start .. start + count - 1 of a seed: the same ones in every language. */
  sample(
    count: number,
    options?: NoisePlace & StepsOption & TemperatureOption,
  ): Promise<Samples & { seed: bigint; start: bigint; temperature: number }>;
  /** Pictures from noise of your own, [n, T, Z]. */
  sampleNoise(values: Float32Array | number[], options?: StepsOption): Promise<Samples>;
  /** The line by which ports are compared: `draw-gen --check` prints the same. */
  checkLine(samples: { images: Float32Array; seed: bigint; start: bigint; count: number }): string;
}

export interface Classification {
  count: number;
  /** The likeliest label of each picture. */
  answers: string[];
  /** [n, classes] after the last glimpse */
  logits: Float32Array;
  /** [n, classes] */
  probabilities: Float32Array;
  /** [n, T, C, N, N] what the network saw, gamma included */
  glimpses: Float32Array | null;
  /** [n, T, 5] */
  readAttention: Float32Array | null;
}

export class Classifier extends OpenedModel {
  static open(source: Source, options?: OpenOptions): Promise<Classifier>;
  /** @param images [n, C, H, W] in [0, 1]; see `prepare` and `readPicture` */
  classify(images: Float32Array | number[], options?: StepsOption): Promise<Classification>;
}

export interface Scores {
  count: number;
  /** [n] in nats; lower is better */
  bound: Float32Array;
  /** [n, C, H, W] Bernoulli means in [0, 1] */
  reconstruction: Float32Array;
  /** [n, T, C, H, W] */
  canvases: Float32Array | null;
  /** [n, T, 5] */
  readAttention: Float32Array | null;
  /** [n, T, 5] */
  writeAttention: Float32Array | null;
}

export class Scorer extends OpenedModel {
  static open(source: Source, options?: OpenOptions): Promise<Scorer>;
  /**
   * Picture k takes the noise of picture start + k of the seed.
   * @param images [n, C, H, W] in [0, 1], taken as they are: where info.binaryPictures, make them 0 and 1
   */
  score(images: Float32Array | number[], options?: NoisePlace & StepsOption): Promise<Scores>;
}

/** What a picture is drawn with; `auto` finds out, for a model of figures of a known size. */
export type Ink = "auto" | "light" | "dark";

export interface Prepared {
  /** [C, H, W] in [0, 1]: a model's input */
  image: Float32Array;
  ink: "light" | "dark";
  /** What was done, in words. */
  steps: string[];
  /** Why an answer will say little; empty where nothing speaks against it. */
  warning: string;
}

/** Decoded pixels, RGBA [height, width, 4], as a model's input. */
export function prepare(
  pixels: Uint8Array | Uint8ClampedArray,
  width: number,
  height: number,
  info: PictureShape,
  ink?: Ink,
): Prepared;

/** The same for levels in [0, 1], 1 or 3 channels, of any depth. */
export function prepareLevels(
  picture: { channels: number; height: number; width: number; levels: Float32Array; alpha: Float32Array | null },
  shape: PictureShape,
  figureSize: number,
  ink?: Ink,
): Prepared;

/** Pages only: a picture file as a model's input. */
export function readPicture(file: Blob, info: PictureShape, ink?: Ink): Promise<Prepared>;

/** Floats [C, H, W] in [0, 1] as RGBA bytes [H, W, 4], for ImageData or an encoder. */
export function toRGBA(values: Float32Array, shape: PictureShape): Uint8ClampedArray<ArrayBuffer>;

export interface Levels {
  /** [channels, height, width] */
  values: Float32Array;
  channels: number;
  height: number;
  width: number;
}

/** Grey to colour or colour to grey. */
export function toChannels(image: Levels, channels: number): Levels;

/** Shrink if larger, aspect kept, and centre on black: [C, H, W] of `shape`. */
export function fit(image: Levels, shape: PictureShape): Float32Array;

/** The metadata of an ONNX file, as they stand there. */
export function readMetadata(bytes: Uint8Array): Record<string, string>;

/**
 * The metadata, checked; throws one line for a file that is not ours, too new, of another type, or with something in it
 * that draw-export never writes: weights in other files, and what could hide them.
 */
export function modelInfo(bytes: Uint8Array, wanted?: ModelInfo["modelType"]): ModelInfo;

/** Standard normal noise of pictures start .. start + count - 1 of a seed: [count, T, Z]. */
export function noise(seed: bigint, start: bigint, count: number, timeSteps: number, latentSize: number): Float32Array;

/** Outputs number firstM, firstM + 1, ... (mod 2^64) of the SplitMix64 generator of a seed. */
export function rawIntegers(seed: bigint, firstM: bigint, count: number): BigUint64Array;

/** The line by which ports are compared, added up batch by batch. */
export class CheckLine {
  constructor(seed: bigint, timeSteps: number, latentSize: number);
  add(start: bigint, count: number, images: Float32Array): void;
  toString(): string;
}

/** The check line of pictures start .. start + count - 1 in one go. */
export function checkLine(
  seed: bigint,
  start: bigint,
  count: number,
  timeSteps: number,
  latentSize: number,
  images: Float32Array,
): string;
