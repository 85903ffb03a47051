"""A cluster's own authority, and certificates and kubeconfigs from it."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tradewind.dev.files import write_private


class Authority:
    """It signs for a few days; its key never leaves this object."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip
        certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = self._write("ca.crt", certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, file: str, name: str, groups: Iterable[str] = (), hosts: Iterable[str] = ()) -> tuple[Path, Path]:
        """A certificate and its key, for a client and, with hosts, for a server."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, name)])
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        builder = self._builder(subject, key.public_key()).add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        if found := [_general(host) for host in hosts]:
            builder = builder.add_extension(x509.SubjectAlternativeName(found), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        return self._write(f"{file}.crt", certificate), private_key(self.folder / f"{file}.key", key)

    def kubeconfig(self, file: str, server: str, name: str, groups: Iterable[str] = ()) -> Path:
        """How a client of that name and these groups reaches a server."""
        certificate, key = self.issue(file, name, groups)
        body = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority": str(self.certificate)}}],
            "users": [{"name": "u", "user": {"client-certificate": str(certificate), "client-key": str(key)}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "c",
        }
        path = self.folder / f"{file}.kubeconfig"
        write_private(path, json.dumps(body, indent=1))
        return path

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=7))
        )

    def _write(self, name: str, content: bytes) -> Path:
        write_private(self.folder / name, content.decode())
        return self.folder / name


def private_key(path: Path, key: ec.EllipticCurvePrivateKey | None = None) -> Path:
    """A key as a file of mode 0600."""
    made = key or ec.generate_private_key(ec.SECP256R1())
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    write_private(path, made.private_bytes(serialization.Encoding.PEM, form, plain).decode())
    return path


def public_key(private: Path, path: Path) -> Path:
    """The public half of a key."""
    key = serialization.load_pem_private_key(private.read_bytes(), None).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    write_private(path, key.public_bytes(serialization.Encoding.PEM, form).decode())
    return path


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
