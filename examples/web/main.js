// Start: find the models, open them, connect the two halves.

import { download, readMetadata } from "./js/web.js";
import { runtime } from "./runtime.js";
import { Reading } from "./reading.js";
import { Writing } from "./writing.js";

document.getElementById("startup").remove();

const writing = new Writing(document.getElementById("drawing"));
const reading = new Reading(document.getElementById("looking"));
window.draw = { writing, reading }; // for the console, and for tests

runtime();
readAddress();
connect();
await start();

/** #seed=7&picture=3&temperature=0.8 */
function readAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const seed = wanted.get("seed"), picture = Number(wanted.get("picture"));
  if (/^[0-9]{1,20}$/.test(seed ?? "") && BigInt(seed) < 2n ** 64n) writing.seed = BigInt(seed);
  const temperature = Number(wanted.get("temperature") || 1);
  writing.temperature = temperature >= 0 && temperature <= Number(writing.warmth.max) ? temperature : 1;
  if (Number.isInteger(picture) && picture >= 0 && picture < 16) writing.chosen = picture;
}

/** models.json has the files' addresses; ?decoder=…&classifier=… names others of this site. */
async function start() {
  const asked = new URLSearchParams(location.search);
  const address = (kind) => asked.get(kind)?.split("/").map(encodeURIComponent).join("/"); // # and ? are letters of a name
  const files = { decoder: address("decoder"), classifier: address("classifier") };
  let lacking = null;
  if (!files.decoder || !files.classifier) {
    try {
      const ours = JSON.parse(new TextDecoder().decode(await download("models.json")));
      for (const kind of Object.keys(files)) files[kind] ??= ours[kind];
    } catch (error) {
      lacking = files.decoder || files.classifier ? null : error.message;
    }
  }
  await Promise.all([open(writing, "decoder"), open(reading, "classifier")]);

  function open(panel, kind) {
    if (panel.opened) return; // the visitor was quicker
    if (files[kind]) return panel.openModel(files[kind], 0);
    if (panel.loading.size) return;
    if (lacking === null) panel.fail(`draw-export --graph ${kind} makes a file that can be opened here.`, `No ${kind} came with this page.`);
    else panel.fail(`models.json: ${lacking}. Assemble the page with build.py, or open a model file here.`, "No model came with this page.");
  }
}

/** Drawings go from the upper half to the lower one; files may be dropped anywhere. */
function connect() {
  let puzzles = 0;
  const hideButton = writing.root.querySelector('[data-action="hide"]');
  const puzzleButton = reading.root.querySelector('[data-action="puzzle"]');
  const hide = (chosen) => {
    const drawings = Array.from({ length: 16 }, (_, k) => writing.drawings[k]?.image ?? writing.drawings[writing.chosen].image);
    return reading.puzzle(drawings, chosen, writing.model.info, puzzles++);
  };
  const ready = () => writing.root.dataset.state === "ready" && reading.root.dataset.state === "ready";
  const update = () => {
    hideButton.hidden = puzzleButton.hidden = !ready();
    reading.setGuide(ready() ? writing.model.info : null);
  };
  const watch = new MutationObserver(update);
  for (const { root } of [writing, reading]) watch.observe(root, { attributeFilter: ["data-state"] });

  writing.action("hide", async () => {
    if (!writing.drawings[writing.chosen]) return;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    reading.root.scrollIntoView({ behavior: still ? "auto" : "smooth" });
    reading.player.button.focus({ preventScroll: true });
    reading.dismiss();
    await hide(writing.chosen);
  });
  reading.onPuzzle = () => writing.drawings[writing.chosen] && hide(Math.floor(Math.random() * 16));
  // Something to look at, as soon as both are there, unless the visitor was quicker.
  reading.onReady = writing.onDrawn = async () => {
    if (ready() && reading.fresh && writing.drawings[writing.chosen]) await hide(writing.chosen);
  };

  addEventListener("hashchange", () => {
    if (!/[#&](seed|picture|temperature)=/.test(location.hash)) return; // a link within the page
    const before = writing.address;
    readAddress();
    if (writing.model && before !== writing.address) writing.draw(writing.seed);
  });

  const take = async (file) => {
    if (!file.name?.toLowerCase().endsWith(".onnx")) return reading.readFile(file);
    let type;
    try {
      type = readMetadata(new Uint8Array(await file.arrayBuffer())).model_type;
    } catch {
      // the panel says what is wrong with it
    }
    return (type === "draw.classifier" ? reading : writing).openModel(file);
  };
  const stage = reading.part("stage");
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    stage.classList.add("over");
  });
  addEventListener("dragleave", (event) => event.relatedTarget ?? stage.classList.remove("over"));
  addEventListener("drop", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return; // text goes where it is dropped
    event.preventDefault();
    stage.classList.remove("over");
    for (const file of event.dataTransfer.files) take(file);
  });
  addEventListener("paste", (event) => {
    for (const file of event.clipboardData.files) take(file);
  });
}
