/* Draws pictures and classifies them with files that draw-export wrote, in C against ONNX Runtime alone.
 *
 *     draw sample   decoder.onnx SEED [START [COUNT [PREFIX [NOISE_FILE]]]] [--temperature FACTOR]
 *     draw classify classifier.onnx PICTURE...
 *
 * sample writes PREFIX0.pgm, PREFIX1.pgm, ... (.ppm for a model of three channels), the noise to NOISE_FILE
 * as raw float32, and prints the check line by which ports are compared. FACTOR, 0 to 10, multiplies the noise: below 1
 * pictures are more regular and vary less. classify reads binary PGM and PPM.
 * docs/embedding.md is the definition of everything here; README.md says how to build it.
 */
#define _POSIX_C_SOURCE 200809L /* setenv, in model.h */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "noise.h"

/* ---- Pictures: planes [C, H, W] of levels in [0, 1] here, interleaved bytes in PGM and PPM files ---- */

static FILE *create(const char *path) {
  FILE *file = fopen(path, "wb");
  if (!file) fail("cannot write %s: %s", path, strerror(errno));
  return file;
}

static void finish(FILE *file, const char *path) {
  bool failed = ferror(file); /* asked while it is open */
  if (fclose(file) || failed) fail("cannot write %s: %s", path, strerror(errno));
}

static void write_picture(const char *path, const Model *model, const float *image) {
  size_t plane = (size_t)(model->height * model->width);
  FILE *file = create(path);
  fprintf(file, "P%d\n%" PRId64 " %" PRId64 "\n255\n", model->channels == 3 ? 6 : 5, model->width, model->height);
  for (size_t i = 0; i < plane; i++) {
    for (size_t c = 0; c < (size_t)model->channels; c++) {
      fputc((int)(fminf(fmaxf(image[c * plane + i], 0), 1) * 255 + 0.5f), file);
    }
  }
  finish(file, path);
}

