/* Draws pictures and classifies them with files that draw-export wrote, in C against ONNX Runtime alone.
 *
 *     draw sample   decoder.onnx SEED [START [COUNT [PREFIX [NOISE_FILE]]]]
 *     draw classify classifier.onnx PICTURE...
 *
 * sample writes PREFIX0.pgm, PREFIX1.pgm, ... (.ppm for a model of three channels), the noise to NOISE_FILE
 * as raw float32, and prints the check line by which ports are compared. classify reads binary PGM and PPM.
 * docs/embedding.md is the definition of everything here; README.md says how to build it.
 */
#define _POSIX_C_SOURCE 200809L /* setenv */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <onnxruntime_c_api.h>

/* The library is opened while running: a linked program would be tied to one release of ONNX Runtime. */
#ifdef _WIN32
#include <windows.h>
#define LIBRARY "onnxruntime.dll"
#define OPEN_LIBRARY(name) LoadLibraryA(name)
#define FIND_SYMBOL GetProcAddress
#else
#include <dlfcn.h>
#ifdef __APPLE__
#define LIBRARY "libonnxruntime.dylib"
#else
#define LIBRARY "libonnxruntime.so.1"
#endif
#define OPEN_LIBRARY(name) dlopen(name, RTLD_NOW | RTLD_LOCAL)
#define FIND_SYMBOL dlsym
#endif

static void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("draw: error: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(1);
}

static void *allocate(size_t count, size_t size) {
  void *memory = calloc(count ? count : 1, size); /* calloc checks that count * size does not overflow */
  if (!memory) fail("out of memory");
  return memory;
}

/* ---- The noise stream splitmix64-boxmuller-1. uint64_t wraps at 2^64, which is what the stream wants. ---- */

static uint64_t raw(uint64_t seed, uint64_t m) {
  uint64_t x = seed + (m + 1) * UINT64_C(0x9E3779B97F4A7C15);
  x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
  return x ^ (x >> 31);
}

/* In (0, 1]. The integer becomes a double before 1/2 is added. */
static double uniform(uint64_t integer) { return ((double)(integer >> 11) + 0.5) * 0x1p-53; }

/* Element n of the stream; picture k has elements k*T*Z .. (k + 1)*T*Z - 1. */
static float noise_value(uint64_t seed, uint64_t n) {
  const double two_pi = 6.283185307179586;
  double radius = sqrt(-2.0 * log(uniform(raw(seed, 2 * n))));
  return (float)(radius * cos(two_pi * uniform(raw(seed, 2 * n + 1))));
}

/* FNV-1a-64 over the eight bytes of an integer, lowest first. */
static uint64_t fnv1a64(uint64_t hash, uint64_t integer) {
  for (int shift = 0; shift < 64; shift += 8) {
    hash = (hash ^ ((integer >> shift) & 0xFF)) * UINT64_C(0x100000001B3);
  }
  return hash;
}

/* ---- ONNX Runtime ---- */

static const OrtApi *ort;

static void check(OrtStatus *status, const char *file) {
  if (!status) return;
  const char *message = ort->GetErrorMessage(status);
  fail("%s: %.*s", file, (int)strcspn(message, "\r\n"), message);
}

static void load_library(void) {
#ifndef _WIN32
  /* Since 1.29 the official builds report to Microsoft, and keep a device id in ~/.cache, unless told so before they start. */
  setenv("ORT_DISABLE_TELEMETRY", "1", 0);
#endif
  const char *name = getenv("ONNXRUNTIME_LIB");
  if (!name) name = LIBRARY;
  void *library = OPEN_LIBRARY(name);
  if (!library) fail("cannot open %s: set ONNXRUNTIME_LIB to ONNX Runtime's shared library", name);
  const OrtApiBase *(ORT_API_CALL * get_base)(void);
  void *symbol = (void *)FIND_SYMBOL(library, "OrtGetApiBase");
  if (!symbol) fail("%s is not ONNX Runtime", name);
  memcpy(&get_base, &symbol, sizeof get_base); /* ISO C knows no cast from void * to a function */
  ort = get_base()->GetApi(ORT_API_VERSION);
  if (!ort) fail("%s is version %s, older than the header", name, get_base()->GetVersionString());
}

