"""The Triton model repository, read back as text and held against the graph."""

from __future__ import annotations

import re

import onnx
import pytest

from draw_onnx.errors import DrawError
from draw_onnx.export import ExportOptions, export
from draw_onnx.export.triton import check_repository, config_text, write_repository


def parse(text: str) -> dict[str, list]:
    """Protobuf text format, as far as this file uses it: fields to lists of values."""
    tokens = re.findall(r'"[^"]*"|[A-Za-z_]\w*|-?\d+|[{}\[\]:,]', text)
    position = 0

    def value():
        nonlocal position
        token = tokens[position]
        position += 1
        if token == "[":
            items = []
            while tokens[position] != "]":
                items.append(value())
                position += tokens[position] == ","
            position += 1
            return items
        return token.strip('"') if not token.lstrip("-").isdigit() else int(token)

    def message():
        nonlocal position
        fields: dict[str, list] = {}
        while position < len(tokens) and tokens[position] != "}":
            key = tokens[position]
            position += 1
            if tokens[position] == "{":
                position += 1
                fields.setdefault(key, []).append(message())
                assert tokens[position] == "}"
                position += 1
            else:
                assert tokens[position] == ":", key
                position += 1
                fields.setdefault(key, []).append(value())
        return fields

    parsed = message()
    assert position == len(tokens)
    return parsed


@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize(
    ("name", "graph"), [("attention", "decoder"), ("colour", "scorer"), ("classifier", "classifier")]
)
def test_configuration_agrees_with_the_graph(checkpoints, name, graph, batch):
    exported = export(checkpoints[name], ExportOptions(graph=graph, batch=batch), check=False)
    config = parse(config_text("digits", exported.metadata, exported.batch))
    assert config["name"] == ["digits"]
    assert config["backend"] == ["onnxruntime"]
    assert config["max_batch_size"] == [256 if batch is None else 0]
    assert ("dynamic_batching" in config) == (batch is None)
    model = onnx.load_from_string(exported.data)
    for kind, values in (("input", model.graph.input), ("output", model.graph.output)):
        graph_values = {value.name: value for value in values}
        assert sorted(entry["name"][0] for entry in config[kind]) == sorted(graph_values)
        for entry in config[kind]:
            graph_value = graph_values[entry["name"][0]]
            assert entry["data_type"] == ["TYPE_FP32"]
            dims = [d.dim_value for d in graph_value.type.tensor_type.shape.dim]
            want = dims[1:] if batch is None else dims
            given = entry["reshape"][0]["shape"][0] if "reshape" in entry else entry["dims"][0]
            assert given == want, entry["name"]
            assert entry["dims"][0], "Triton wants at least one dimension"


def test_repository_layout(checkpoints, tmp_path):
    exported = export(checkpoints["attention"], check=False)
    folder = write_repository(tmp_path / "models", "digits", exported)
    files = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert files == ["models/digits/1/model.onnx", "models/digits/config.pbtxt"]
    assert (folder / "1" / "model.onnx").read_bytes() == exported.data
    assert 'name: "digits"' in (folder / "config.pbtxt").read_text()


def test_a_bad_name_is_refused(tmp_path, checkpoints):
    exported = export(checkpoints["attention"], check=False)
    for name in ("../up", "", ".hidden", "-o", "a b", "x\n"):
        with pytest.raises(DrawError, match="no name for a Triton model"):
            write_repository(tmp_path, name, exported)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_one_line(tmp_path, checkpoints):
    (tmp_path / "models").write_text("")
    with pytest.raises(DrawError, match=r"models is a file"):
        check_repository(tmp_path / "models", "digits")  # before the work
    with pytest.raises(DrawError, match=r"models"):
        write_repository(tmp_path / "models", "digits", export(checkpoints["attention"], check=False))
