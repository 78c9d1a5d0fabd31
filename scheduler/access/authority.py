"""The cluster's certificate authority: what pods know the API by.

Source: RFC 5280. Keys are on the curve P-256 (ecdsa-with-SHA256, RFC 5758).
"""

# asn1crypto has no types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from secrets import randbits
from tempfile import TemporaryDirectory

from asn1crypto import algos, core, keys, pem, x509
from Crypto.Hash import SHA256
from Crypto.PublicKey import ECC
from Crypto.Signature import DSS

_CURVE = "P-256"
_NAME = "ironfree"
_AUTHORITY_YEARS = 25
_SERVER_DAYS = 365
_BACKDATED = timedelta(days=1)  # clocks of pods may be late


class Authority:
    """Signs certificates of the API.

    Args:
        certificate, key: PEM.
    """

    def __init__(self, certificate: bytes, key: bytes) -> None:
        self.certificate = certificate
        self._key = ECC.import_key(key.decode("ascii"))

    @staticmethod
    def make() -> tuple[bytes, bytes]:
        """Return a new authority's certificate and key (PEM)."""
        key = ECC.generate(curve=_CURVE)
        lasting = timedelta(days=365 * _AUTHORITY_YEARS)
        usage: list[tuple[str, bool, object]] = [
            ("basic_constraints", True, {"ca": True}),
            ("key_usage", True, {"key_cert_sign", "crl_sign", "digital_signature"}),
        ]
        made = _certificate(_NAME, key, key, lasting, usage)
        return made, key.export_key(format="PEM").encode("ascii")

    def serve(self, context: ssl.SSLContext, names: Sequence[str]) -> None:
        """Have a server's context prove to be all of these, for a year from now.

        Args:
            names: host names and addresses.
        """
        key = ECC.generate(curve=_CURVE)
        usage: list[tuple[str, bool, object]] = [
            ("basic_constraints", True, {"ca": False}),
            ("key_usage", True, {"digital_signature"}),
            ("extended_key_usage", False, ["server_auth"]),
            ("subject_alt_name", False, [_alternative(each) for each in names]),
        ]
        made = _certificate(names[0], key, self._key, timedelta(days=_SERVER_DAYS), usage)
        with TemporaryDirectory() as directory:  # OpenSSL takes files only
            path = Path(directory, "server.pem")
            path.touch(0o600)
            path.write_bytes(made + key.export_key(format="PEM").encode("ascii"))
            context.load_cert_chain(path)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.GeneralName("ip_address", str(ip_address(name)))
    except ValueError:
        return x509.GeneralName("dns_name", name)


def _certificate(
    name: str,
    key: ECC.EccKey,
    signer: ECC.EccKey,
    lasting: timedelta,
    extensions: Sequence[tuple[str, bool, object]],
) -> bytes:
    now = datetime.now(UTC).replace(microsecond=0)
    public = _public(key)
    algorithm = algos.SignedDigestAlgorithm({"algorithm": "sha256_ecdsa"})
    identifiers: list[tuple[str, bool, object]] = [
        ("key_identifier", False, core.OctetString(public.sha1)),
        ("authority_key_identifier", False, {"key_identifier": _public(signer).sha1}),
    ]
    unsigned = x509.TbsCertificate(
        {
            "version": "v3",
            "serial_number": randbits(127) + 1,
            "signature": algorithm,
            "issuer": x509.Name.build({"common_name": _NAME}),
            "validity": {
                "not_before": x509.Time("utc_time", now - _BACKDATED),
                "not_after": x509.Time(_form(now + lasting), now + lasting),
            },
            "subject": x509.Name.build({"common_name": name}),
            "subject_public_key_info": public,
            "extensions": [
                x509.Extension({"extn_id": each, "critical": critical, "extn_value": value})
                for each, critical, value in (*extensions, *identifiers)
            ],
        }
    )
    digest = SHA256.new(unsigned.dump())
    signature = DSS.new(signer, "deterministic-rfc6979", encoding="der").sign(digest)
    made = x509.Certificate(
        {
            "tbs_certificate": unsigned,
            "signature_algorithm": algorithm,
            "signature_value": signature,
        }
    )
    return pem.armor("CERTIFICATE", made.dump())


def _public(key: ECC.EccKey) -> keys.PublicKeyInfo:
    return keys.PublicKeyInfo.load(key.public_key().export_key(format="DER"))


def _form(when: datetime) -> str:
    """RFC 5280, 4.1.2.5: UTCTime until 2049, GeneralizedTime from then on."""
    return "utc_time" if when.year < 2050 else "general_time"
