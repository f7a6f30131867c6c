"""Write the notices of others' code in the executable, and its bill of materials (SPDX 2.3).

Usage: notices.py EXECUTABLE MODULES OUTDIR
    MODULES is the list that bundle.py wrote beside the bundle: modules.txt.
    OUTDIR receives THIRD-PARTY, with the full text of each licence, and sbom.spdx.json.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import components
from components import LGPL, PROJECT, Component

sys.path.insert(0, str(PROJECT))
from runtime import VERSION

HEAD = """\
Software by others in the executable `stele`
============================================

stele itself is under the Apache License 2.0. The executable also contains what is listed here: libraries that are
linked in statically, and Python packages that are embedded. Their notices follow, each under its name.

{lgpl} are under the GNU Lesser General Public License 2.1. You may change them and link stele with them anew:
`make relink-kit` in stele's sources makes the archive of object files, with instructions, for the same build.

"""
PUBLIC_DOMAIN = {
    "licenseId": "LicenseRef-public-domain",
    "extractedText": "liblzma is in the public domain; see the notice of xz-utils in THIRD-PARTY.",
    "name": "public domain",
}
LICENCES = ("Apache-2.0", "LGPL-2.1", "GPL-3")
"""Those that Debian's notices name without their text, from base-files."""


def notices(found: list[Component]) -> str:
    """The text of THIRD-PARTY: a table, the notices, and the licences that Debian's notices only refer to."""
    parts = [HEAD.format(lgpl=" and ".join(LGPL))]
    width = max(len(f"{c.name} {c.version}") for c in found)
    parts += [f"  {f'{c.name} {c.version}':{width}}  {c.licence}\n" for c in found]
    for component in found:
        text = "\n".join(file.read_text(errors="replace") for file in component.notices)
        parts.append(f"\n\n{'=' * 120}\n{component.name} {component.version}\n{'=' * 120}\n\n{text}")
    for name in LICENCES:
        text = Path("/usr/share/common-licenses", name).read_text()
        parts.append(f"\n\n{'=' * 120}\nThe licence {name}\n{'=' * 120}\n\n{text}")
    return "".join(parts)


def sbom(found: list[Component], digest: str, created: int) -> dict[str, Any]:
    """The SPDX document: stele, and what it statically links or contains."""
    packages = [
        {
            "SPDXID": "SPDXRef-stele",
            "name": "stele",
            "versionInfo": VERSION,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False,
            "licenseConcluded": "Apache-2.0",
            "licenseDeclared": "Apache-2.0",
            "copyrightText": "NOASSERTION",
            "checksums": [{"algorithm": "SHA256", "checksumValue": digest}],
            "primaryPackagePurpose": "APPLICATION",
        }
    ]
    relations = [("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-stele")]
    for component in found:
        reference = f"SPDXRef-{component.name}"
        packages.append(
            {
                "SPDXID": reference,
                "name": component.name,
                "versionInfo": component.version,
                "downloadLocation": "NOASSERTION",
                "filesAnalyzed": False,
                "licenseConcluded": component.licence,
                "licenseDeclared": component.licence,
                "copyrightText": "NOASSERTION",
                "externalRefs": [
                    {
                        "referenceCategory": "PACKAGE-MANAGER",
                        "referenceType": "purl",
                        "referenceLocator": component.purl,
                    }
                ],
            }
        )
        relations.append(("SPDXRef-stele", "STATIC_LINK" if component.linked else "CONTAINS", reference))
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"stele-{VERSION}",
        "documentNamespace": f"https://spdx.org/spdxdocs/stele-{VERSION}-{digest}",
        "creationInfo": {
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(created)),
            "creators": ["Tool: stele-build"],
        },
        "packages": packages,
        "hasExtractedLicensingInfos": [PUBLIC_DOMAIN],
        "relationships": [
            {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
            for one, kind, other in relations
        ],
    }


def source_date() -> int:
    """SOURCE_DATE_EPOCH, or the time of the last commit, or 0: not the time of the build, which is never the same."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    command = ["git", "-C", PROJECT, "log", "-1", "--format=%ct"]
    try:
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return 0


def main(argv: list[str]) -> int:
    executable, modules, out = Path(argv[1]), Path(argv[2]), Path(argv[3])
    names = [line.split()[1] for line in modules.read_text().splitlines()]
    found = [*components.linked(), *components.embedded(names)]
    digest = hashlib.sha256(executable.read_bytes()).hexdigest()
    (out / "THIRD-PARTY").write_text(notices(found))
    (out / "sbom.spdx.json").write_text(json.dumps(sbom(found, digest, source_date()), indent=2) + "\n")
    print(f"{out}/THIRD-PARTY and {out}/sbom.spdx.json: {len(found)} components")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