typedef struct {
  const char *file;
  OrtEnv *env;
  OrtSession *session;
  OrtModelMetadata *metadata;
  OrtAllocator *allocator;
  int64_t batch; /* of a file exported with --batch N; 0 for any */
  int64_t channels, height, width;
  size_t pixels; /* channels * height * width */
} Model;

/* A metadata value, or NULL; free with ort->AllocatorFree. */
static char *lookup(const Model *model, const char *key) {
  char *value = NULL;
  check(ort->ModelMetadataLookupCustomMetadataMap(model->metadata, model->allocator, key, &value), model->file);
  return value;
}

static void release(const Model *model, char *value) { check(ort->AllocatorFree(model->allocator, value), model->file); }

static int64_t lookup_size(const Model *model, const char *key) {
  char *value = lookup(model, key), *end = NULL;
  if (!value) fail("%s: the metadata lacks the key %s", model->file, key);
  long size = strtol(value, &end, 10);
  if (end == value || *end || size < 1 || size > 65536) {
    fail("%s: metadata key %s is no sensible size: %s", model->file, key, value);
  }
  release(model, value);
  return size;
}

static unsigned char *read_file(const char *path, size_t *length) {
  FILE *file = fopen(path, "rb");
  if (!file) fail("cannot open %s: %s", path, strerror(errno));
  size_t capacity = 1 << 16;
  unsigned char *bytes = allocate(capacity, 1);
  *length = 0;
  for (;;) {
    *length += fread(bytes + *length, 1, capacity - *length, file);
    if (*length < capacity) break;
    if (capacity > SIZE_MAX / 2 || !(bytes = realloc(bytes, capacity *= 2))) fail("%s is too large", path);
  }
  if (ferror(file)) fail("cannot read %s: %s", path, strerror(errno));
  fclose(file);
  return bytes;
}

/* Opens a file of draw-export of the wanted model_type, and reads what it says of itself. */
static Model open_model(const char *path, const char *wanted) {
  Model model = {.file = path};
  OrtSessionOptions *options;
  OrtTypeInfo *type;
  const OrtTensorTypeAndShapeInfo *shape;
  size_t length, axes;
  int64_t dimensions[8] = {0};

  /* From bytes: given a path, ONNX Runtime would follow references to other files. */
  unsigned char *bytes = read_file(path, &length);
  check(ort->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "draw", &model.env), path);
  check(ort->DisableTelemetryEvents(model.env), path); /* what Windows has in place of the variable */
  check(ort->CreateSessionOptions(&options), path);
  check(ort->SetIntraOpNumThreads(options, 1), path); /* these models are too small for more */
  check(ort->CreateSessionFromArray(model.env, bytes, length, options, &model.session), path);
  ort->ReleaseSessionOptions(options);
  free(bytes);

  check(ort->SessionGetModelMetadata(model.session, &model.metadata), path);
  check(ort->GetAllocatorWithDefaultOptions(&model.allocator), path);
  char *model_type = lookup(&model, "model_type"), *version = lookup(&model, "format_version");
  if (!model_type || !version) fail("%s: not a file that draw-export wrote: it has no draw-onnx metadata", path);
  if (strcmp(version, "1") != 0) fail("%s: format_version %s is newer than this program reads (1)", path, version);
  if (strcmp(model_type, wanted) != 0) fail("%s: this is a %s, and a %s is needed", path, model_type, wanted);
  release(&model, model_type);
  release(&model, version);
  model.channels = lookup_size(&model, "image_channels");
  model.height = lookup_size(&model, "image_height");
  model.width = lookup_size(&model, "image_width");
  model.pixels = (size_t)(model.channels * model.height * model.width); /* below 2^48 */

  check(ort->SessionGetInputTypeInfo(model.session, 0, &type), path);
  check(ort->CastTypeInfoToTensorInfo(type, &shape), path);
  if (shape) check(ort->GetDimensionsCount(shape, &axes), path);
  if (!shape || axes < 1 || axes > 8) fail("%s: its input has an unexpected shape", path);
  check(ort->GetDimensions(shape, dimensions, axes), path);
  model.batch = dimensions[0] > 0 ? dimensions[0] : 0; /* -1 stands for a dynamic axis */
  ort->ReleaseTypeInfo(type);
  return model;
}

