"""The demo under test is already running: `GATEHOUSE_URL` is the root URL of its instance `testdb`."""

import os
import socket
from urllib.parse import urlsplit

import pytest
import requests

resolve = socket.getaddrinfo


def resolve_localhost(host, *rest, **more):
    """RFC 6761 §6.3: every name below `localhost` is this machine, as browsers know and glibc does not."""
    name = host.decode() if isinstance(host, bytes) else host
    return resolve("localhost" if str(name).endswith(".localhost") else host, *rest, **more)


socket.getaddrinfo = resolve_localhost


@pytest.fixture(scope="session")
def root():
    return os.environ["GATEHOUSE_URL"]


@pytest.fixture(scope="session")
def issuer(root):
    return f"{root}/id"


@pytest.fixture(scope="session")
def demodb(root):
    """The root URL of the second instance."""
    return f"http://demodb.localhost:{urlsplit(root).port}"


@pytest.fixture(scope="session")
def call_api():
    def call(root, token):
        return requests.get(
            f"{root}/api/domain/odata/Crm_Customers?$top=10",
            headers={"Authorization": f"Bearer {token}"},
            timeout=10,
        )

    return call
