"""The lab's own certificate authority, made with openssl."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


@dataclass(frozen=True)
class Tls:
    """Paths of PEM files.

    Args:
        ca: the authority's certificate.
        cert: the client's certificate; key: its private key.
        server_cert: the daemons' certificate; server_key: its private key.
    """

    ca: Path
    cert: Path
    key: Path
    server_cert: Path
    server_key: Path


def make(directory: Path, addresses: list[str]) -> Tls:
    """An authority, one server certificate for all `addresses` and one client certificate."""
    directory.mkdir(mode=0o700)
    ca, ca_key = directory / "ca.pem", directory / "ca-key.pem"
    _openssl("req", "-x509", *_EC, "-keyout", ca_key, "-out", ca, "-days", "2", "-subj", "/CN=lab")
    names = ",".join(f"IP:{address}" for address in [*addresses, "127.0.0.1"])
    _sign(directory, "server", f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n")
    _sign(directory, "client", "extendedKeyUsage=clientAuth\n")
    return Tls(
        ca=ca,
        cert=directory / "client.pem",
        key=directory / "client-key.pem",
        server_cert=directory / "server.pem",
        server_key=directory / "server-key.pem",
    )


def _sign(directory: Path, name: str, extensions: str) -> None:
    request, extension_file = directory / f"{name}.csr", directory / f"{name}.ext"
    extension_file.write_text(extensions)
    key = directory / f"{name}-key.pem"
    _openssl("req", "-new", *_EC, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
    authority = ["-CA", directory / "ca.pem", "-CAkey", directory / "ca-key.pem", "-CAcreateserial"]
    result = ["-out", directory / f"{name}.pem", "-days", "2", "-extfile", extension_file]
    _openssl("x509", "-req", "-in", request, *authority, *result)


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
