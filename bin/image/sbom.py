"""What an image holds as a CycloneDX document: `sbom.py PYTHON`, the environment's own; in a build.

The Python packages are found by CycloneDX' own tool; Debian's packages and Spark's jars are added here.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

JAR = re.compile(r"(?P<name>.+?)-(?P<version>\d.*)\.jar")


def of_python(python: str) -> Bom:
    """The packages of an environment."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", python]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return Bom.from_json(json.loads(done.stdout))  # type: ignore[attr-defined, no-any-return]


def of_debian() -> Iterator[Component]:
    """The packages that are installed, as dpkg knows them."""
    system = dict(re.findall(r'^(\w+)="?(.*?)"?$', Path("/etc/os-release").read_text(), re.MULTILINE))
    listing = ["dpkg-query", "--show", "--showformat", "${Package} ${Version} ${Architecture} ${db:Status-Abbrev}\n"]
    done = subprocess.run(listing, check=True, stdout=subprocess.PIPE, text=True)
    for line in done.stdout.splitlines():
        name, version, architecture, status = line.split()
        where = {"arch": architecture, "distro": f"{system['ID']}-{system['VERSION_ID']}"}
        if status == "ii":
            yield library(PackageURL("deb", system["ID"], name, version, where))


def of_java(python: str) -> Iterator[Component]:
    """Spark's jars; the group, where a jar tells it."""
    for jar in sorted(Path(python).parent.parent.glob("lib/python3*/site-packages/pyspark/jars/*.jar")):
        if named := JAR.fullmatch(jar.name):
            yield library(PackageURL("maven", group(jar, named["name"]), named["name"], named["version"]))


def group(jar: Path, name: str) -> str | None:
    """The folder of META-INF/maven above the one of its own name."""
    with zipfile.ZipFile(jar) as archive:
        files = "\n".join(archive.namelist())
    found = re.findall(rf"^META-INF/maven/([^/]+)/{re.escape(name)}/pom\.xml$", files, re.MULTILINE)
    return found[0] if found else None


def library(url: PackageURL) -> Component:
    """A component that is known by its package URL."""
    return Component(
        type=ComponentType.LIBRARY, name=url.name, version=url.version, group=url.namespace, purl=url,
        bom_ref=url.to_string(),
    )  # fmt: skip


def main() -> None:
    """Write it to the standard output."""
    python = sys.argv[1]
    bom = of_python(python)
    own = tomllib.loads(Path(__file__).with_name("pyproject.toml").read_text())["project"]
    bom.metadata.component = Component(type=ComponentType.CONTAINER, name=own["name"], version=own["version"])
    bom.metadata.timestamp = datetime.fromtimestamp(0, UTC)  # the same image has the same list
    for component in (*of_debian(), *of_java(python)):
        bom.components.add(component)
    print(make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1))


if __name__ == "__main__":
    main()
