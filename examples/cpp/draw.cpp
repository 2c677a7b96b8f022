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
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <new>
#include <sstream>
#include <string>
#include <vector>

#include "../c/noise.h"
#include "model.hpp"

// ---- Pictures: planes [C, H, W] of levels in [0, 1] here, interleaved bytes in PGM and PPM files ----

std::ofstream create(const std::string& path) {
  std::ofstream file(path, std::ios::binary);
  if (!file) throw Error("cannot write " + path);
  return file;
}

void write_bytes(std::ofstream& file, const std::string& path, const void* bytes, std::size_t count) {
  file.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(count));
  if (!file.flush()) throw Error("cannot write " + path);
}

void write_picture(const std::string& path, const Model& model, const float* image) {
  const auto plane = static_cast<std::size_t>(model.height * model.width);
  std::ostringstream bytes;
  bytes << (model.channels == 3 ? "P6\n" : "P5\n") << model.width << ' ' << model.height << "\n255\n";
  for (std::size_t i = 0; i < plane; i++) {
    for (std::size_t c = 0; c * plane < model.pixels; c++) {
      bytes.put(static_cast<char>(static_cast<int>(std::clamp(image[c * plane + i], 0.0f, 1.0f) * 255 + 0.5f)));
    }
  }
  std::ofstream file = create(path);
  const std::string content = bytes.str();
  write_bytes(file, path, content.data(), content.size());
}