static void close_model(Model *model) {
  ort->ReleaseModelMetadata(model->metadata);
  ort->ReleaseSession(model->session);
  ort->ReleaseEnv(model->env);
}

/* One input through the graph, one output back, as a copy of exactly `count` floats: free it. */
static float *run(const Model *model, const char *input, float *values, const int64_t *dimensions, size_t axes,
                  const char *output, size_t count) {
  OrtMemoryInfo *memory;
  OrtValue *in = NULL, *out = NULL;
  OrtTensorTypeAndShapeInfo *shape;
  ONNXTensorElementDataType type;
  float *data;
  size_t given = 1;
  for (size_t i = 0; i < axes; i++) given *= (size_t)dimensions[i];
  check(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory), model->file);
  check(ort->CreateTensorWithDataAsOrtValue(memory, values, given * sizeof(float), dimensions, axes,
                                            ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &in), model->file);
  check(ort->Run(model->session, NULL, &input, (const OrtValue *const *)&in, 1, &output, 1, &out), model->file);
  check(ort->GetTensorTypeAndShape(out, &shape), model->file);
  check(ort->GetTensorShapeElementCount(shape, &given), model->file);
  check(ort->GetTensorElementType(shape, &type), model->file);
  if (given != count || type != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) {
    fail("%s: its %s does not have the shape that its metadata says", model->file, output);
  }
  check(ort->GetTensorMutableData(out, (void **)&data), model->file);
  float *copy = allocate(count, sizeof(float));
  for (size_t i = 0; i < count; i++) {
    copy[i] = data[i];
    if (!isfinite(copy[i])) fail("%s: its %s is not finite: the file is damaged", model->file, output);
  }
  ort->ReleaseTensorTypeAndShapeInfo(shape);
  ort->ReleaseValue(out);
  ort->ReleaseValue(in);
  ort->ReleaseMemoryInfo(memory);
  return copy;
}

/* ---- Pictures: planes [C, H, W] of levels in [0, 1] here, interleaved bytes in PGM and PPM files ---- */

static FILE *create(const char *path) {
  FILE *file = fopen(path, "wb");
  if (!file) fail("cannot write %s: %s", path, strerror(errno));
  return file;
}

