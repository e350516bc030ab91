"""A mail server that keeps what it is given: aiosmtpd on a free port, with an authority of its own."""

import asyncio
import datetime
import email
import email.policy
import ipaddress
import queue
import re
import ssl
import threading

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PATIENCE = 60


def _write(path, *items):
    path.write_bytes(b"".join(items))
    path.chmod(0o600)
    return path


def authority(folder, names=("localhost",), days=30):
    """A certificate for `names` and the authority that vouches for it: paths of certificate, key and authority."""
    now = datetime.datetime.now(datetime.timezone.utc)

    def build(subject, issuer, key, signer, ca):
        name = lambda text: x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            alternatives = []
            for each in names:
                try:
                    alternatives.append(x509.IPAddress(ipaddress.ip_address(each)))
                except ValueError:
                    alternatives.append(x509.DNSName(each))
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return builder.sign(signer, hashes.SHA256())

    pem = serialization.Encoding.PEM
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = build("Test authority", "Test authority", root_key, root_key, True).public_bytes(pem)
    leaf = build(names[0], "Test authority", key, root_key, False).public_bytes(pem)
    key = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return _write(folder / "leaf.pem", leaf), _write(folder / "leaf.key", key), _write(folder / "authority.pem", root)


def strictly_read(content):
    """A letter as the standards want it; anything else is a failure of the test that waits for it."""
    assert content.count(b"\n") == content.count(b"\r\n") == content.count(b"\r"), "lines end by CRLF (RFC 5321 2.3.8)"
    head = content.split(b"\r\n\r\n", 1)[0]
    assert head.isascii() and all(len(line) <= 78 for line in head.split(b"\r\n")), head
    assert all(len(line) <= 998 for line in content.split(b"\r\n")), "RFC 5322 2.1.1"
    message = email.message_from_bytes(content, policy=email.policy.SMTP + email.policy.strict)
    for name in ["MIME-Version", "Date", "Message-ID", "From", "To", "Subject", "Content-Type", "Content-Transfer-Encoding"]:
        values = message.get_all(name)
        assert len(values) == 1 and not values[0].defects, (name, values)
    assert message["MIME-Version"] == "1.0"
    assert message["Date"].datetime.tzinfo is not None
    assert re.fullmatch(r"<[^<>@\s]+@[^<>@\s]+>", message["Message-ID"])
    assert message.get_content_type() == "text/plain" and message.get_content_charset() == "utf-8"
    assert not message.defects and message.get_content()
    return message


class Sink:
    """`answers`: what to say to the first letters, before those that are taken."""

    def __init__(self, tls=None, implicit=False, login=None, answers=()):
        self.letters = queue.Queue()
        self.answers = list(answers)
        self.tries = 0
        self.login = login
        context = None
        if tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*map(str, tls))
        more = {}
        if login:
            more = {"authenticator": self.authenticate, "auth_required": True, "auth_require_tls": not implicit}
        if context and not implicit:
            more |= {"tls_context": context, "require_starttls": True}
        self.loop = asyncio.new_event_loop()
        started = threading.Event()

        async def listen():
            factory = lambda: SMTP(self, loop=self.loop, hostname="sink", **more)
            self.server = await self.loop.create_server(
                factory, "127.0.0.1", 0, ssl=context if implicit else None
            )
            self.port = self.server.sockets[0].getsockname()[1]
            started.set()

        def run():
            asyncio.set_event_loop(self.loop)
            self.loop.run_until_complete(listen())
            self.loop.run_forever()

        threading.Thread(target=run, daemon=True).start()
        assert started.wait(PATIENCE)

    def authenticate(self, server, session, envelope, mechanism, data):
        right = isinstance(data, LoginPassword) and (data.login.decode(), data.password.decode()) == self.login
        return AuthResult(success=right, handled=False)

    async def handle_DATA(self, server, session, envelope):
        self.tries += 1
        if self.answers:
            return self.answers.pop(0)
        try:
            self.letters.put((envelope, strictly_read(envelope.content)))
        except Exception as unreadable:
            self.letters.put(unreadable)
        return "250 taken"

    def letter(self):
        letter = self.letters.get(timeout=PATIENCE)
        if isinstance(letter, Exception):
            raise letter
        return letter

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
