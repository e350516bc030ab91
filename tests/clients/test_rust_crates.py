"""examples/console (crate openidconnect) and examples/service (crate oauth2), as built, against the running server."""

import os
import pathlib
import re
import subprocess

import pytest
import requests
from person import Person

BUILT = pathlib.Path(os.environ["GATEHOUSE_EXAMPLES"])


@pytest.fixture
def console(issuer):
    """The running program and the address it asks to open."""
    program = subprocess.Popen(
        [BUILT / "example-console", issuer], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert program.stdout.readline() == "Open this in your browser:\n", program.stderr.read()
        yield program, program.stdout.readline().strip()
    finally:
        program.kill()
        program.communicate()


def test_a_console_app_signs_in_over_loopback_refreshes_and_calls_the_api(console):
    program, address = console
    back = Person("alice").visit(address, stop="http://127.0.0.1:")
    assert re.match(r"http://127\.0\.0\.1:\d+/callback\?", back)
    assert "close this window" in requests.get(back, timeout=10).text
    output, errors = program.communicate(timeout=30)
    assert program.returncode == 0, errors
    lines = output.splitlines()
    assert lines[:2] == ["Signed in as alice", "Refreshed"]
    assert sum(line.startswith("Crm_Customers(") for line in lines) == 10


def test_a_console_app_hears_that_consent_was_refused(console):
    program, address = console
    back = Person("bob", decision="deny").visit(address, stop="http://127.0.0.1:")
    requests.get(back, timeout=10)
    _, errors = program.communicate(timeout=30)
    assert program.returncode != 0
    assert "access_denied" in errors


def test_a_service_gets_a_token_and_calls_the_api(issuer):
    done = subprocess.run([BUILT / "example-service", issuer], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Crm_Customers(") == 10
