"""Three brokers with the security of a production cluster: TLS everywhere, users by SCRAM, and no right without an ACL.

CLIENTS     SASL_SSL with SCRAM-SHA-512: for tagstream
MUTUAL      SSL with a client's certificate: between the brokers, and for clients with a certificate
CONTROLLER  SSL with a client's certificate: the quorum

Authority and certificates are made on the spot by openssl and live as long as the test.
"""

import os
import secrets
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    UserScramCredentialUpsertion,
)

from tagstream.stream.broker.ports import LOOPBACK, free_ports
from tagstream.stream.broker.probe import Options
from tagstream.stream.kafka.credentials import tls_context
from tagstream.stream.kafka.rights import Operation, Resource, Right
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.security import Security
from tagstream.stream.settings.settings import Settings
from tests.kafka_cluster import KafkaCluster, Node, node_properties
from tests.waiting import HANG_SECONDS

MECHANISM = "SCRAM-SHA-512"
ADMIN = "admin"
BROKER = "broker"


class Authority:
    """A private certificate authority in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        """Make the authority's key and certificate."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.certificate = folder / "ca.pem"
        self._key = folder / "ca.key"
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
            *("-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
            *("-keyout", self._key, "-out", self.certificate),
        )

    def issue(self, name: str, *, address: str | None = None, password: str | None = None) -> tuple[Path, Path]:
        """A certificate with this CN, for this IP address where it is a server's, and its key, encrypted if there is a password."""
        certificate, key, request = (self.folder / f"{name}.{kind}" for kind in ("pem", "key", "csr"))
        _openssl(
            *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", f"/CN={name}"),
            *(["-passout", f"pass:{password}"] if password else ["-nodes"]),
            *("-keyout", key, "-out", request),
        )
        extensions = self.folder / f"{name}.ext"
        lines = ["authorityKeyIdentifier=keyid", "extendedKeyUsage=serverAuth,clientAuth"]
        extensions.write_text("\n".join([*lines, *([f"subjectAltName=IP:{address}"] if address else [])]), encoding="ascii")
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial"),
            *("-days", "2", "-extfile", extensions, "-out", certificate),
        )
        key.chmod(0o600)
        return certificate, key


def _openssl(*words: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, timeout=HANG_SECONDS, check=False)
    assert done.returncode == 0, done.stderr