bool is_blank(char byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

// The next number of a PGM or PPM header, after a blank and any more blanks and comments; -1 where there is none.
long header_number(const std::string& bytes, std::size_t& at) {
  if (at >= bytes.size() || !is_blank(bytes[at])) return -1;
  while (at < bytes.size() && (is_blank(bytes[at]) || bytes[at] == '#')) {
    at = bytes[at] == '#' ? std::min(bytes.find_first_of("\r\n", at), bytes.size()) : at + 1;
  }
  long number = -1;
  for (; at < bytes.size() && bytes[at] >= '0' && bytes[at] <= '9' && number < 100000; at++) {
    number = std::max(number, 0L) * 10 + (bytes[at] - '0');
  }
  return number;
}

// A picture file as the first of the model's input: grey by Rec. 601 where it has one channel, centred on black.
void read_picture(const std::string& path, const Model& model, Floats& image) {
  const std::string bytes = read_file(path);
  if (bytes.compare(0, 2, "P5") != 0 && bytes.compare(0, 2, "P6") != 0) throw Error(path + " is no binary PGM or PPM");
  const std::size_t channels = bytes[1] == '6' ? 3 : 1;
  std::size_t at = 2;
  const long width = header_number(bytes, at), height = header_number(bytes, at), most = header_number(bytes, at);
  const std::size_t sample = most > 255 ? 2 : 1;
  const bool parted = at < bytes.size() && is_blank(bytes[at++]);  // one blank before the pixels
  if (width < 1 || height < 1 || most < 1 || most > 65535 || !parted) throw Error(path + " has a damaged header");
  if (width > model.width || height > model.height) {
    throw Error(path + " has " + std::to_string(width) + " x " + std::to_string(height) + " pixels, more than the model's " +
                std::to_string(model.width) + " x " + std::to_string(model.height) + ": give a smaller picture");
  }
  if (model.covers && (width < model.width || height < model.height)) {
    throw Error(path + " is smaller than this model's pictures, which fill their frame");
  }
  const std::size_t needed = static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * channels * sample;
  if (bytes.size() - at < needed) throw Error(path + " ends too early");

  const std::int64_t top = (model.height - height) / 2, left = (model.width - width) / 2;
  const auto byte = [&bytes](std::size_t i) { return static_cast<int>(static_cast<unsigned char>(bytes[i])); };
  std::fill(image.begin(), image.end(), 0.0f);
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
}

// ---- The two things it does ----

void sample(Model& model, std::uint64_t seed, std::uint64_t start, std::uint64_t count, float temperature,
            const std::string& prefix, const std::string& noise_path) {
  const std::int64_t steps = model.size("time_steps"), latents = model.size("latent_size");
  if (model.text("noise_stream") != "splitmix64-boxmuller-1") {
    throw model.wrong("unknown noise_stream " + model.text("noise_stream") + "; this program makes splitmix64-boxmuller-1");
  }
  const std::uint64_t per_picture = model.check_values("noise", steps * latents);
  const std::uint64_t batch = model.batch ? static_cast<std::uint64_t>(model.batch) : std::min<std::uint64_t>(count, 32);
  std::uint64_t hash = 0xCBF29CE484222325u;
  double sum = 0;
  Floats noise = zeros(batch * per_picture), first;
  std::ofstream noise_file;
  if (!noise_path.empty()) noise_file = create(noise_path);

  for (std::uint64_t done = 0; done < count; done += batch) {
    // A batch is always full: pictures beyond the last are drawn and dropped.
    const std::uint64_t wanted = std::min(batch, count - done), n = (start + done) * per_picture;
    for (std::size_t i = 0; i < noise.size(); i++) noise[i] = temperature * noise_value(seed, n + i);
    for (std::uint64_t m = 2 * n; m != 2 * (n + wanted * per_picture); m++) hash = fnv1a64(hash, raw(seed, m));
    if (!noise_path.empty()) write_bytes(noise_file, noise_path, noise.data(), wanted * per_picture * sizeof(float));
    const Floats images =
        model.run("noise", noise, {static_cast<std::int64_t>(batch), steps, latents}, "image", batch * model.pixels);
    for (std::size_t i = 0; i < wanted * model.pixels; i++) sum += images[i];
    if (done == 0) first.assign(images.begin(), images.begin() + std::min<std::ptrdiff_t>(4, model.pixels));
    for (std::uint64_t k = 0; k < wanted; k++) {
      const std::string name = prefix + std::to_string(start + done + k) + (model.channels == 3 ? ".ppm" : ".pgm");
      write_picture(name, model, &images[k * model.pixels]);
    }
  }
  std::printf("check %016llx %.6f", static_cast<unsigned long long>(hash),
              sum / (static_cast<double>(count) * static_cast<double>(model.pixels)));
  for (const float value : first) std::printf(" %.6f", value);
  std::printf("\n");
}

void classify(Model& model, const std::vector<std::string>& pictures) {
  const std::vector<std::string> labels = model.labels();
  const std::int64_t batch = std::max<std::int64_t>(model.batch, 1);  // a fixed batch: one picture, the others black
  Floats images = zeros(static_cast<std::uint64_t>(batch) * model.pixels);
  for (const std::string& picture : pictures) {
    read_picture(picture, model, images);
    const Floats probabilities = model.run("image", images, {batch, model.channels, model.height, model.width},
                                           "probabilities", static_cast<std::uint64_t>(batch) * labels.size());
    const auto best = std::max_element(probabilities.begin(), probabilities.begin() + static_cast<std::ptrdiff_t>(labels.size()));
    const std::string label = visible(labels[static_cast<std::size_t>(best - probabilities.begin())]);
    std::printf("%s: %s %.6f\n", picture.c_str(), label.c_str(), *best);
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
  // Without its FACTOR, or not at the end, it would be a PREFIX.
  const bool stray = std::count(arguments.begin(), arguments.end(), "--temperature") > 0;
  if (!(sampling && !stray && given <= 7) && !(given >= 3 && arguments[0] == "classify")) {
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
    std::cerr << "draw: error: " << visible(arguments[1] + ": " + message.substr(0, message.find_first_of("\r\n"))) << '\n';
    return 1;
  } catch (const std::bad_alloc&) {
    std::cerr << "draw: error: out of memory\n";
    return 1;
  } catch (const std::exception& error) {
    std::cerr << "draw: error: " << visible(error.what()) << '\n';
    return 1;
  }
  if (std::fflush(stdout) || std::ferror(stdout)) {
    std::cerr << "draw: error: cannot write to standard output\n";
    return 1;
  }
  return 0;
}
