"""A throw-away certificate authority, so that `https://github.com` can be answered on the loopback interface."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True)
class Certificates:
    """Server key and certificate, and the bundle (system + test authority) that clients are told to trust."""

    key: Path
    certificate: Path
    bundle: Path


def issue(folder: Path, hosts: tuple[str, ...]) -> Certificates:
    """Issue one certificate for all `hosts`, signed by an authority whose key is thrown away with `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    authority, authority_key = folder / "ca.pem", folder / "ca.key"
    certificate, key, request = folder / "server.pem", folder / "server.key", folder / "server.csr"
    extensions = folder / "server.ext"
    extensions.write_text(
        "subjectAltName=" + ",".join(f"DNS:{host}" for host in hosts) + "\nbasicConstraints=CA:FALSE\n"
    )
    elliptic = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-batch"]
    _openssl(
        "req", "-x509", *elliptic, "-keyout", authority_key, "-out", authority, "-days", "2", "-subj", "/CN=stand-in CA"
    )
    _openssl("req", *elliptic, "-keyout", key, "-out", request, "-subj", f"/CN={hosts[0]}")
    _openssl("x509", "-req", "-in", request, "-CA", authority, "-CAkey", authority_key, "-CAcreateserial",
             "-out", certificate, "-days", "2", "-extfile", extensions)  # fmt: skip
    bundle = folder / "bundle.pem"
    known = SYSTEM_BUNDLE.read_text() if SYSTEM_BUNDLE.exists() else ""
    bundle.write_text(known + "\n" + authority.read_text())
    return Certificates(key, certificate, bundle)


def _openssl(*arguments: str | Path) -> None:
    executable = shutil.which("openssl") or "openssl"
    subprocess.run([executable, *map(str, arguments)], check=True, capture_output=True)
