"""Looking into an image: what random trees (tests/fuzz/test_paths.py) have shown to go wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.images.store.overlay_view import OverlayView


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/file", True),
        ("/file/", False),
        ("/file/.", False),
        ("/folder/", True),
        ("/folder/.", True),
        ("/folder/../file", True),
        ("/to-file", True),
        ("/to-file-as-folder", False),
        ("/to-long", False),
        ("/" + "l" * 256, False),
        ("/", True),
    ],
)
def test_a_path_leads_where_the_kernel_would_go(tmp_path: Path, path: str, found: bool) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "to-file").symlink_to("/folder/../file")
    (tmp_path / "to-file-as-folder").symlink_to("file/")
    (tmp_path / "to-long").symlink_to("l" * 256)
    with OverlayView([str(tmp_path)]) as view:
        assert (view.look_up(path) is not None) == found
