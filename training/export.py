"""From trained weights to the shipped graph: ONNX, int8, one unpadded text per call.

The graph has no mask: `input_ids` and `token_type_ids`, int64 [1, n], give `logits`, float32 [1, heads], and
`embedding`, float32 [1, 768] (`Encoder.with_embedding`).
Matrices become int8 with one scale for each output channel (onnxruntime's dynamic quantisation); the word
embeddings become int8 with one scale for each word, because one scale for all words would be that of the
largest entry of 30,000 rows.
"""

import tempfile
from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from training.batches import base_tokenizer
from training.model import Encoder

__all__ = ["export", "write_float", "write_int8", "write_tokenizer"]

OPSET = 17


def export(model: Encoder, folder: Path) -> None:
    """Writes `encoder.onnx` (int8) and `tokenizer.json` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        exact = Path(scratch) / "float.onnx"
        write_float(model, exact)
        write_int8(exact, folder / "encoder.onnx")
    write_tokenizer(folder / "tokenizer.json")


class _Exported(nn.Module):
    """The network with both of its outputs."""

    def __init__(self, model: Encoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, token_type_ids: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.with_embedding(input_ids, token_type_ids)


def write_float(model: Encoder, path: Path) -> None:
    """The float32 graph, by the legacy exporter: its MatMuls are the ones that quantise fastest."""
    exported = _Exported(model.eval().float())
    ids = torch.tensor([[101, 1, 2023, 2003, 1037, 3231, 102]])
    types = torch.tensor([[0, 0, 0, 0, 0, 1, 1]])
    torch.onnx.export(
        exported,
        (ids, types),
        str(path),
        input_names=["input_ids", "token_type_ids"],
        output_names=["logits", "embedding"],
        dynamic_axes={"input_ids": {1: "tokens"}, "token_type_ids": {1: "tokens"}},
        opset_version=OPSET,
        do_constant_folding=True,
        dynamo=False,
    )


def write_int8(source: Path, path: Path, *, keep_float: Collection[str] = ()) -> None:
    """Quantises the graph at `source`; MatMuls named in `keep_float` stay as they are."""
    with tempfile.TemporaryDirectory() as scratch:
        compact = Path(scratch) / "embeddings.onnx"
        graph = onnx.load(str(source))
        quantise_embeddings(graph)
        onnx.save(graph, str(compact))
        quantize_dynamic(
            str(compact),
            str(path),
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(keep_float),
        )


def quantise_embeddings(graph: onnx.ModelProto, *, rows_at_least: int = 1_000) -> None:
    """Replaces `Gather` from each big float table by int8 rows times their scales, in place."""
    tables = {t.name: t for t in graph.graph.initializer if len(t.dims) == 2 and t.dims[0] >= rows_at_least}
    nodes = list(graph.graph.node)
    for node in nodes:
        if node.op_type != "Gather" or node.input[0] not in tables:
            continue
        table = tables[node.input[0]]
        values = numpy_helper.to_array(table)
        scales = np.maximum(np.abs(values).max(axis=1, keepdims=True), 1e-9).astype(np.float32) / 127
        whole = np.rint(values / scales).astype(np.int8)
        made = _lookup(node, whole, scales, graph)
        at = list(graph.graph.node).index(node)
        graph.graph.node.remove(node)
        for offset, new in enumerate(made):
            graph.graph.node.insert(at + offset, new)
        graph.graph.initializer.remove(table)


def _lookup(
    node: onnx.NodeProto, whole: np.ndarray, scales: np.ndarray, graph: onnx.ModelProto
) -> list[onnx.NodeProto]:
    """Nodes that give `whole[ids] * scales[ids]` under the name of what `node` gave."""
    name, ids, out = node.input[0], node.input[1], node.output[0]
    graph.graph.initializer.append(numpy_helper.from_array(whole, f"{name}.int8"))
    graph.graph.initializer.append(numpy_helper.from_array(scales, f"{name}.scale"))
    return [
        helper.make_node("Gather", [f"{name}.int8", ids], [f"{out}.int8"], name=f"{out}.rows", axis=0),
        helper.make_node("Cast", [f"{out}.int8"], [f"{out}.float"], name=f"{out}.cast", to=onnx.TensorProto.FLOAT),
        helper.make_node("Gather", [f"{name}.scale", ids], [f"{out}.scale"], name=f"{out}.scales", axis=0),
        helper.make_node("Mul", [f"{out}.float", f"{out}.scale"], [out], name=f"{out}.scaled"),
    ]


def write_tokenizer(path: Path) -> None:
    """The base model's tokenizer, cutting and padding nothing by itself."""
    base_tokenizer().save(str(path), pretty=False)