class SecureCluster(KafkaCluster):
    """The cluster; each broker's certificate is valid for its address alone, so `localhost` is a wrong name."""

    def __init__(self, folder: Path, *, nodes: int = 3, environ: Mapping[str, str] = os.environ) -> None:
        """Make authority and certificates, without starting a process."""
        super().__init__(nodes=nodes, environ=environ, start_timeout_seconds=HANG_SECONDS)
        self.folder = folder
        self.authority = Authority(folder / "authority", "tagstream tests")
        certificate, key = self.authority.issue(BROKER, address=LOOPBACK)
        self._keystore = folder / "authority" / "broker-keystore.pem"
        self._keystore.write_bytes(key.read_bytes() + certificate.read_bytes())
        self._keystore.chmod(0o600)
        self.admin_certificate, self.admin_key = self.authority.issue(ADMIN)
        self._mutual_ports: dict[int, int] = {}

    @property
    def mutual(self) -> str:
        """Addresses of the listener that asks for a certificate."""
        return ",".join(f"{LOOPBACK}:{port}" for port in self._mutual_ports.values())

    def properties(self, node: Node, nodes: Sequence[Node]) -> str:
        """TLS on every listener, users on one, and the authorizer."""
        port = self._mutual_ports[node.number] = free_ports(1)[0]
        mutual = f"MUTUAL://{LOOPBACK}:{port}"
        login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        return node_properties(
            node,
            nodes,
            {
                "listeners": f"CLIENTS://{node.address},{mutual},CONTROLLER://{LOOPBACK}:{node.controller_port}",
                "advertised.listeners": f"CLIENTS://{node.address},{mutual}",
                "listener.security.protocol.map": "CLIENTS:SASL_SSL,MUTUAL:SSL,CONTROLLER:SSL",
                "inter.broker.listener.name": "MUTUAL",
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": self._keystore,
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": self.authority.certificate,
                "listener.name.mutual.ssl.client.auth": "required",
                "listener.name.controller.ssl.client.auth": "required",
                "listener.name.clients.sasl.enabled.mechanisms": MECHANISM,
                f"listener.name.clients.{MECHANISM.lower()}.sasl.jaas.config": login,
                "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/",
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "allow.everyone.if.no.acl.found": "false",
                "super.users": f"User:{BROKER};User:{ADMIN}",
            },
        )

    def probe_address(self, node: Node) -> str:
        """The administrator's listener."""
        return f"{LOOPBACK}:{self._mutual_ports[node.number]}"

    def probe_options(self) -> Options:
        """The administrator's certificate."""
        own = Security(
            protocol="SSL",
            ca_file=self.authority.certificate,
            certificate_file=self.admin_certificate,
            key_file=self.admin_key,
        )
        return {"security_protocol": "SSL", "ssl_context": tls_context(own)}

    def administrator(self) -> KafkaAdminClient:
        """A client that may do everything."""
        return KafkaAdminClient(bootstrap_servers=self.mutual.split(","), **self.probe_options())

    def add_users(self, *names: str) -> dict[str, Path]:
        """Users with a password of their own; the file that each is in."""
        files: dict[str, Path] = {}
        upsertions = []
        for name in names:
            password = secrets.token_urlsafe(18)
            files[name] = self.folder / f"{name}.password"
            files[name].write_text(password + "\n", encoding="ascii")
            files[name].chmod(0o600)
            upsertions.append(UserScramCredentialUpsertion(name, MECHANISM, password))
        with self.administrator() as client:
            answers = client.alter_user_scram_credentials(upsertions)
        assert not any(answers.values()), answers
        return files

    def allow(self, user: str, rights: Sequence[Right]) -> None:
        """Give a user these rights."""
        acls = [
            ACL(f"User:{user}", "*", _operation(operation), ACLPermissionType.ALLOW, _pattern(right))
            for right in rights
            for operation in right.operations
        ]
        with self.administrator() as client:
            answer: dict[str, Any] = client.create_acls(acls)
        assert not answer["failed"], answer

    def forbid(self, user: str, topic: str) -> None:
        """Take away every right of a user on a topic."""
        pattern = ResourcePatternFilter(ResourceType.TOPIC, topic, ACLResourcePatternType.LITERAL)
        with self.administrator() as client:
            client.delete_acls([ACLFilter(f"User:{user}", None, ACLOperation.ANY, ACLPermissionType.ANY, pattern)])

    def environment(self, user: str, password_file: Path) -> dict[str, str]:
        """TAGSTREAM_* with which this user connects."""
        return {
            "TAGSTREAM_BROKERS": self.bootstrap,
            "TAGSTREAM_SECURITY__PROTOCOL": "SASL_SSL",
            "TAGSTREAM_SECURITY__USERNAME": user,
            "TAGSTREAM_SECURITY__PASSWORD_FILE": str(password_file),
            "TAGSTREAM_SECURITY__CA_FILE": str(self.authority.certificate),
        }

    def run_acl_commands(self, lines: Sequence[str], admin_password: str) -> None:
        """Run the printed commands, as they are, in a shell that has Kafka's own `kafka-acls.sh`."""
        folder = self.folder / "administrator"
        folder.mkdir(exist_ok=True)
        (folder / "admin.properties").write_text(
            "security.protocol=SASL_SSL\n"
            f"sasl.mechanism={MECHANISM}\n"
            "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required "
            f'username="{ADMIN}" password="{admin_password}";\n'
            f"ssl.truststore.type=PEM\nssl.truststore.location={self.authority.certificate}\n",
            encoding="ascii",
        )
        program = folder / "kafka-acls.sh"
        words = shlex.join(self._jvm.words("org.apache.kafka.tools.AclCommand"))
        program.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
        environ = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "CLASSPATH": self._jvm.jars.classpath()}
        running = [
            subprocess.Popen(["sh", "-c", line], cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            for line in lines
        ]
        for line, process in zip(lines, running, strict=True):
            output, _ = process.communicate(timeout=HANG_SECONDS)
            assert process.returncode == 0, (line, output.decode())


def _operation(operation: Operation) -> ACLOperation:
    return ACLOperation[operation.value]


def _pattern(right: Right) -> ResourcePattern:
    if right.resource is Resource.TRANSACTIONAL_ID:
        return ResourcePattern(ResourceType.TRANSACTIONAL_ID, right.name, ACLResourcePatternType.PREFIXED)
    kind = ResourceType.TOPIC if right.resource is Resource.TOPIC else ResourceType.GROUP
    return ResourcePattern(kind, right.name)


def settings_of(environ: Mapping[str, str], folder: Path) -> Settings:
    """The settings of an environment, without a file of the developer's."""
    return load(environ, folder=folder).settings
