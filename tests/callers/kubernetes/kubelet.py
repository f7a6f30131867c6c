"""Pods and containers as a kubelet has them: by the CRI's calls to containerd."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.callers.kubernetes import grpc
from tests.callers.kubernetes.protobuf import Schema
from tests.harness.bundles import merge
from tests.vm.guest import PATIENCE, Guest

SCHEMA = Schema(Path(__file__).with_name("runtime.proto").read_text())
IMAGE = "docker.io/library/shell:latest"

NUMBERS = itertools.count(1)

# What a kubelet asks for in every container that is not privileged.
MASKED = (
    "/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
    "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
)  # fmt: skip
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


@dataclass(frozen=True, slots=True)
class Result:
    """How a command in a container ended, and what it wrote."""

    code: int
    out: str
    err: str


class Kubelet:
    """`kubelet("Status")` is a call; its answer is a dict."""

    def __init__(self, host: Guest, client: grpc.Client) -> None:
        self.host = host
        self._client = client

    def __call__(self, method: str, *, within: float = PATIENCE, **request: Any) -> dict[str, Any]:
        """Raises: grpc.Failed."""
        service = "ImageService" if "Image" in method else "RuntimeService"
        message = SCHEMA.encode(f"{method}Request", request)
        answer = self._client.call(f"runtime.v1.{service}/{method}", message, within)
        return SCHEMA.decode(f"{method}Response", answer)

    def images(self) -> set[str]:
        """The names of the images that containerd has for pods."""
        return {tag for image in self("ListImages")["images"] for tag in image["repo_tags"]}

    def start_pod(self, handler: str = "", **changes: Any) -> Pod:
        """Run a pod; `changes` are laid over its config by `merge`. Without a handler it is the default's."""
        name = f"pod{next(NUMBERS)}"
        parent = f"/kubepods/{name}" if handler == "cgroupfs" else f"/kubepods.slice/kubepods-{name}.slice"
        config = {
            "metadata": {"name": name, "uid": f"{name}-uid", "namespace": "default"},
            "hostname": name,
            "log_directory": f"/var/log/pods/{name}",
            "linux": {"cgroup_parent": parent},
        }
        config = merge(config, changes)
        answer = self("RunPodSandbox", config=config, runtime_handler=handler)
        return Pod(self, answer["pod_sandbox_id"], config)

    @contextlib.contextmanager
    def pod(self, handler: str = "", **changes: Any) -> Iterator[Pod]:
        """A pod until the end of the with statement; its containers end with it."""
        pod = self.start_pod(handler, **changes)
        try:
            yield pod
        finally:
            pod.remove()


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod, and what it was asked to be."""

    kubelet: Kubelet
    id: str
    config: dict[str, Any]

    def create(
        self,
        *command: str,
        security: Mapping[str, Any] | None = None,
        resources: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> Container:
        """Create a container; `changes` are laid over its config by `merge`, as are the two for what is deep in it."""
        name = f"c{next(NUMBERS)}"
        config = {
            "metadata": {"name": name},
            "image": {"image": IMAGE},
            "command": list(command),
            "log_path": f"{name}.log",
            "linux": {
                "security_context": {
                    "namespace_options": {"pid": "CONTAINER"},
                    "masked_paths": list(MASKED),
                    "readonly_paths": list(READONLY),
                    "seccomp": {"profile_type": "Unconfined"},
                    **(security or {}),
                },
                "resources": dict(resources or {}),
            },
        }
        config = merge(config, changes)
        answer = self.kubelet("CreateContainer", pod_sandbox_id=self.id, config=config, sandbox_config=self.config)
        return Container(self.kubelet, answer["container_id"], f"{self.config['log_directory']}/{config['log_path']}")

    def start(self, script: str, **changes: Any) -> Container:
        """Start a container with a shell's script."""
        container = self.create("sh", "-c", script, **changes)
        container.start()
        return container

    def run(self, script: str, **changes: Any) -> Result:
        """Run a container with a shell's script to its end, and remove it."""
        container = self.start(script, **changes)
        code = container.ended()["exit_code"]
        lines = container.log()
        container.remove()
        out, err = ("".join(text for stream, text in lines if stream == name) for name in ("stdout", "stderr"))
        return Result(code, out, err)

    def status(self) -> dict[str, Any]:
        """What containerd says of it."""
        answer: dict[str, Any] = self.kubelet("PodSandboxStatus", pod_sandbox_id=self.id)["status"]
        return answer

    def stop(self) -> None:
        """End all that runs in it."""
        self.kubelet("StopPodSandbox", pod_sandbox_id=self.id)

    def remove(self) -> None:
        """End it and forget it."""
        self.stop()
        self.kubelet("RemovePodSandbox", pod_sandbox_id=self.id)


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a pod. `log_path` is on the host."""

    kubelet: Kubelet
    id: str
    log_path: str

    def start(self) -> None:
        """Start it."""
        self.kubelet("StartContainer", container_id=self.id)

    def status(self) -> dict[str, Any]:
        """What containerd says of it."""
        answer: dict[str, Any] = self.kubelet("ContainerStatus", container_id=self.id)["status"]
        return answer

    def pid(self) -> int:
        """Its process on the host."""
        info = self.kubelet("ContainerStatus", container_id=self.id, verbose=True)["info"]["info"]
        pid: int = json.loads(info)["pid"]
        return pid

    def ended(self) -> dict[str, Any]:
        """Its status once it has ended."""

        def exited() -> dict[str, Any] | None:
            status = self.status()
            return status if status["state"] == "CONTAINER_EXITED" else None

        status: dict[str, Any] = self.kubelet.host.eventually("the container has exited", exited)
        return status

    def exec(self, script: str, timeout: int = 0) -> Result:
        """Run a shell's script in it. `timeout` is containerd's, in seconds; 0: none."""
        done = self.kubelet("ExecSync", container_id=self.id, cmd=["sh", "-c", script], timeout=timeout)
        return Result(done["exit_code"], done["stdout"].decode(), done["stderr"].decode())

    def log(self) -> list[tuple[str, str]]:
        """What it has written, as the log's lines have it: stream, text."""
        lines = []
        for line in self.kubelet.host.read(self.log_path).splitlines(keepends=True):
            _, stream, tag, text = line.split(" ", 3)
            lines.append((stream, text if tag == "F" else text.removesuffix("\n")))
        return lines

    def logged(self, word: str) -> None:
        """Wait until it has written a word."""
        self.kubelet.host.eventually(f"{word!r} in the log", lambda: any(word in text for _, text in self.log()))

    def stop(self, grace: int = 0) -> dict[str, Any]:
        """End it: TERM, and KILL after `grace` seconds. Its last status."""
        self.kubelet("StopContainer", container_id=self.id, timeout=grace)
        return self.status()

    def remove(self) -> None:
        """Remove it."""
        self.kubelet("RemoveContainer", container_id=self.id)