static void finish(FILE *file, const char *path) {
  if (ferror(file) | fclose(file)) fail("cannot write %s: %s", path, strerror(errno));
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

/* The next number of a PGM or PPM header, after blanks and comments; -1 where there is none. */
static long header_number(const unsigned char *bytes, size_t length, size_t *at) {
  while (*at < length && (strchr(" \t\r\n", bytes[*at]) || bytes[*at] == '#')) {
    if (bytes[*at] == '#') while (*at < length && bytes[*at] != '\n') ++*at;
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
  at++; /* the one blank before the pixels */
  if (width < 1 || height < 1 || most < 1 || most > 65535) fail("%s has a damaged header", path);
  if (width > model->width || height > model->height) {
    fail("%s has %ld x %ld pixels, more than the model's %" PRId64 " x %" PRId64 ": give a smaller picture", path,
         width, height, model->width, model->height);
  }
  char *picture_fit = lookup(model, "picture_fit");
  if (picture_fit && strcmp(picture_fit, "cover") == 0 && (width < model->width || height < model->height)) {
    fail("%s has %ld x %ld pixels: this model's pictures fill their frame of %" PRId64 " x %" PRId64, path, width,
         height, model->width, model->height);
  }
  if (picture_fit) release(model, picture_fit);
  if (at > length || length - at < (size_t)width * (size_t)height * channels * sample) fail("%s ends too early", path);
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

static void sample(const char *path, uint64_t seed, uint64_t start, uint64_t count, const char *prefix,
                   const char *noise_path) {
  Model model = open_model(path, "draw.decoder");
  check_channels(&model);
  int64_t steps = lookup_size(&model, "time_steps"), latents = lookup_size(&model, "latent_size");
  char *stream = lookup(&model, "noise_stream");
  if (!stream || strcmp(stream, "splitmix64-boxmuller-1") != 0) {
    fail("%s: unknown noise_stream %s; this program makes splitmix64-boxmuller-1", path, stream ? stream : "(none)");
  }
  release(&model, stream);

  uint64_t per_picture = (uint64_t)steps * (uint64_t)latents, hash = UINT64_C(0xCBF29CE484222325);
  uint64_t batch = model.batch ? (uint64_t)model.batch : count < 32 ? count : 32;
  int64_t dimensions[3] = {(int64_t)batch, steps, latents};
  float *noise = allocate(batch, per_picture * sizeof(float));
  float first[4] = {0};
  double sum = 0;
  FILE *noise_file = noise_path ? create(noise_path) : NULL;

  for (uint64_t done = 0; done < count; done += batch) {
    /* A batch is always full: pictures beyond the last are drawn and dropped. */
    uint64_t wanted = count - done < batch ? count - done : batch, n = (start + done) * per_picture;
    for (uint64_t i = 0; i < batch * per_picture; i++) noise[i] = noise_value(seed, n + i);
    for (uint64_t m = 2 * n; m != 2 * (n + wanted * per_picture); m++) hash = fnv1a64(hash, raw(seed, m));
    if (noise_file) fwrite(noise, sizeof(float), wanted * per_picture, noise_file);

    float *images = run(&model, "noise", noise, dimensions, 3, "image", batch * model.pixels);
    for (size_t i = 0; i < wanted * model.pixels; i++) sum += images[i];
    for (size_t i = 0; i < 4 && i < model.pixels && done == 0; i++) first[i] = images[i];
    for (uint64_t k = 0; k < wanted; k++) {
      char name[4096];
      snprintf(name, sizeof name, "%s%" PRIu64 ".%s", prefix, start + done + k, model.channels == 3 ? "ppm" : "pgm");
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
  char *labels = lookup(&model, "labels");
  if (!labels) fail("%s: the metadata lacks the key labels", path);
  size_t classes = 1;
  for (char *c = labels; *c; c++) classes += *c == ',';
  int64_t batch = model.batch ? model.batch : 1;
  int64_t dimensions[4] = {batch, model.channels, model.height, model.width};
  float *images = allocate((size_t)batch, model.pixels * sizeof(float)); /* a fixed batch: one picture, the others black */

  for (int i = 0; i < count; i++) {
    read_picture(pictures[i], &model, images);
    float *probabilities = run(&model, "image", images, dimensions, 4, "probabilities", (size_t)batch * classes);
    size_t best = 0;
    for (size_t k = 1; k < classes; k++) if (probabilities[k] > probabilities[best]) best = k;
    const char *label = labels;
    for (size_t k = 0; k < best; k++) label = strchr(label, ',') + 1;
    printf("%s: %.*s %.6f\n", pictures[i], (int)strcspn(label, ","), label, probabilities[best]);
    free(probabilities);
  }
  free(images);
  release(&model, labels);
  close_model(&model);
}

/* A whole number 0 .. 2^64 - 1; strtoull alone would take "-1" and "7x". */
static uint64_t parse_number(const char *text, const char *name) {
  char *end;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (text[0] < '0' || text[0] > '9' || *end || errno) fail("%s must be a whole number from 0 to 2^64 - 1, not %s", name, text);
  return value;
}

int main(int argc, char **argv) {
  if (argc >= 4 && argc <= 8 && strcmp(argv[1], "sample") == 0) {
    uint64_t seed = parse_number(argv[3], "SEED");
    uint64_t start = argc > 4 ? parse_number(argv[4], "START") : 0, count = argc > 5 ? parse_number(argv[5], "COUNT") : 1;
    if (count < 1 || count - 1 > UINT64_MAX - start) fail("COUNT must be at least 1, and pictures are numbered up to 2^64 - 1");
    load_library();
    sample(argv[2], seed, start, count, argc > 6 ? argv[6] : "picture", argc > 7 ? argv[7] : NULL);
  } else if (argc >= 4 && strcmp(argv[1], "classify") == 0) {
    load_library();
    classify(argv[2], argv + 3, argc - 3);
  } else {
    fputs("usage: draw sample   decoder.onnx SEED [START [COUNT [PREFIX [NOISE_FILE]]]]\n"
          "       draw classify classifier.onnx PICTURE...\n", stderr);
    return 2;
  }
  return fflush(stdout) ? 1 : 0;
}
