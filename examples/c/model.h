/* A file of draw-export in ONNX Runtime, and what it says of itself (docs/embedding.md). Every mistake ends the program.
 *
 * For one source file: all functions are static. POSIX systems need _POSIX_C_SOURCE 200809L before the first header, for setenv.
 */
#ifndef DRAW_MODEL_H
#define DRAW_MODEL_H

#include <errno.h>
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
  if (value[0] < '1' || value[0] > '9' || *end || size < 1 || size > 65536) {
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
  check(ort->AddSessionConfigEntry(options, "session.load_model_format", "ONNX"), path); /* not its own format */
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

#endif