static bool is_blank(unsigned char byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

/* The next number of a PGM or PPM header, after a blank and any more blanks and comments; -1 where there is none. */
static long header_number(const unsigned char *bytes, size_t length, size_t *at) {
  if (*at >= length || !is_blank(bytes[*at])) return -1;
  while (*at < length && (is_blank(bytes[*at]) || bytes[*at] == '#')) {
    if (bytes[*at] == '#') while (*at < length && bytes[*at] != '\n' && bytes[*at] != '\r') ++*at;
    else ++*at;
  }
  long number = -1;
  for (; *at < length && bytes[*at] >= '0' && bytes[*at] <= '9' && number < 100000; ++*at) {
    number = (number < 0 ? 0 : number) * 10 + (bytes[*at] - '0');
  }
  return number;
}

/* A picture file as the model's input: grey by Rec. 601 where it has one channel, centred on black. */
static void read_picture(const char *path, const Model *model, float *image) {
  size_t length, at = 2;
  unsigned char *bytes = read_file(path, &length);
  if (length < 2 || bytes[0] != 'P' || (bytes[1] != '5' && bytes[1] != '6')) fail("%s is no binary PGM or PPM", path);
  size_t channels = bytes[1] == '6' ? 3 : 1;
  long width = header_number(bytes, length, &at), height = header_number(bytes, length, &at);
  long most = header_number(bytes, length, &at);
  size_t sample = most > 255 ? 2 : 1;
  bool parted = at < length && is_blank(bytes[at++]); /* one blank before the pixels */
  if (width < 1 || height < 1 || most < 1 || most > 65535 || !parted) fail("%s has a damaged header", path);
  if (width > model->width || height > model->height) {
    fail("%s has %ld x %ld pixels, more than the model's %" PRId64 " x %" PRId64 ": give a smaller picture", path,
         width, height, model->width, model->height);
  }
  char *picture_fit = lookup(model, "picture_fit");
  bool covers = picture_fit && strcmp(picture_fit, "cover") == 0;
  if (picture_fit && !covers && strcmp(picture_fit, "pad") != 0) {
    fail("%s: metadata key picture_fit must be pad or cover, not %s", model->file, picture_fit);
  }
  if (covers && (width < model->width || height < model->height)) {
    fail("%s has %ld x %ld pixels: this model's pictures fill their frame of %" PRId64 " x %" PRId64, path, width,
         height, model->width, model->height);
  }
  if (picture_fit) release(model, picture_fit);
  if (length - at < (size_t)width * (size_t)height * channels * sample) fail("%s ends too early", path);
  long top = (long)(model->height - height) / 2, left = (long)(model->width - width) / 2;
  memset(image, 0, model->pixels * sizeof(float));
  for (long y = 0; y < height; y++) {
    for (long x = 0; x < width; x++) {
      float level[3] = {0};
      for (size_t c = 0; c < channels; c++, at += sample) {
        level[c] = (float)(sample == 2 ? bytes[at] * 256 + bytes[at + 1] : bytes[at]) / (float)most;
        if (level[c] > 1) level[c] = 1;
      }
      if (channels == 1) level[1] = level[2] = level[0];
      else if (model->channels == 1) level[0] = 0.299f * level[0] + 0.587f * level[1] + 0.114f * level[2];
      for (int64_t c = 0; c < model->channels; c++) {
        image[(c * model->height + top + y) * model->width + left + x] = level[c];
      }
    }
  }
  free(bytes);
}

static void check_channels(const Model *model) {
  if (model->channels != 1 && model->channels != 3) fail("%s: no pictures of %" PRId64 " channels", model->file, model->channels);
}

/* ---- The two things it does ---- */

static void sample(const char *path, uint64_t seed, uint64_t start, uint64_t count, float temperature,
                   const char *prefix, const char *noise_path) {
  Model model = open_model(path, "draw.decoder");
  check_channels(&model);
  int64_t steps = lookup_size(&model, "time_steps"), latents = lookup_size(&model, "latent_size");
  char *stream = lookup(&model, "noise_stream");
  if (!stream || strcmp(stream, "splitmix64-boxmuller-1") != 0) {
    fail("%s: unknown noise_stream %s; this program makes splitmix64-boxmuller-1", path, stream ? stream : "(none)");
  }
  release(&model, stream);

  size_t per_picture = check_values(&model, "noise", steps * latents);
  uint64_t hash = UINT64_C(0xCBF29CE484222325), batch = model.batch ? (uint64_t)model.batch : count < 32 ? count : 32;
  int64_t dimensions[3] = {(int64_t)batch, steps, latents};
  float *noise = allocate((size_t)batch, per_picture * sizeof(float));
  float first[4] = {0};
  double sum = 0;
  FILE *noise_file = noise_path ? create(noise_path) : NULL;

  for (uint64_t done = 0; done < count; done += batch) {
    /* A batch is always full: pictures beyond the last are drawn and dropped. */
    uint64_t wanted = count - done < batch ? count - done : batch, n = (start + done) * per_picture;
    for (uint64_t i = 0; i < batch * per_picture; i++) noise[i] = temperature * noise_value(seed, n + i);
    for (uint64_t m = 2 * n; m != 2 * (n + wanted * per_picture); m++) hash = fnv1a64(hash, raw(seed, m));
    if (noise_file) fwrite(noise, sizeof(float), wanted * per_picture, noise_file);

    float *images = run(&model, "noise", noise, dimensions, 3, "image", batch * model.pixels);
    for (size_t i = 0; i < wanted * model.pixels; i++) sum += images[i];
    for (size_t i = 0; i < 4 && i < model.pixels && done == 0; i++) first[i] = images[i];
    for (uint64_t k = 0; k < wanted; k++) {
      char name[4096];
      int written = snprintf(name, sizeof name, "%s%" PRIu64 ".%s", prefix, start + done + k,
                             model.channels == 3 ? "ppm" : "pgm");
      if (written < 0 || (size_t)written >= sizeof name) fail("PREFIX is too long");
      write_picture(name, &model, images + k * model.pixels);
    }
    free(images);
  }
  if (noise_file) finish(noise_file, noise_path);
  printf("check %016" PRIx64 " %.6f", hash, sum / ((double)count * (double)model.pixels));
  for (size_t i = 0; i < 4 && i < model.pixels; i++) printf(" %.6f", first[i]);
  printf("\n");
  free(noise);
  close_model(&model);
}

static void classify(const char *path, char **pictures, int count) {
  Model model = open_model(path, "draw.classifier");
  check_channels(&model);
  size_t classes;
  char **labels = lookup_labels(&model, &classes);
  int64_t batch = model.batch ? model.batch : 1;
  int64_t dimensions[4] = {batch, model.channels, model.height, model.width};
  float *images = allocate((size_t)batch, model.pixels * sizeof(float)); /* a fixed batch: one picture, the others black */

  for (int i = 0; i < count; i++) {
    read_picture(pictures[i], &model, images);
    float *probabilities = run(&model, "image", images, dimensions, 4, "probabilities", (uint64_t)batch * classes);
    size_t best = 0;
    for (size_t k = 1; k < classes; k++) if (probabilities[k] > probabilities[best]) best = k;
    printf("%s: ", pictures[i]);
    print_visible(stdout, labels[best]);
    printf(" %.6f\n", probabilities[best]);
    free(probabilities);
  }
  free(images);
  release(&model, labels[0]);
  free(labels);
  close_model(&model);
}

static uint64_t number(const char *text, const char *name) {
  uint64_t value;
  if (!parse_whole(text, &value)) fail("%s must be a whole number from 0 to 2^64 - 1, not %s", name, text);
  return value;
}

int main(int argc, char **argv) {
  bool sampling = argc >= 4 && strcmp(argv[1], "sample") == 0;
  float temperature = 1;
  if (sampling && argc >= 6 && strcmp(argv[argc - 2], "--temperature") == 0) {
    const char *factor = argv[argc - 1];
    if (!parse_temperature(factor, &temperature)) fail("--temperature must be a number from 0 to 10, not %s", factor);
    argc -= 2;
  }
  for (int i = 3; i < argc; i++) { /* without its FACTOR, or not at the end, it would be a PREFIX */
    if (strcmp(argv[i], "--temperature") == 0) sampling = false;
  }
  if (sampling && argc <= 8) {
    uint64_t seed = number(argv[3], "SEED");
    uint64_t start = argc > 4 ? number(argv[4], "START") : 0, count = argc > 5 ? number(argv[5], "COUNT") : 1;
    if (count < 1 || count - 1 > UINT64_MAX - start) fail("COUNT must be at least 1, and pictures are numbered up to 2^64 - 1");
    load_library();
    sample(argv[2], seed, start, count, temperature, argc > 6 ? argv[6] : "picture", argc > 7 ? argv[7] : NULL);
  } else if (argc >= 4 && strcmp(argv[1], "classify") == 0) {
    load_library();
    classify(argv[2], argv + 3, argc - 3);
  } else {
    fputs("usage: draw sample   decoder.onnx SEED [START [COUNT [PREFIX [NOISE_FILE]]]] [--temperature FACTOR]\n"
          "       draw classify classifier.onnx PICTURE...\n", stderr);
    return 2;
  }
  if (fflush(stdout) || ferror(stdout)) fail("cannot write to standard output: %s", strerror(errno));
  return 0;
}
