/* A file of draw-export in ONNX Runtime, and what it says of itself (docs/embedding.md). Every mistake ends the program.
 *
 * For one source file: all functions are static. POSIX systems need _POSIX_C_SOURCE 200809L before the first header, for setenv.
 */
#ifndef DRAW_MODEL_H
#define DRAW_MODEL_H

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
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

/* Prints a text that may come from a file: a control character as \xNN, which does nothing to a terminal. */
static void print_visible(FILE *stream, const char *text) {
  for (;; text++) {
    size_t plain = 0;
    while ((unsigned char)text[plain] >= 0x20 && text[plain] != 0x7f) plain++;
    fwrite(text, 1, plain, stream);
    text += plain;
    if (!*text) return;
    fprintf(stream, "\\x%02x", (unsigned)*text);
  }
}

static void fail(const char *format, ...) {
  char message[8192];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  fputs("draw: error: ", stderr);
  print_visible(stderr, message);
  fputc('\n', stderr);
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

#define MAX_SIZE 65536                /* of anything that a file counts: units, pixels, pictures of a fixed batch */
#define MAX_VALUES (INT64_C(1) << 28) /* of one picture in an input or output: a gigabyte */

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
  if (value[0] < '1' || value[0] > '9' || *end || size < 1 || size > MAX_SIZE) {
    fail("%s: metadata key %s is no sensible size: %s", model->file, key, value);
  }
  release(model, value);
  return size;
}

/* How many numbers one picture has in an input or output: few enough that their bytes fit a size of 32 bits too. */
static size_t check_values(const Model *model, const char *name, int64_t values) {
  if (values > MAX_VALUES) {
    fail("%s: its %s would have %" PRId64 " numbers a picture, more than %" PRId64, model->file, name, values, MAX_VALUES);
  }
  return (size_t)values;
}

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* A classifier's names in the order of its probabilities: two or more, none empty, none twice. Free the first with release,
 * then the list. */
static char **lookup_labels(const Model *model, size_t *classes) {
  char *labels = lookup(model, "labels");
  if (!labels) fail("%s: the metadata lacks the key labels", model->file);
  *classes = 1;
  for (const char *c = labels; *c; c++) *classes += *c == ',';
  char **names = allocate(*classes, sizeof *names), **sorted = allocate(*classes, sizeof *sorted);
  for (size_t k = 0; k < *classes; k++) {
    names[k] = sorted[k] = labels;
    labels += strcspn(labels, ",");
    *labels++ = '\0'; /* the comma; after the last name the end */
  }
  qsort(sorted, *classes, sizeof *sorted, compare_names); /* an empty name is then the first, and equal ones are neighbours */
  if (*classes < 2 || !*sorted[0]) fail("%s: metadata key labels must list at least two names", model->file);
  for (size_t k = 1; k < *classes; k++) {
    if (strcmp(sorted[k - 1], sorted[k]) == 0) fail("%s: metadata key labels names a class twice", model->file);
  }
  free(sorted);
  return names;
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

  /* From bytes, which have no path to be spelled as each system wants it. ONNX Runtime follows references to other files
   * all the same, relative to the current folder: this is for files that you trust. */
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
  if (strcmp(version, "1") != 0) {
    bool newer = version[0] >= '1' && version[0] <= '9' && !version[strspn(version, "0123456789")];
    fail("%s: format_version %s is %s this program reads (1)", path, version, newer ? "newer than" : "not one that");
  }
  if (strcmp(model_type, wanted) != 0) fail("%s: this is a %s, and a %s is needed", path, model_type, wanted);
  release(&model, model_type);
  release(&model, version);
  model.channels = lookup_size(&model, "image_channels");
  model.height = lookup_size(&model, "image_height");
  model.width = lookup_size(&model, "image_width");
  model.pixels = check_values(&model, "image", model.channels * model.height * model.width); /* at most 2^48 */

  check(ort->SessionGetInputTypeInfo(model.session, 0, &type), path);
  check(ort->CastTypeInfoToTensorInfo(type, &shape), path);
  if (shape) check(ort->GetDimensionsCount(shape, &axes), path);
  if (!shape || axes < 1 || axes > 8) fail("%s: its input has an unexpected shape", path);
  check(ort->GetDimensions(shape, dimensions, axes), path);
  model.batch = dimensions[0] == -1 ? 0 : dimensions[0]; /* -1 stands for a dynamic axis */
  if (dimensions[0] != -1 && (model.batch < 1 || model.batch > MAX_SIZE)) {
    fail("%s: its batch size is %" PRId64, path, model.batch);
  }
  ort->ReleaseTypeInfo(type);
  return model;
}

static void close_model(Model *model) {
  ort->ReleaseModelMetadata(model->metadata);
  ort->ReleaseSession(model->session);
  ort->ReleaseEnv(model->env);
}

/* One input through the graph, one output back, as a copy of exactly `count` floats: free it. It is compared in 64 bits:
 * size_t may have 32. */
static float *run(const Model *model, const char *input, float *values, const int64_t *dimensions, size_t axes,
                  const char *output, uint64_t count) {
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
  float *copy = allocate(given, sizeof(float));
  for (size_t i = 0; i < given; i++) {
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
