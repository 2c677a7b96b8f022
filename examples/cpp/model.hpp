// A file of draw-export in ONNX Runtime, and what it says of itself (docs/embedding.md). Mistakes are exceptions of one line.
#ifndef DRAW_MODEL_HPP
#define DRAW_MODEL_HPP

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

// The library is opened while running: a linked program would be tied to one release of ONNX Runtime.
#ifdef _WIN32
#define NOMINMAX
#include <windows.h>
constexpr const char* kLibrary = "onnxruntime.dll";
inline void* open_library(const char* name) { return LoadLibraryA(name); }
inline void* find_symbol(void* library, const char* name) {
  return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(library), name));
}
#else
#include <dlfcn.h>
#ifdef __APPLE__
constexpr const char* kLibrary = "libonnxruntime.dylib";
#else
constexpr const char* kLibrary = "libonnxruntime.so.1";
#endif
inline void* open_library(const char* name) { return dlopen(name, RTLD_NOW | RTLD_LOCAL); }
inline void* find_symbol(void* library, const char* name) { return dlsym(library, name); }
#endif

#define ORT_API_MANUAL_INIT  // Ort::InitApi is given what the opened library offers
#include <onnxruntime_cxx_api.h>

using Floats = std::vector<float>;
using Error = std::runtime_error;

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  if (!file.is_open()) throw Error("cannot open " + path);
  if (!(bytes << file.rdbuf())) throw Error("cannot read " + path + ", or it is empty");
  return bytes.str();
}

// A text that may come from a file, for a terminal: a control character as \xNN, which does nothing there.
inline std::string visible(const std::string& text) {
  std::string shown;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    char escape[5] = {c};
    if (byte < 0x20 || byte == 0x7f) std::snprintf(escape, sizeof escape, "\\x%02x", byte);
    shown += escape;
  }
  return shown;
}

// Room for a batch, which may be more than a size of 32 bits can say.
inline Floats zeros(std::uint64_t count) {
  if (count > Floats().max_size()) throw std::bad_alloc();
  return Floats(static_cast<std::size_t>(count));
}

inline void load_library() {
#ifndef _WIN32
  // Since 1.29 the official builds report to Microsoft, and keep a device id in ~/.cache, unless told so before they start.
  setenv("ORT_DISABLE_TELEMETRY", "1", 0);
#endif
  const char* name = std::getenv("ONNXRUNTIME_LIB");
  if (!name) name = kLibrary;
  void* library = open_library(name);
  if (!library) throw Error(std::string("cannot open ") + name + ": set ONNXRUNTIME_LIB to ONNX Runtime's shared library");
  const auto get_base = reinterpret_cast<const OrtApiBase*(ORT_API_CALL*)()>(find_symbol(library, "OrtGetApiBase"));
  if (!get_base) throw Error(std::string(name) + " is not ONNX Runtime");
  const OrtApi* api = get_base()->GetApi(ORT_API_VERSION);
  if (!api) throw Error(std::string(name) + " is version " + get_base()->GetVersionString() + ", older than the headers");
  Ort::InitApi(api);
}

constexpr std::int64_t kMaxSize = 65536;      // of anything that a file counts: units, pixels, pictures of a fixed batch
constexpr std::int64_t kMaxValues = 1 << 28;  // of one picture in an input or output: a gigabyte

// An open file of draw-export, and what it says of itself.
class Model {
 public:
  Model(const std::string& path, const std::string& wanted) : file(path) {
    // From bytes, which have no path to be spelled as each system wants it. ONNX Runtime follows references to other files
    // all the same, relative to the current folder: this is for files that you trust.
    const std::string bytes = read_file(path);
    env_.DisableTelemetryEvents();  // what Windows has in place of the variable
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(1);  // these models are too small for more
    options.AddConfigEntry("session.load_model_format", "ONNX");  // not its own format
    session_ = Ort::Session(env_, bytes.data(), bytes.size(), options);
    metadata_ = session_.GetModelMetadata();

    if (!has("model_type") || !has("format_version")) {
      throw wrong("not a file that draw-export wrote: it has no draw-onnx metadata");
    }
    if (const std::string version = text("format_version"); version != "1") {
      const bool newer = !version.empty() && version[0] != '0' && all_digits(version);
      throw wrong("format_version " + version + (newer ? " is newer than" : " is not one that") + " this program reads (1)");
    }
    if (text("model_type") != wanted) {
      throw wrong("this is a " + text("model_type") + ", and a " + wanted + " is needed");
    }
    channels = size("image_channels");
    height = size("image_height");
    width = size("image_width");
    covers = has("picture_fit") && text("picture_fit") == "cover";
    if (wanted == "draw.classifier" && has("picture_fit") && !covers && text("picture_fit") != "pad") {
      throw wrong("metadata key picture_fit must be pad or cover, not " + text("picture_fit"));
    }
    if (channels != 1 && channels != 3) throw wrong("no pictures of " + std::to_string(channels) + " channels");
    pixels = check_values("image", channels * height * width);
    const Ort::TypeInfo input = session_.GetInputTypeInfo(0);
    if (input.GetONNXType() != ONNX_TYPE_TENSOR) throw wrong("its input is no tensor");
    const std::vector<std::int64_t> shape = input.GetTensorTypeAndShapeInfo().GetShape();
    if (shape.empty()) throw wrong("its input has an unexpected shape");
    batch = shape[0] == -1 ? 0 : shape[0];  // -1 stands for a dynamic axis
    if (shape[0] != -1 && (batch < 1 || batch > kMaxSize)) throw wrong("its batch size is " + std::to_string(batch));
  }

