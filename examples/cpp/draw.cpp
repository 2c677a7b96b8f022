// Draws pictures and classifies them with files that draw-export wrote, in C++17 against ONNX Runtime alone.
//
//     draw sample   decoder.onnx SEED [START [COUNT [PREFIX [NOISE_FILE]]]] [--temperature FACTOR]
//     draw classify classifier.onnx PICTURE...
//
// sample writes PREFIX0.pgm, PREFIX1.pgm, ... (.ppm for a model of three channels), the noise to NOISE_FILE
// as raw float32, and prints the check line by which ports are compared. FACTOR, 0 to 10, multiplies the noise: below 1
// pictures are more regular and vary less. classify reads binary PGM and PPM.
// docs/embedding.md is the definition of everything here; README.md says how to build it.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "../c/noise.h"

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

// ---- Files ----

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  if (!file.is_open() || !(bytes << file.rdbuf())) throw Error("cannot read " + path + ", or it is empty");
  return bytes.str();
}

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) throw Error("cannot write " + path);
}

// ---- ONNX Runtime ----

void load_library() {
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

// An open file of draw-export, and what it says of itself.
class Model {
 public:
  Model(const std::string& path, const std::string& wanted) : file(path) {
    // From bytes: given a path, ONNX Runtime would follow references to other files.
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
    if (text("format_version") != "1") {
      throw wrong("format_version " + text("format_version") + " is newer than this program reads (1)");
    }
    if (text("model_type") != wanted) {
      throw wrong("this is a " + text("model_type") + ", and a " + wanted + " is needed");
    }
    channels = size("image_channels");
    height = size("image_height");
    width = size("image_width");
    covers = has("picture_fit") && text("picture_fit") == "cover";
    if (channels != 1 && channels != 3) throw wrong("no pictures of " + std::to_string(channels) + " channels");
    pixels = static_cast<std::size_t>(channels * height * width);  // below 2^48
    const Ort::TypeInfo input = session_.GetInputTypeInfo(0);
    if (input.GetONNXType() != ONNX_TYPE_TENSOR) throw wrong("its input is no tensor");
    const std::vector<std::int64_t> shape = input.GetTensorTypeAndShapeInfo().GetShape();
    batch = shape.empty() ? 0 : std::max<std::int64_t>(shape[0], 0);  // -1 stands for a dynamic axis
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
    const bool digits = !value.empty() && value.size() < 6 && value[0] != '0' &&
                        value.find_first_not_of("0123456789") == std::string::npos;
    const std::int64_t number = digits ? std::stoll(value) : 0;
    if (number < 1 || number > 65536) throw wrong(std::string("metadata key ") + key + " is no sensible size: " + value);
    return number;
  }

  // One input through the graph, one output back: exactly `count` floats.
  Floats run(const char* input, Floats& values, const std::vector<std::int64_t>& shape, const char* output,
             std::size_t count) {
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
  Ort::Env env_{ORT_LOGGING_LEVEL_FATAL, "draw"};
  Ort::Session session_{nullptr};
  Ort::ModelMetadata metadata_{nullptr};
  mutable Ort::AllocatorWithDefaultOptions allocator_;
};

// ---- Pictures: planes [C, H, W] of levels in [0, 1] here, interleaved bytes in PGM and PPM files ----

void write_picture(const std::string& path, const Model& model, const float* image) {
  const auto plane = static_cast<std::size_t>(model.height * model.width);
  std::ostringstream bytes;
  bytes << (model.channels == 3 ? "P6\n" : "P5\n") << model.width << ' ' << model.height << "\n255\n";
  for (std::size_t i = 0; i < plane; i++) {
    for (std::size_t c = 0; c * plane < model.pixels; c++) {
      bytes.put(static_cast<char>(std::clamp(image[c * plane + i], 0.0f, 1.0f) * 255 + 0.5f));
    }
  }
  write_file(path, bytes.str());
}

// The next number of a PGM or PPM header, after blanks and comments; -1 where there is none.
long header_number(const std::string& bytes, std::size_t& at) {
  while (at < bytes.size() && (std::string(" \t\r\n#").find(bytes[at]) != std::string::npos)) {
    at = bytes[at] == '#' ? std::min(bytes.find('\n', at), bytes.size()) : at + 1;
  }
  long number = -1;
  for (; at < bytes.size() && bytes[at] >= '0' && bytes[at] <= '9' && number < 100000; at++) {
    number = std::max(number, 0L) * 10 + (bytes[at] - '0');
  }
  return number;
}

// A picture file as the model's input: grey by Rec. 601 where it has one channel, centred on black.
Floats read_picture(const std::string& path, const Model& model) {
  const std::string bytes = read_file(path);
  if (bytes.compare(0, 2, "P5") != 0 && bytes.compare(0, 2, "P6") != 0) throw Error(path + " is no binary PGM or PPM");
  const std::size_t channels = bytes[1] == '6' ? 3 : 1;
  std::size_t at = 2;
  const long width = header_number(bytes, at), height = header_number(bytes, at), most = header_number(bytes, at);
  const std::size_t sample = most > 255 ? 2 : 1;
  at++;  // the one blank before the pixels
  if (width < 1 || height < 1 || most < 1 || most > 65535) throw Error(path + " has a damaged header");
  if (width > model.width || height > model.height) {
    throw Error(path + " has " + std::to_string(width) + " x " + std::to_string(height) + " pixels, more than the model's " +
                std::to_string(model.width) + " x " + std::to_string(model.height) + ": give a smaller picture");
  }
  if (model.covers && (width < model.width || height < model.height)) {
    throw Error(path + " is smaller than this model's pictures, which fill their frame");
  }
  const std::size_t needed = static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * channels * sample;
  if (at > bytes.size() || bytes.size() - at < needed) throw Error(path + " ends too early");

  const std::int64_t top = (model.height - height) / 2, left = (model.width - width) / 2;
  const auto byte = [&bytes](std::size_t i) { return static_cast<int>(static_cast<unsigned char>(bytes[i])); };
  Floats image(model.pixels);
  for (std::int64_t y = 0; y < height; y++) {
    for (std::int64_t x = 0; x < width; x++) {
      float level[3] = {};
      for (std::size_t c = 0; c < channels; c++, at += sample) {
        const int value = sample == 2 ? byte(at) * 256 + byte(at + 1) : byte(at);
        level[c] = std::min(static_cast<float>(value) / static_cast<float>(most), 1.0f);
      }
      if (channels == 1) level[1] = level[2] = level[0];
      else if (model.channels == 1) level[0] = 0.299f * level[0] + 0.587f * level[1] + 0.114f * level[2];
      for (std::int64_t c = 0; c < model.channels; c++) {
        image[static_cast<std::size_t>((c * model.height + top + y) * model.width + left + x)] = level[c];
      }
    }
  }
  return image;
}

// ---- The two things it does ----

void sample(Model& model, std::uint64_t seed, std::uint64_t start, std::uint64_t count, float temperature,
            const std::string& prefix, const std::string& noise_path) {
  const std::int64_t steps = model.size("time_steps"), latents = model.size("latent_size");
  if (model.text("noise_stream") != "splitmix64-boxmuller-1") {
    throw model.wrong("unknown noise_stream " + model.text("noise_stream") + "; this program makes splitmix64-boxmuller-1");
  }
  const auto per_picture = static_cast<std::uint64_t>(steps * latents);
  const std::uint64_t batch = model.batch ? static_cast<std::uint64_t>(model.batch) : std::min<std::uint64_t>(count, 32);
  std::uint64_t hash = 0xCBF29CE484222325u;
  double sum = 0;
  std::string all_noise;
  Floats noise(batch * per_picture), first;

  for (std::uint64_t done = 0; done < count; done += batch) {
    // A batch is always full: pictures beyond the last are drawn and dropped.
    const std::uint64_t wanted = std::min(batch, count - done), n = (start + done) * per_picture;
    for (std::size_t i = 0; i < noise.size(); i++) noise[i] = temperature * noise_value(seed, n + i);
    for (std::uint64_t m = 2 * n; m != 2 * (n + wanted * per_picture); m++) hash = fnv1a64(hash, raw(seed, m));
    if (!noise_path.empty()) {
      all_noise.append(reinterpret_cast<const char*>(noise.data()), wanted * per_picture * sizeof(float));
    }
    const Floats images =
        model.run("noise", noise, {static_cast<std::int64_t>(batch), steps, latents}, "image", batch * model.pixels);
    for (std::size_t i = 0; i < wanted * model.pixels; i++) sum += images[i];
    if (done == 0) first.assign(images.begin(), images.begin() + std::min<std::ptrdiff_t>(4, model.pixels));
    for (std::uint64_t k = 0; k < wanted; k++) {
      const std::string name = prefix + std::to_string(start + done + k) + (model.channels == 3 ? ".ppm" : ".pgm");
      write_picture(name, model, &images[k * model.pixels]);
    }
  }
  if (!noise_path.empty()) write_file(noise_path, all_noise);
  std::printf("check %016llx %.6f", static_cast<unsigned long long>(hash),
              sum / (static_cast<double>(count) * static_cast<double>(model.pixels)));
  for (const float value : first) std::printf(" %.6f", value);
  std::printf("\n");
}

void classify(Model& model, const std::vector<std::string>& pictures) {
  std::vector<std::string> labels;
  std::istringstream list(model.text("labels"));
  for (std::string label; std::getline(list, label, ',');) labels.push_back(label);
  const std::int64_t batch = std::max<std::int64_t>(model.batch, 1);  // a fixed batch: one picture, the others black
  for (const std::string& picture : pictures) {
    Floats image = read_picture(picture, model);
    image.resize(static_cast<std::size_t>(batch) * model.pixels);
    const Floats probabilities = model.run("image", image, {batch, model.channels, model.height, model.width},
                                           "probabilities", static_cast<std::size_t>(batch) * labels.size());
    const auto best = std::max_element(probabilities.begin(), probabilities.begin() + static_cast<std::ptrdiff_t>(labels.size()));
    std::printf("%s: %s %.6f\n", picture.c_str(), labels[static_cast<std::size_t>(best - probabilities.begin())].c_str(), *best);
  }
}

std::uint64_t number(const std::string& text, const std::string& name) {
  std::uint64_t value;
  if (!parse_whole(text.c_str(), &value)) throw Error(name + " must be a whole number from 0 to 2^64 - 1, not " + text);
  return value;
}

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  const bool sampling = arguments.size() >= 3 && arguments[0] == "sample";
  std::string factor = "1";
  if (sampling && arguments.size() >= 5 && arguments[arguments.size() - 2] == "--temperature") {
    factor = arguments.back();
    arguments.resize(arguments.size() - 2);
  }
  const std::size_t given = arguments.size();
  if (!(sampling && given <= 7) && !(given >= 3 && arguments[0] == "classify")) {
    std::cerr << "usage: draw sample   decoder.onnx SEED [START [COUNT [PREFIX [NOISE_FILE]]]] [--temperature FACTOR]\n"
                 "       draw classify classifier.onnx PICTURE...\n";
    return 2;
  }
  try {
    float temperature;
    if (!parse_temperature(factor.c_str(), &temperature)) {
      throw Error("--temperature must be a number from 0 to 10, not " + factor);
    }
    const std::uint64_t seed = sampling ? number(arguments[2], "SEED") : 0;
    const std::uint64_t start = sampling && given > 3 ? number(arguments[3], "START") : 0;
    const std::uint64_t count = sampling && given > 4 ? number(arguments[4], "COUNT") : 1;
    if (count < 1 || count - 1 > UINT64_MAX - start) {
      throw Error("COUNT must be at least 1, and pictures are numbered up to 2^64 - 1");
    }
    load_library();
    Model model(arguments[1], sampling ? "draw.decoder" : "draw.classifier");
    if (sampling) {
      sample(model, seed, start, count, temperature, given > 5 ? arguments[5] : "picture", given > 6 ? arguments[6] : "");
    } else {
      classify(model, {arguments.begin() + 2, arguments.end()});
    }
  } catch (const Ort::Exception& error) {  // does not say which file is at fault
    const std::string message = error.what();
    std::cerr << "draw: error: " << arguments[1] << ": " << message.substr(0, message.find_first_of("\r\n")) << '\n';
    return 1;
  } catch (const std::exception& error) {
    std::cerr << "draw: error: " << error.what() << '\n';
    return 1;
  }
  return std::fflush(stdout) ? 1 : 0;
}
