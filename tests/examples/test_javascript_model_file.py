"""examples/js/model_file.js: metadata as Python reads it, and files that ONNX Runtime must not see."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from draw_onnx import Sampler
from draw_onnx.errors import DrawError
from draw_onnx.runtime.session import peek

from ..onnx_bytes import proto

pytestmark = pytest.mark.examples

MODELS = (Path(__file__).resolve().parents[2] / "examples" / "js" / "models.js").as_uri()
# What modelInfo says of each file, or "read".
SAID = """return given.map((path) => {
    try { model.modelInfo(readFileSync(path)); return "read"; } catch (error) { return error.message; }
});"""
NEVER = "which draw-export never writes"


def test_metadata_is_what_onnx_reads(javascript, fake: Path) -> None:
    paths = sorted(fake.glob("*.onnx"))
    code = "return given.map((path) => model.readMetadata(readFileSync(path)));"
    for path, got in zip(paths, javascript(code, [str(path) for path in paths]), strict=True):
        assert got == {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def test_metadata_of_damaged_files(javascript, fake: Path) -> None:
    """Every cut and every changed byte: metadata or one plain error, and it comes to an end."""
    code = """
        const whole = readFileSync(given);
        const outcomes = new Set();
        const attempt = (bytes) => {
            try { model.modelInfo(bytes); outcomes.add("read"); }
            catch (error) { outcomes.add(error.constructor.name); if (/\\n/.test(error.message)) outcomes.add("lines"); }
        };
        for (let end = 0; end < whole.length; end++) attempt(whole.subarray(0, end));
        for (let at = 0; at < whole.length; at++) {
            for (const byte of [0, 127, 128, 255]) { const bytes = new Uint8Array(whole); bytes[at] = byte; attempt(bytes); }
        }
        return [...outcomes].sort();"""
    assert javascript(code, str(fake / "decoder.onnx")) == ["Error", "read"]


def in_graph(data: bytes, field: bytes) -> bytes:
    """The file with one more field in its graph, whatever that may be."""
    model = onnx.load_from_string(data)
    graph = model.graph.SerializeToString()
    model.ClearField("graph")
    return model.SerializeToString() + proto(7, graph + field)


def node(operator: bytes, domain: bytes = b"", *attribute: bytes) -> bytes:
    return proto(1, proto(4, operator) + proto(7, domain) + b"".join(proto(5, each) for each in attribute))


ELSEWHERE = proto(8, b"stolen") + proto(13, proto(1, b"location") + proto(2, b"secret.bin"))
EXTERNAL = "its weights are said to lie in another file, which is never followed"
INNER = f"it has a graph within the graph, as loops and branches do, {NEVER}"
SPARSE = f"it has a sparse tensor, {NEVER}"
# In the graph of a decoder, and what is said of it.
FORGED = {
    "initializer": (proto(5, ELSEWHERE), EXTERNAL),
    "location-alone": (proto(5, proto(8, b"stolen") + b"\x70\x01"), EXTERNAL),
    "tensor-5": (node(b"Constant", b"", proto(5, ELSEWHERE)), EXTERNAL),
    "tensor-10": (node(b"Constant", b"", proto(10, ELSEWHERE)), EXTERNAL),
    "graph-6": (node(b"If", b"", proto(6, proto(2, b"inner"))), INNER),
    "graph-11": (node(b"Loop", b"", proto(11, proto(5, ELSEWHERE))), INNER),
    "sparse-22": (node(b"Constant", b"", proto(22, proto(1, ELSEWHERE))), SPARSE),
    "sparse-23": (node(b"Constant", b"", proto(23, b"")), SPARSE),
    "sparse-initializer": (proto(15, proto(1, ELSEWHERE)), SPARSE),
    "foreign": (node(b"RunCode", b"com.example"), f"it uses com.example.RunCode, {NEVER}"),
    "microsoft": (node(b"QGemm", b"com.microsoft"), f"it uses com.microsoft.QGemm, {NEVER}"),
    "byte-order-mark": (node(b"Sin", b"\xef\xbb\xbf"), f"it uses \ufeff.Sin, {NEVER}"),
    "not-utf-8": (node(b"Sin", b"\xff"), "its texts are not UTF-8"),
}


def test_what_draw_export_never_writes_is_refused(javascript, fake: Path, tmp_path: Path) -> None:
    """References to other files, which ONNX Runtime would follow in Node, and all that could hide one: as in Python."""
    good = (fake / "decoder.onnx").read_bytes()
    cases = [(name, in_graph(good, field), said) for name, (field, said) in FORGED.items()]
    cases.append(("good", in_graph(good, node(b"Sin", b"ai.onnx")), "read"))
    function = proto(25, proto(1, b"Sin") + proto(7, proto(5, proto(5, ELSEWHERE))))
    cases.append(("function", good + function, f"it uses a model-local function, {NEVER}"))
    cases.append(("two-graphs", good + proto(7, proto(2, b"another")), "it has no graph"))
    for name, content, _ in cases:
        (tmp_path / name).write_bytes(content)
    got = javascript(SAID, [str(tmp_path / name) for name, _, _ in cases])
    assert dict(zip([name for name, _, _ in cases], got, strict=True)) == {
        name: said for name, _, said in cases
    }
    for name, _, said in cases:
        if said != "read":
            with pytest.raises(DrawError):
                Sampler(tmp_path / name, "cpu")


def test_graphs_nested_in_one_another_come_to_an_end(javascript, fake: Path, tmp_path: Path) -> None:
    """Walked from within each other, a file of 100 kB took a minute."""
    graph = b""
    for _ in range(6000):
        graph = node(b"If", b"", proto(6, graph))
    (tmp_path / "nested.onnx").write_bytes(in_graph((fake / "decoder.onnx").read_bytes(), graph))
    assert javascript(SAID, [str(tmp_path / "nested.onnx")]) == [INNER]


def test_int8_operators_are_for_int8_files(javascript, edited, tmp_path: Path) -> None:
    """As in Python: two operators of ONNX Runtime's own in decoders, one in classifiers, none in scorers."""
    cases: dict[str, str] = {}
    for kind in ("decoder", "classifier", "scorer"):
        for dtype in (None, "float32", "float16", "int8"):
            for operator in ("DynamicQuantizeMatMul", "DynamicQuantizeLSTM"):
                path = tmp_path / f"{kind}-{dtype}-{operator}.onnx"
                data = edited(kind, dtype=dtype).read_bytes()
                path.write_bytes(in_graph(data, node(operator.encode(), b"com.microsoft")))
                allowed = kind == "decoder" or (kind == "classifier" and operator.endswith("MatMul"))
                if dtype == "int8" and kind == "scorer":
                    cases[str(path)] = "metadata key dtype: there is no draw.scorer in int8"
                else:
                    said = f"it uses com.microsoft.{operator}, {NEVER}"
                    if dtype == "int8" and allowed:  # and then its sizes are looked at
                        said = (
                            f"the weights of its {operator} are no stored matrix"
                            if operator.endswith("MatMul")
                            else f"its {operator} has other attributes than draw-export writes"
                        )
                    cases[str(path)] = said
    cases[str(edited("decoder", dtype="int4"))] = (
        "metadata key dtype must be float32 or float16 or int8, not int4"
    )
    assert javascript(SAID, list(cases)) == list(cases.values())


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("a,b,c", "read"),
        ("a", "at least two names"),
        ("", "at least two names"),
        ("a,,c", "at least two names"),
        ("a,b,", "at least two names"),
        ("a,b,a", "names a class twice"),
    ],
)
def test_labels(javascript, edited, labels: str, said: str) -> None:
    path = edited("classifier", labels=labels)
    assert said in javascript(SAID, [str(path)])[0]
    if said != "read":
        with pytest.raises(DrawError, match=said):
            peek(str(path))


