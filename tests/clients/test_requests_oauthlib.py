"""examples/service-python (requests-oauthlib), as it stands, against the running server."""

import os
import pathlib
import subprocess
import sys

import pytest
import service
from oauthlib.oauth2 import InvalidClientError, UnauthorizedClientError

PROGRAM = pathlib.Path(service.__file__)


def test_a_service_gets_a_token_and_calls_the_api(root, issuer):
    api = service.connect(issuer)
    assert set(api.token["scope"]) == {"read", "update"}
    assert "refresh_token" not in api.token and "id_token" not in api.token
    assert len(service.first_customers(api, root)) == 10


def test_the_program_runs_as_its_readme_says(issuer):
    done = subprocess.run(
        [sys.executable, PROGRAM],
        env={**os.environ, "GATEHOUSE_ISSUER": issuer},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Crm_Customers(") == 10


@pytest.mark.parametrize(
    ("client_id", "secret", "refusal"),
    [
        ("my.trusted.app/service", "wrong-secret", InvalidClientError),
        ("my.trusted.app/nobody", "service-secret", InvalidClientError),
        ("my.trusted.app/off", "off-secret", InvalidClientError),
        ("my.trusted.app/first", "first-secret", UnauthorizedClientError),
    ],
)
def test_every_other_application_is_refused(issuer, client_id, secret, refusal):
    with pytest.raises(refusal):
        service.connect(issuer, client_id, secret)
