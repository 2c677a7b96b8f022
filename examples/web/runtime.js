// ONNX Runtime from the folder beside the page, loaded once for both models.

const ORT_FOLDER = new URL("./ort/", import.meta.url).href;

let loading;

/** The module, or one clear error. May be called early: it loads while the models are still on their way. */
export function runtime() {
  loading ??= import("./ort/ort.wasm.min.mjs").then(
    (ort) => {
      ort.env.wasm.numThreads = 1; // more would need special headers from the server
      ort.env.wasm.wasmPaths = ORT_FOLDER;
      ort.env.logLevel = "error";
      return ort;
    },
    () => {
      throw new Error("ONNX Runtime's files are not in the folder ort: assemble the page with build.py");
    },
  );
  loading.catch(() => {}); // said when a model is opened
  return loading;
}
