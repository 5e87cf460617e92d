"""A model that takes far more memory to run than its file lets expect, and a device that has it on trial."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from appliance.core.manifest import MANIFEST_NAME, read_manifest
from appliance.updates import stages
from appliance.updates.formats import Release
from appliance.updates.state import Held, Stage, Update
from appliance.updates.store import Store, StoredFile

NOW = "2026-11-23T00:00:00Z"
_WAY = (Stage.DOWNLOADING, Stage.VERIFYING, Stage.STAGED, Stage.INSPECTING, Stage.SMOKE, Stage.TRIAL)


def greedy(content: bytes, megabytes: int) -> bytes:
    """Give a model that answers as before and fills so many MB (10^6 bytes) with each picture on its way.

    Args:
        content: Of a model with one input and one output, both of 32-bit floats.
        megabytes: At one time.
    """
    model = onnx.load_from_string(content)
    graph, output = model.graph, model.graph.output[0].name
    for node in graph.node:
        node.output[:] = ["before" if name == output else name for name in node.output]
    graph.initializer.append(numpy_helper.from_array(np.array([megabytes * 250_000], np.int64), "much"))
    graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "none"))
    # as it hangs on what is seen, it cannot be worked out once and for all
    graph.node.append(helper.make_node("ReduceMax", [graph.input[0].name], ["most"], keepdims=0))
    graph.node.append(helper.make_node("Expand", ["most", "much"], ["everywhere"]))
    graph.node.append(helper.make_node("ReduceMax", ["everywhere"], ["again"], keepdims=0))
    graph.node.append(helper.make_node("Mul", ["again", "none"], ["nothing"]))
    graph.node.append(helper.make_node("Add", ["before", "nothing"], [output]))
    assert graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    return bytes(model.SerializeToString())


def put_on_trial(state_dir: Path, folder: Path) -> Held:
    """Have a device find a model on trial when it starts, as if it had brought it and its gates had let it pass.

    Args:
        state_dir: Of the device.
        folder: The model's.
    """
    store, manifest = Store(state_dir), read_manifest(folder)
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    files = {name: StoredFile(sha256=hashlib.sha256(one).hexdigest(), size=len(one)) for name, one in contents.items()}
    coming = Held(sha256=files[MANIFEST_NAME].sha256, name=manifest.name, version=manifest.version, counter=1)
    for name, content in contents.items():
        (store.incoming_folder(coming.sha256) / name).write_bytes(content)
    signed = {
        "schema": 1,
        "name": coming.name,
        "version": coming.version,
        "counter": 1,
        "task": manifest.task,
        "metrics": {"dataset": "none", "pictures": 1, "figures": {"ap": 0}},
        "licence": {"spdx": manifest.licence},
        "provenance": "a test",
        "files": {name: {"path": f"models/{coming.name}/1/{name}"} for name in files if name != MANIFEST_NAME},
    }
    store.adopt(coming.sha256, Release.model_validate(signed), files)
    state = stages.begin(store.read(), Update(release=coming, rollout="greedy"))
    for stage in _WAY:
        state = stages.advance(state, stage, NOW)
    store.write(state)
    return coming
