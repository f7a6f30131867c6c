"""The context of a command: the global options with their defaults applied."""

from __future__ import annotations

import os
from dataclasses import dataclass

from runtime.cli.log import Log
from runtime.cli.table import GlobalOptions
from runtime.container.requests import CgroupManager
from runtime.container.state import Store
from runtime.errors import UsageError
from runtime.host.facts import in_user_namespace
from runtime.host.paths import absolute

DEFAULT_ROOT = "/run/stele"
DEFAULT_IMAGES = "/var/lib/stele"


@dataclass(frozen=True, slots=True)
class Globals:
    """The resolved global options. rootless_option: "true", "false" or "auto"; images: directory of the image store."""

    root: str
    root_given: bool
    cgroup_manager: CgroupManager
    rootless_option: str
    log: Log
    images: str

    @property
    def rootless(self) -> bool:
        """Whether to expect permission errors for cgroups and devices; "auto" covers root in a user namespace, too."""
        if self.rootless_option == "auto":
            return os.geteuid() != 0 or in_user_namespace()
        return self.rootless_option == "true"

    def store(self) -> Store:
        return Store(self.root)


def settle(given: GlobalOptions, log: Log) -> Globals:
    """Apply the defaults and make the paths absolute.

    Raises:
        UsageError: --root is the root directory. HostError: a path is relative, and the working directory is gone.
    """
    root = absolute(given.root or default_root(), "--root")
    if root == "/":
        raise UsageError("--root cannot be /; name a separate directory")
    manager: CgroupManager = given.cgroup_manager or ("systemd" if given.systemd_cgroup else "cgroupfs")
    images = absolute(given.store or default_images(), "--store")
    return Globals(root, bool(given.root), manager, given.rootless, log, images)


def default_images() -> str:
    """Return the default image store; for ordinary users it is in the home directory (XDG Base Directory Specification)."""
    if os.geteuid() == 0:
        return DEFAULT_IMAGES
    return f"{os.environ.get('XDG_DATA_HOME') or os.path.expanduser('~/.local/share')}/stele"


def default_root() -> str:
    """Return the default --root; for ordinary users it is in the session's runtime directory, if there is one."""
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    if not own or (os.geteuid() == 0 and (os.environ.get("USER") == "root" or not in_user_namespace())):
        return DEFAULT_ROOT
    return f"{own}/stele"
