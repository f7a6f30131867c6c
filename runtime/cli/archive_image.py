"""Images that are named by a file or folder, wherever a command takes an image: oci:DIR and the like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.errors import UsageError
from runtime.images import references
from runtime.images.platforms import Platform, host_platform
from runtime.images.store.find import Image
from runtime.images.store.store import ImageStore

if TYPE_CHECKING:
    from runtime.images.archive.load import Imported
    from runtime.images.registry.pull import Pulled

TRANSPORTS = tuple(f"{transport}:" for transport in references.TRANSPORTS)


def image_at(store: ImageStore, text: str, signature_policy: str, platform: Platform | None = None) -> Image:
    """Return the image of a file or folder (oci:DIR and the like), which is imported without a name."""
    from runtime.images.archive.load import import_images
    from runtime.images.policy import policy
    from runtime.images.progress import to_stderr
    from runtime.images.references import parse_archive

    place = parse_archive(text)
    assert place is not None
    store.check_writable()
    progress = to_stderr(quiet=True)
    try:
        rules = policy.load(signature_policy)
        found = import_images(store, place, "", platform or host_platform(), progress, rules, named=False)
    finally:
        progress.close()
    if len({image.descriptor.digest for image in found}) != 1:
        raise UsageError(
            f'image "{text}" has {len(found)} images; name one of them: {", ".join(i.name for i in found)}'
        )
    return as_it_came(store, str(place), found[0])


def as_it_came(store: ImageStore, name: str, new: Imported | Pulled) -> Image:
    """Return the new image by digest, as its name may refer to another image by now."""
    return Image(name, new.descriptor.digest, new.manifest, store.config(new.manifest))
