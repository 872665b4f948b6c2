"""The files for Kubernetes: core objects by its own schemas, KubeRay's by the fields that its reference names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from orchestration.spec.load import load_sweep
from tests.orchestration.conftest import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
VERSIONS = ("1.28", "1.34", "1.37")
"""Kubernetes releases that the files are held to: an old one, one of the last years, the newest known."""
POD = "pod template"
FIELDS: dict[str, dict[str, object]] = {
    "RayCluster": {"apiVersion": str, "kind": str, "metadata": dict, "spec": "RayClusterSpec"},
    "RayClusterSpec": {
        "authOptions": "AuthOptions",
        "autoscalerOptions": "AutoscalerOptions",
        "enableInTreeAutoscaling": bool,
        "headGroupSpec": "HeadGroupSpec",
        "rayVersion": str,
        "workerGroupSpecs": ["WorkerGroupSpec"],
    },
    "AuthOptions": {"mode": ("disabled", "token")},
    "AutoscalerOptions": {"idleTimeoutSeconds": int, "upscalingMode": ("Default", "Aggressive", "Conservative")},
    "HeadGroupSpec": {"rayStartParams": {str: str}, "serviceType": str, "template": POD},
    "WorkerGroupSpec": {
        "groupName": str,
        "idleTimeoutSeconds": int,
        "maxReplicas": int,
        "minReplicas": int,
        "numOfHosts": int,
        "rayStartParams": {str: str},
        "replicas": int,
        "template": POD,
    },
    "RayJob": {"apiVersion": str, "kind": str, "metadata": dict, "spec": "RayJobSpec"},
    "RayJobSpec": {
        "activeDeadlineSeconds": int,
        "backoffLimit": int,
        "entrypoint": str,
        "rayClusterSpec": "RayClusterSpec",
        "runtimeEnvYAML": str,
        "shutdownAfterJobFinishes": bool,
        "submissionMode": ("K8sJobMode", "HTTPMode", "InteractiveMode"),
        "submitterPodTemplate": POD,
        "ttlSecondsAfterFinished": int,
    },
}
"""Kind -> field -> what it is, by KubeRay's reference of ray.io/v1 (1.5), as far as these files could use it."""


def document(name: str) -> dict[str, Any]:
    (found,) = yaml.safe_load_all((FOLDER / name).read_text())
    assert isinstance(found, dict)
    return found


def problems(value: Any, wanted: object, place: str) -> Iterator[str]:
    """Fields of a value that KubeRay's reference does not have, or has otherwise."""
    match wanted:
        case str() if wanted == POD:
            yield from pod_problems(value, place)
        case str():
            known = FIELDS[wanted]
            yield from (f"{place}.{name}: {wanted} has no such field" for name in value if name not in known)
            for name in value.keys() & known.keys():
                yield from problems(value[name], known[name], f"{place}.{name}")
        case list():
            for index, own in enumerate(value):
                yield from problems(own, wanted[0], f"{place}[{index}]")
        case tuple():
            yield from [] if value in wanted else [f"{place}: {value!r} is none of {wanted}"]
        case dict():
            yield from (f"{place}.{key}: {own!r} is no text" for key, own in value.items() if not isinstance(own, str))
        case _:
            yield from [] if type(value) is wanted else [f"{place}: {value!r} is no {wanted}"]


def pod_problems(template: object, place: str) -> Iterator[str]:
    pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": template}
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(pod, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{place} (Kubernetes {version}): {error.message}"


def templates() -> dict[str, dict[str, Any]]:
    """Every pod template of both files, by its place."""
    job = document("job.yaml")["spec"]
    found = {"submitter": job["submitterPodTemplate"]}
    for name, spec in (("cluster", document("cluster.yaml")["spec"]), ("job", job["rayClusterSpec"])):
        found[f"{name} head"] = spec["headGroupSpec"]["template"]
        found |= {f"{name} {group['groupName']}": group["template"] for group in spec["workerGroupSpecs"]}
    return found


def test_every_file_is_looked_at() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {
        "cluster.yaml",
        "job.yaml",
        "network_policy.yaml",
        "secret.yaml",
    }


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["network_policy.yaml", "secret.yaml"])
def test_core_objects_fit_the_schemas_of_kubernetes(name: str, version: str) -> None:
    kubernetes_validate.validate(document(name), version, strict=True)


