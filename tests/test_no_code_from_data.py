"""No file that is read can run code: calls that could make it do so are nowhere, or where they are safe."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("dfm_core", "orchestration", "analysis", "benchmarks", "examples")
UNPICKLERS = {"pickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "pickletools"}
PICKLE_HOMES = {
    "dfm_core/metrics/plain_arrays.py",  # an unpickler that knows arrays alone
    "dfm_core/metrics/features/pretrained.py",  # the name of an exception
}
TORCHSCRIPT_HOME = "dfm_core/metrics/features/torchscript.py"  # of a file whose sha256 the user gave
RUNTIME_ENVIRONMENT_HOMES = {"orchestration/cluster/connection.py", "orchestration/cluster/ray_start.py"}
"""Their runtime environments hold constants and the user's PYTHONPATH alone."""
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.hub.load", "pd.read_pickle",
    "pandas.read_pickle", "yaml.unsafe_load", "yaml.full_load", "mlflow.pyfunc.load_model", "pickle.load",
    "pickle.loads",
}  # fmt: skip
FORBIDDEN_METHODS = {
    "extractall", "load_checkpoint", "save_checkpoint", "read_pickle",
    "all_gather_object", "broadcast_object_list", "gather_object", "scatter_object_list", "recv_object_list",
}  # fmt: skip
"""Methods of tar archives, pandas, DeepSpeed (its checkpoints are pickles) and torch.distributed (it unpickles)."""
FORBIDDEN_ARGUMENTS = {"allow_pickle": True, "weights_only": False, "trust_remote_code": True, "shell": True}
SAFE_LOADERS = {"yaml.SafeLoader", "yaml.BaseLoader", "yaml.CSafeLoader"}


def offences(path: str, source: str) -> Iterator[str]:
    """What in a module could run code out of a file, and where."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for name in names:
                if name.split(".")[0] in UNPICKLERS and path not in PICKLE_HOMES:
                    yield f"{path}:{node.lineno}: imports {name}"
                if name.startswith("torch.distributed.checkpoint"):
                    yield f"{path}:{node.lineno}: imports {name}"
        if isinstance(node, ast.Call):
            yield from (f"{path}:{node.lineno}: {why}" for why in _of_call(path, node))


def _of_call(path: str, call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func)
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if name in FORBIDDEN_CALLS:
        yield name
    if name.rpartition(".")[2] in FORBIDDEN_METHODS and "." in name:
        yield name
    if name == "torch.load" and ast.unparse(given.get("weights_only", ast.Constant(None))) != "True":
        yield "torch.load without weights_only=True"
    if name == "torch.jit.load" and path != TORCHSCRIPT_HOME:
        yield name
    if name in ("yaml.load", "yaml.load_all"):
        loaders = {ast.unparse(value) for value in [*call.args[1:], *filter(None, [given.get("Loader")])]}
        if not loaders or not loaders <= SAFE_LOADERS:
            yield f"{name} with {loaders or 'no loader'}"
    for argument, value in given.items():
        if argument in FORBIDDEN_ARGUMENTS and ast.unparse(value) == str(FORBIDDEN_ARGUMENTS[argument]):
            yield f"{argument}={ast.unparse(value)}"
        if argument == "runtime_env" and path not in RUNTIME_ENVIRONMENT_HOMES:
            yield "a runtime_env of its own"


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from cloudpickle import loads",
        "def f():\n    import _pickle",
        "import torch.distributed.checkpoint as dcp",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=safe)",
        "torch.jit.load(path)",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
        "yaml.load(text)",
        "yaml.load(text, yaml.Loader)",
        "yaml.load(text, Loader=yaml.UnsafeLoader)",
        "subprocess.run(command, shell=True)",
        "tar.extractall(folder)",
        "engine.load_checkpoint(folder)",
        "Model.from_pretrained(name, trust_remote_code=True)",
        "mlflow.pyfunc.load_model(uri)",
        "ray.init(runtime_env=config.runtime_env)",
        "dist.all_gather_object(texts, text)",
        "torch.distributed.broadcast_object_list(chosen, src=0)",
    ],
)
def test_the_reader_sees_every_form(source: str) -> None:
    assert list(offences("orchestration/x.py", source))


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(path, weights_only=True)",
        "np.load(path)",
        "np.load(path, allow_pickle=False)",
        "model.eval()",
        "re.compile(text)",
        "yaml.load(text, yaml.BaseLoader)",
        "yaml.safe_load(text)",
        "safetensors.torch.load(content)",
        "subprocess.run(command, check=True)",
    ],
)
def test_the_reader_leaves_what_is_safe_alone(source: str) -> None:
    assert not list(offences("orchestration/x.py", source))


@pytest.mark.proves(27)
@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_runs_code_out_of_a_file(package: str) -> None:
    paths = sorted((ROOT / package).rglob("*.py"))
    assert paths
    assert not [found for path in paths for found in offences(path.relative_to(ROOT).as_posix(), path.read_text())]
