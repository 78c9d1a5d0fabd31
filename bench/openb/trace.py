"""Reads the trace and says it in Kubernetes objects.

GPUs are two extended resources: `nvidia.com/gpu` counts whole devices, `ironfree.dev/gpu-milli`
thousandths of devices. A pod that shares one device asks for thousandths only, so a node is never
given more GPU time than it has; which device a share lives on is not modelled here.
"""

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

GPU = "nvidia.com/gpu"
GPU_MILLI = "ironfree.dev/gpu-milli"
MODEL_LABEL = "ironfree.dev/gpu-model"
DATA = Path(os.environ.get("OPENB_DIR") or Path(__file__).with_name("data"))


@dataclass(frozen=True, slots=True)
class TraceNode:
    """A machine; memory in MiB, cpu in thousandths."""

    name: str
    cpu: int
    memory: int
    gpus: int
    model: str


@dataclass(frozen=True, slots=True)
class TracePod:
    """A task; gpu_milli is per device, models are those it may run on (none: any)."""

    name: str
    cpu: int
    memory: int
    gpus: int
    gpu_milli: int
    models: tuple[str, ...]


def read_nodes(directory: Path = DATA) -> list[TraceNode]:
    """Return the 1,523 machines."""
    with (directory / "openb_node_list_all_node.csv").open() as file:
        return [
            TraceNode(
                row["sn"],
                int(row["cpu_milli"]),
                int(row["memory_mib"]),
                int(row["gpu"]),
                row["model"],
            )
            for row in csv.DictReader(file)
        ]


def read_pods(variant: str = "default", directory: Path = DATA) -> list[TracePod]:
    """Return the 8,152 tasks in order of arrival."""
    with (directory / f"openb_pod_list_{variant}.csv").open() as file:
        return [
            TracePod(
                row["name"],
                int(row["cpu_milli"]),
                int(row["memory_mib"]),
                int(row["num_gpu"]),
                int(row["gpu_milli"]),
                tuple(filter(None, row["gpu_spec"].split("|"))),
            )
            for row in csv.DictReader(file)
        ]


def host(node: TraceNode) -> dict[str, object]:
    """Return the DockerHost of a machine, simulated."""
    capacity = {"cpu": f"{node.cpu}m", "memory": f"{node.memory}Mi", "pods": "1000"}
    labels = {}
    if node.gpus:
        capacity |= {GPU: str(node.gpus), GPU_MILLI: str(node.gpus * 1000)}
        labels = {MODEL_LABEL: node.model}
    return {
        "apiVersion": "ironfree.dev/v1",
        "kind": "DockerHost",
        "metadata": {"name": node.name},
        "spec": {
            "address": f"simulated://{node.name}",
            "driver": "simulated",
            "capacity": capacity,
            "labels": labels,
        },
    }


def pod(task: TracePod) -> dict[str, object]:
    """Return the Pod of a task."""
    requests = {"cpu": f"{task.cpu}m", "memory": f"{task.memory}Mi"}
    limits = {}
    if task.gpus:
        limits = {GPU_MILLI: str(task.gpus * task.gpu_milli)}
        if task.gpu_milli == 1000:
            limits[GPU] = str(task.gpus)
    spec: dict[str, object] = {
        "containers": [
            {
                "name": "task",
                "image": "openb/task:v1",
                "resources": {"requests": requests | limits, "limits": limits},
            }
        ]
    }
    if task.models:
        expression = {"key": MODEL_LABEL, "operator": "In", "values": list(task.models)}
        terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
        spec["affinity"] = {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}
        }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": task.name}, "spec": spec}


def gpu_milli(nodes: Sequence[TraceNode]) -> int:
    """Return the machines' GPU capacity in thousandths of a device."""
    return 1000 * sum(node.gpus for node in nodes)