@pytest.mark.parametrize(("name", "kind"), [("cluster.yaml", "RayCluster"), ("job.yaml", "RayJob")])
def test_rays_objects_have_fields_that_kuberay_names_alone(name: str, kind: str) -> None:
    found = document(name)
    assert (found["apiVersion"], found["kind"]) == ("ray.io/v1", kind)
    assert list(problems(found, kind, kind)) == []


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("spec", "rayVersions"), "2", "RayCluster.spec.rayVersions: RayClusterSpec has no such field"),
        (("spec", "authOptions", "mode"), "tokens", "'tokens' is none of"),
        (("spec", "headGroupSpec", "rayStartParams", "num-cpus"), 4, "4 is no text"),
        (("spec", "workerGroupSpecs", 0, "maxReplicas"), "4", "'4' is no <class 'int'>"),
        (("spec", "headGroupSpec", "template", "spec", "containers", 0, "images"), "x", "'images' was unexpected"),
        (("spec", "headGroupSpec", "template", "spec", "volumes", 0, "emptyDir", "medium"), 1, "1 is not of type"),
    ],
)
def test_the_checks_see_what_is_wrong(path: tuple[Any, ...], value: object, expected: str) -> None:
    found: Any = document("cluster.yaml")
    place = found
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert any(expected in problem for problem in problems(found, "RayCluster", "RayCluster"))


def test_the_job_makes_the_cluster_of_the_other_file() -> None:
    assert document("job.yaml")["spec"]["rayClusterSpec"] == document("cluster.yaml")["spec"]


def test_the_cluster_asks_for_tokens_and_has_our_ray() -> None:
    spec = document("cluster.yaml")["spec"]
    assert spec["authOptions"] == {"mode": "token"}
    assert f"\nray=={spec['rayVersion']}\n" in (ROOT / "constraints.txt").read_text()


@pytest.mark.parametrize("where", templates())
def test_each_pod_is_one_of_those_that_the_policy_lets_reach_each_other(where: str) -> None:
    policy = document("network_policy.yaml")["spec"]
    label = policy["podSelector"]["matchLabels"]
    assert policy["ingress"][0] == {"from": [{"podSelector": {"matchLabels": label}}]}
    assert label.items() <= templates()[where]["metadata"]["labels"].items()


@pytest.mark.parametrize("where", [name for name in templates() if name != "submitter"])
def test_each_node_has_credentials_and_shared_memory_and_gpu_nodes_are_tolerated(where: str) -> None:
    pod = templates()[where]["spec"]
    (container,) = pod["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": document("secret.yaml")["metadata"]["name"]}}]
    assert {"DFM_STORAGE_ROOT", "DFM_SITE", "MLFLOW_TRACKING_URI"} == {entry["name"] for entry in container["env"]}
    (mount,) = [mount for mount in container["volumeMounts"] if mount["mountPath"] == "/dev/shm"]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == mount["name"]]
    assert volume["emptyDir"]["medium"] == "Memory"
    limits = container["resources"]["limits"]
    gigabytes = {name: int(text.removesuffix("Gi")) for name, text in (("memory", limits["memory"]),)}
    assert int(volume["emptyDir"]["sizeLimit"].removesuffix("Gi")) < gigabytes["memory"]  # it counts as the container's
    wants_gpus = "nvidia.com/gpu" in limits
    assert wants_gpus == any(one["key"] == "nvidia.com/gpu" for one in pod.get("tolerations", ()))
    assert wants_gpus == where.endswith("gpu")


def test_the_job_runs_a_sweep_that_there_is_on_all_gpus_that_can_come() -> None:
    spec = document("job.yaml")["spec"]
    program, script, sweep, *options = spec["entrypoint"].split()
    assert (program, script) == ("python", "orchestration/sweep.py")
    workers = load_sweep(ROOT / sweep, options).runtime.workers
    group = document("cluster.yaml")["spec"]["workerGroupSpecs"][0]
    gpus = int(group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"])
    assert workers.use_gpu
    assert workers.max_accelerators == group["maxReplicas"] * gpus
    workdir = yaml.safe_load(spec["runtimeEnvYAML"])["working_dir"]
    assert f"WORKDIR {workdir}\n" in Path(ROOT / "deploy" / "Dockerfile").read_text()
