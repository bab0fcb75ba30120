"""A certificate authority of our own, and the certificates that servers show."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAME = "www.example.org"
DAY = datetime.timedelta(days=1)


class Authority:
    """An authority; its files are in *directory*."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of the tests")])
        builder = self._builder(self.name, self.key, 100).add_extension(x509.BasicConstraints(True, None), True)
        self.ca = self._write("ca.pem", builder.sign(self.key, hashes.SHA256()))

    def certificate(self, days: int = 90, names: tuple[str, ...] = (NAME,), loopback: bool = True) -> Path:
        """Return a file with a certificate that ends in *days* days, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        others: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        if loopback:
            others += [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
        builder = self._builder(subject, key, days).add_extension(x509.SubjectAlternativeName(others), False)
        path = self._write(f"{names[0]}-{days}-{loopback}.pem", builder.sign(self.key, hashes.SHA256()))
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(path.read_bytes() + secret)
        return path

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
        # Half a day more, so that it ends in this number of whole days for as long as the tests run.
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 100 * DAY)
            .not_valid_after(now + days * DAY + DAY / 2)
        )

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        path = self.directory / name
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        path.chmod(0o644)
        return path
