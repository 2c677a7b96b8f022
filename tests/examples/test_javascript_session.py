"""examples/js/model.js beside a session that is not what its file's metadata say: refused, in one line, and given back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.examples

MODELS = (Path(__file__).resolve().parents[2] / "examples" / "js" / "models.js").as_uri()
# A class that opens, with a session of the test's own: `interface` changes what it declares, `run` what it computes.
STUB = """
const { Classifier } = await import(given[0]);
const bytes = readFileSync(given[1]), { inputs, outputs } = model.promised(model.modelInfo(bytes));
class Opened extends Classifier { static backend = { sessionOptions: { threads: 1, kept: true } }; }
const values = (shapes) => Object.entries(shapes).map(([name, shape]) =>
    ({ name, type: "float32", shape: ["batch_size", ...shape] }));
const said = [];
const zeros = (rows, names) => Object.fromEntries(names.map((name) =>
    [name, { data: new Float32Array(rows * model.product(outputs[name])) }]));
class Tensor { constructor(type, data) { this.data = data; } }
const stub = (change = () => {}, run = async ({ image }, names) => zeros(image.data.length / 480, names)) => {
    const create = async (_, options) => {
        said.push(options);
        const session = { inputMetadata: values(inputs), outputMetadata: values(outputs), run };
        session.release = () => said.push("released");
        change(session);
        session.inputNames = session.inputMetadata.map(({ name }) => name);
        return session;
    };
    return { Tensor, InferenceSession: { create } };
};
const open = (ort, options) => Opened.open(bytes, { ort, name: "x", ...options });
const message = (promise) => promise.then(() => "no error", (error) => error.message);
"""


@pytest.fixture
def stubbed(javascript, fake: Path):
    """(code) -> what it returns, beside STUB."""

    def run(code: str) -> Any:
        return javascript(STUB + code, [MODELS, str(fake / "classifier.onnx")])

    return run


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("inputMetadata[0].type = 'float64'", "its input image is float64, not float32"),
        ("outputMetadata.splice(0, 1)", "it lacks the output logits that its metadata promises"),
        ("inputMetadata[0].shape[2] = 21", "its input image does not have the shape that its metadata says"),
        (
            "outputMetadata.push({ name: 'canvases', type: 'float32', shape: ['b', 1] })",
            "it has the output canvases, of which its metadata does not know",
        ),
        ("inputMetadata.push({ name: 'more', type: 'float32', shape: [1] })", "it has unknown inputs"),
        ("inputMetadata[0].shape[0] = 4", "its inputs and outputs disagree on the batch size"),
    ],
)
def test_another_interface(stubbed, change: str, words: str) -> None:
    """The session is given back."""
    got, said = stubbed(
        f"return [await message(open(stub((session) => {{ session.{change}; }}))), said.slice(1)];"
    )
    assert got.startswith(f"x: {words}")
    assert said == ["released"]


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ("new Float32Array(2)", "its logits does not have the shape that its metadata says"),
        ("new Float32Array(3).fill(NaN)", "its logits is not finite: the file is damaged"),
        ("(() => { throw new Error('first\\r\\nsecond'); })()", "running it failed: first"),
    ],
)
def test_what_a_run_gives(stubbed, result: str, words: str) -> None:
    code = f"""
        const run = async (_, names) => ({{
            logits: {{ data: {result} }},
            probabilities: {{ data: new Float32Array(3) }},
        }});
        const opened = await open(stub(undefined, run));
        return message(opened.classify(new Float32Array(480), {{ steps: false }}));"""
    assert stubbed(code) == f"x: {words}"


def test_options(stubbed) -> None:
    """A caller's count more than the package's own, which stay beside them."""
    code = "await open(stub(), { sessionOptions: { threads: 4, extra: 1 } }); return said;"
    assert stubbed(code) == [{"threads": 4, "kept": True, "extra": 1}]


def test_what_onnx_runtime_says_is_one_line(stubbed) -> None:
    code = """
        const create = async () => { throw new Error("first\\nsecond"); };
        return message(open({ InferenceSession: { create } }));"""
    assert stubbed(code) == "x: ONNX Runtime cannot load it: first"


def test_every_kind_of_source(stubbed) -> None:
    """Bytes however they are held, and how a file is called where nobody says it."""
    code = """
        const shared = new Uint8Array(new SharedArrayBuffer(bytes.length)), seen = [];
        shared.set(bytes);
        const ort = stub(), { create } = ort.InferenceSession;
        ort.InferenceSession.create = (data, options) => {
            seen.push(data.buffer instanceof ArrayBuffer);
            return create(data, options);
        };
        const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
        for (const source of [bytes, shared, buffer, new Blob([bytes])]) await Opened.open(source, { ort });
        Opened.backend.read = async () => bytes;
        const names = [];
        const file = Object.assign(new Blob([bytes]), { name: "c.onnx" });
        for (const source of ["a.onnx", new URL("file:///b.onnx"), file, bytes]) {
            names.push((await Opened.open(source, { ort })).name);
        }
        return [seen.every(Boolean), names];"""
    assert stubbed(code) == [True, ["a.onnx", "file:///b.onnx", "c.onnx", ""]]


def test_runs_follow_one_another(stubbed) -> None:
    """A session runs one batch at a time, and is given back when the last is done."""
    code = """
        const log = [];
        const run = async (_, names) => {
            log.push("begin");
            await new Promise((resolve) => setTimeout(resolve, 5));
            log.push("end");
            return { logits: { data: new Float32Array(3) }, probabilities: { data: new Float32Array(3) } };
        };
        const opened = await open(stub((session) => { session.release = () => log.push("released"); }, run));
        const picture = new Float32Array(480), twice = [0, 1].map(() => opened.classify(picture, { steps: false }));
        await Promise.all([...twice, opened.release()]);
        return log;"""
    assert stubbed(code) == ["begin", "end", "begin", "end", "released"]


def test_the_first_of_equal_answers(stubbed) -> None:
    """As Python's argmax."""
    code = """
        const opened = await open(stub());
        return [(await opened.classify(new Float32Array(480))).answers, opened.info.labels[0]];"""
    answers, first = stubbed(code)
    assert answers == [first]
