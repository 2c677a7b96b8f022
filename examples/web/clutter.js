// A picture like those of cluttered MNIST, made from what the decoder drew: one whole digit among eight pieces.

import { rawIntegers } from "./js/noise.js";
import { fit, toChannels } from "./js/fit.js";

const PIECES = 8;

/**
 * @param {{channels: number, height: number, width: number}} scene what to make
 * @param {Float32Array[]} drawings [c, h, w] each, in [0, 1]
 * @param {number} chosen which of them is hidden whole
 * @param {{channels: number, height: number, width: number}} shape of the drawings
 * @param {number} number of the puzzle: the seed of all places
 * @returns {Float32Array} [C, H, W] in [0, 1]
 */
export function clutter(scene, drawings, chosen, shape, number) {
  const integers = rawIntegers(BigInt(number), 0n, 2 + 5 * PIECES);
  let next = 0;
  const below = (bound) => Number(integers[next++] % BigInt(Math.max(1, bound)));
  // A drawing larger than the scene is shrunk into it.
  const small = shape.height <= scene.height && shape.width <= scene.width;
  const size = small ? shape : scene;
  const digits = drawings.map((values) => {
    const image = toChannels({ ...shape, values }, scene.channels);
    return small ? image.values : fit(image, scene);
  });
  const side = Math.max(1, Math.round((8 / 28) * Math.min(size.height, size.width))); // 8 of 28 pixels

  const result = new Float32Array(scene.channels * scene.height * scene.width);
  const add = (digit, top, left, height, width, y, x) => {
    for (let c = 0; c < scene.channels; c++) {
      for (let j = 0; j < height; j++) {
        for (let i = 0; i < width; i++) {
          const to = (c * scene.height + y + j) * scene.width + x + i;
          result[to] = Math.min(1, result[to] + digit[(c * size.height + top + j) * size.width + left + i]);
        }
      }
    }
  };
  for (let piece = 0; piece < PIECES; piece++) {
    const digit = digits[below(digits.length)];
    const top = below(size.height - side + 1), left = below(size.width - side + 1);
    const y = below(scene.height - side + 1), x = below(scene.width - side + 1);
    add(digit, top, left, side, side, y, x);
  }
  const y = below(scene.height - size.height + 1), x = below(scene.width - size.width + 1);
  add(digits[chosen], 0, 0, size.height, size.width, y, x);
  return result;
}