KEYS: tuple[tuple[str, dict[str, str | None], str], ...] = (
    ("decoder", {"model_type": "draw.other"}, "unknown model_type draw.other in the metadata"),
    ("decoder", {"dataset": None}, "the metadata lacks the key dataset"),
    ("decoder", {"hidden_size": None}, "the metadata lacks the key hidden_size"),
    ("decoder", {"attention": "yes"}, "metadata key attention must be true or false, not yes"),
    ("decoder", {"outputs": "all"}, "metadata key outputs must be steps or image, not all"),
    ("decoder", {"prior": "odd"}, "metadata key prior must be standard or learned, not odd"),
    ("decoder", {"dtype": ""}, "metadata key dtype must be float32 or float16 or int8, not "),
    ("decoder-no-attention", {"write_size": "3"}, "metadata key write_size is no sensible size: 3"),
    ("classifier", {"picture_fit": "odd"}, "metadata key picture_fit must be pad or cover, not odd"),
    ("classifier", {"figure_size": "25"}, "metadata key figure_size is no sensible size: 25"),
    ("scorer", {"binary": "odd"}, "metadata key binary must be true or false, not odd"),
    ("scorer", {"noise_stream": "x"}, "unknown noise_stream x; this program makes splitmix64-boxmuller-1"),
)


def test_what_keys_may_say(javascript, edited) -> None:
    """What Python refuses too."""
    paths = [str(edited(name, **changes)) for name, changes, _ in KEYS]
    assert javascript(SAID, paths) == [said for _, _, said in KEYS]
    for path in paths:
        with pytest.raises(DrawError):
            peek(path)