  Error wrong(const std::string& what) const { return Error(file + ": " + what); }

  bool has(const char* key) const { return metadata_.LookupCustomMetadataMapAllocated(key, allocator_) != nullptr; }

  std::string text(const char* key) const {
    const auto value = metadata_.LookupCustomMetadataMapAllocated(key, allocator_);
    if (!value) throw wrong(std::string("the metadata lacks the key ") + key);
    return value.get();
  }

  std::int64_t size(const char* key) const {
    const std::string value = text(key);
    const bool digits = !value.empty() && value.size() < 6 && value[0] != '0' && all_digits(value);
    const std::int64_t number = digits ? std::stoll(value) : 0;
    if (number < 1 || number > kMaxSize) throw wrong(std::string("metadata key ") + key + " is no sensible size: " + value);
    return number;
  }

  // How many numbers one picture has in an input or output: few enough that their bytes fit a size of 32 bits too.
  std::size_t check_values(const std::string& name, std::int64_t count) const {
    if (count > kMaxValues) {
      throw wrong("its " + name + " would have " + std::to_string(count) + " numbers a picture, more than " +
                  std::to_string(kMaxValues));
    }
    return static_cast<std::size_t>(count);
  }

  // A classifier's names in the order of its probabilities: two or more, none empty, none twice.
  std::vector<std::string> labels() const {
    std::vector<std::string> names(1);
    for (const char c : text("labels")) {
      if (c == ',') names.emplace_back();
      else names.back() += c;
    }
    std::vector<std::string> sorted = names;
    std::sort(sorted.begin(), sorted.end());  // an empty name is then the first, and equal ones are neighbours
    if (names.size() < 2 || sorted[0].empty()) throw wrong("metadata key labels must list at least two names");
    if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
      throw wrong("metadata key labels names a class twice");
    }
    return names;
  }

  // One input through the graph, one output back: exactly `count` floats, compared in 64 bits: a size may have 32.
  Floats run(const char* input, Floats& values, const std::vector<std::int64_t>& shape, const char* output,
             std::uint64_t count) {
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const Ort::Value in =
        Ort::Value::CreateTensor<float>(memory, values.data(), values.size(), shape.data(), shape.size());
    const std::vector<Ort::Value> out = session_.Run(Ort::RunOptions{nullptr}, &input, &in, 1, &output, 1);
    const auto info = out[0].GetTensorTypeAndShapeInfo();
    if (info.GetElementCount() != count || info.GetElementType() != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) {
      throw wrong(std::string("its ") + output + " does not have the shape that its metadata says");
    }
    const float* data = out[0].GetTensorData<float>();
    Floats result(data, data + count);
    if (!std::all_of(result.begin(), result.end(), [](float v) { return std::isfinite(v); })) {
      throw wrong(std::string("its ") + output + " is not finite: the file is damaged");
    }
    return result;
  }

  const std::string file;
  std::int64_t batch = 0;  // of a file exported with --batch N; 0 for any
  std::int64_t channels = 0, height = 0, width = 0;
  std::size_t pixels = 0;  // channels * height * width
  bool covers = false;     // pictures are cropped and resized to fill the frame

 private:
  static bool all_digits(const std::string& text) { return text.find_first_not_of("0123456789") == std::string::npos; }

  Ort::Env env_{ORT_LOGGING_LEVEL_FATAL, "draw"};
  Ort::Session session_{nullptr};
  Ort::ModelMetadata metadata_{nullptr};
  mutable Ort::AllocatorWithDefaultOptions allocator_;
};

#endif