def test_bytes_that_two_readers_read_differently(javascript, fake: Path, tmp_path: Path) -> None:
    """ONNX Runtime's own format behind an unknown field, keys of more than 32 bits or five bytes, a number cut short."""
    good = (fake / "decoder.onnx").read_bytes()
    forged = {
        "format": proto(15, b"xxORTM") + good,
        "wide-key": good + b"\xba\x80\x80\x80\x10\x00",
        "long-key": good + b"\xfa\x80\x80\x80\x80\x00\x00",
        "cut-64": good + b"\x79" + bytes(7),
        "cut-32": good + b"\x7d" + bytes(3),
    }
    whole = {"whole-64": good + b"\x79" + bytes(8), "whole-32": good + b"\x7d" + bytes(4)}
    for name, content in (forged | whole).items():
        (tmp_path / name).write_bytes(content)
    paths = [str(tmp_path / name) for name in (forged | whole)]
    damaged = ["not an ONNX file, or it is damaged"] * len(forged)
    assert javascript(SAID, paths) == damaged + ["read"] * len(whole)
    for name in forged:
        with pytest.raises(DrawError):
            peek(str(tmp_path / name))


def test_sizes(javascript, edited) -> None:
    """A gigabyte for one array of one picture is the most, as in Python; windows have a size."""
    side, deep = {"image_height": "65536", "image_width": "4096"}, {"time_steps": "65536"}
    cases: tuple[tuple[str, dict[str, str], str], ...] = (
        ("decoder-lean", side, "read"),
        ("decoder-lean", side | {"image_width": "4097"}, "its image would have 268500992 numbers a picture"),
        ("decoder-lean", side | {"image_channels": "3"}, "its image would have"),
        ("decoder-lean", deep | {"latent_size": "4096"}, "read"),
        ("decoder-lean", deep | {"latent_size": "4097"}, "its noise would have"),
        ("decoder", side, "its canvases would have"),
        ("classifier", side, "read"),
        ("classifier", side | {"image_width": "4097"}, "its image would have"),
        ("classifier", deep | {"read_size": "65"}, "its glimpses would have"),
        ("scorer-lean", side | {"image_width": "4097"}, "its image would have"),
        ("decoder", {"image_channels": "2"}, "no pictures of 2 channels"),
    )
    paths = [str(edited(name, **changes)) for name, changes, _ in cases]
    for (_, _, expected), said, path in zip(cases, javascript(SAID, paths), paths, strict=True):
        assert said.startswith(expected)
        if said == "read":
            peek(path)
        else:
            with pytest.raises(DrawError):
                peek(path)
    windows = [(name, "read_size") for name in ("classifier", "classifier-lean", "scorer")]
    windows += [(name, "write_size") for name in ("decoder", "scorer")]
    paths = [str(edited(name, **{key: "0"})) for name, key in windows]
    paths += [str(edited("classifier", attention="false", read_size="0"))]
    assert javascript(SAID, paths) == [
        *(f"metadata key {key} is no sensible size: 0" for _, key in windows),
        "metadata key read_size is no sensible size: 0",
    ]
    assert javascript(SAID, [str(edited("scorer", attention="false", read_size="0", write_size="0"))]) == [
        "read"
    ]


def test_a_fixed_batch_has_a_limit(javascript, fake: Path) -> None:
    code = """
        const { Classifier } = await import(given[0]);
        class Opened extends Classifier { static backend = {}; }
        const attempt = async (batch) => {
            const values = (shapes) => Object.entries(shapes).map(([name, shape]) =>
                ({ name, type: "float32", shape: [batch, ...shape] }));
            const create = async (bytes) => {
                const { inputs, outputs } = model.promised(model.modelInfo(bytes));
                const [inputMetadata, outputMetadata] = [inputs, outputs].map(values);
                return { inputNames: ["image"], inputMetadata, outputMetadata, release() {} };
            };
            const options = { ort: { InferenceSession: { create } }, name: "x" };
            return Opened.open(readFileSync(given[1]), options).then((m) => m.fixedBatch, (error) => error.message);
        };
        return Promise.all(["batch_size", 4, 65536, 65537].map(attempt));"""
    got = javascript(code, [MODELS, str(fake / "classifier.onnx")])
    assert got == [None, 4, 65536, "x: its batch size is 65537"]


def test_the_figures_size_is_read(javascript, fake: Path) -> None:
    code = "return given.map((path) => model.modelInfo(readFileSync(path)).figureSize);"
    paths = [fake / "classifier-figures.onnx", fake / "classifier.onnx", fake / "scorer.onnx"]
    assert javascript(code, [str(path) for path in paths]) == [12, 0, 0]
    assert [peek(str(path)).figure_size for path in paths] == [12, None, None]
