"""The figures, read by the parser that Prometheus' own client library brings."""

import re

import pytest
import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from conftest import PATIENCE


def scrape(url):
    answer = requests.get(f"{url}/metrics", timeout=PATIENCE)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    samples = {}
    for family in families.values():
        for sample in family.samples:
            samples[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return families, samples


def value(samples, name, **labels):
    return samples.get((name, tuple(sorted(labels.items()))))


@pytest.fixture
def served(installation):
    installation.configure('[metrics]\nlisten = "127.0.0.1:0"\n')
    installation.run("instance", "create", "erp", "--seats", "5")
    server = installation.serve()
    metrics = re.search(r"(127\.0\.0\.1:\d+)", server.ready["metrics"]).group(1)
    return installation, server, f"http://{metrics}"


def test_the_figures_are_on_their_own_address_and_nowhere_else(served):
    _, server, metrics = served
    assert requests.get(f"{server.url}/metrics", timeout=PATIENCE).status_code == 404
    assert requests.get(f"{metrics}/id/account/login", timeout=PATIENCE).status_code == 404
    families, samples = scrape(metrics)
    assert value(samples, "gatehouse_seats_total", instance="erp") == 5
    assert value(samples, "gatehouse_seats_used", instance="erp") == 0
    assert value(samples, "gatehouse_seats_reserved", instance="erp") == 0
    assert families["gatehouse_request_duration_seconds"].type == "histogram"
    for name in ["gatehouse_store_writes_waiting", "gatehouse_passwords_waiting", "gatehouse_store_commits_total"]:
        assert value(samples, name) is not None, name


def test_what_happens_is_counted(served):
    installation, server, metrics = served
    user = installation.json("user", "create", "svc", "--kind", "system")["id"]
    record = installation.folder / "app.json"
    record.write_text(
        '{"ApplicationUri": "sync", "Name": "Sync", "ClientType": "Confidential", "Scope": "read",'
        f' "SystemUserAllowed": true, "SystemUser": "{user}"}}'
    )
    secret = installation.json("app", "create", str(record))["secret"]

    def token(secret):
        form = {"grant_type": "client_credentials", "client_id": "sync", "client_secret": secret}
        return requests.post(f"{server.url}/id/connect/token", data=form, timeout=PATIENCE)

    while token(secret).status_code == 401:
        pass  # the server has not heard of the application yet
    _, before = scrape(metrics)
    answer = token(secret)
    assert token("wrong").status_code == 401
    bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    url = f"{server.url}/api/domain/odata/Crm_Customers?$top=1"
    statuses = [requests.get(url, headers=bearer, timeout=PATIENCE).status_code for _ in range(2)]
    assert len(set(statuses)) == 1
    assert requests.get(url, headers={"Authorization": "Bearer nonsense"}, timeout=PATIENCE).status_code == 401
    page = requests.Session()
    csrf = re.search(r'name="csrf" value="([^"]+)"', page.get(f"{server.url}/id/account/login", timeout=PATIENCE).text)
    tried = {"csrf": csrf.group(1), "login": "nobody", "password": "wrong password"}
    page.post(f"{server.url}/id/account/login", data=tried, timeout=PATIENCE)
    requests.get(f"{server.url}/made-up/by-a-stranger", timeout=PATIENCE)

    families, after = scrape(metrics)

    def more(name, **labels):
        return (value(after, name, **labels) or 0) - (value(before, name, **labels) or 0)

    assert more("gatehouse_tokens_issued_total", instance="erp", grant="client_credentials") == 1
    assert more("gatehouse_tokens_refused_total", instance="erp", cause="wrong_secret") == 1
    assert more("gatehouse_api_sessions_opened_total", instance="erp") == 1
    assert value(after, "gatehouse_seats_used", instance="erp") == 1
    assert more("gatehouse_api_calls_refused_total", instance="erp", cause="token_malformed") == 1
    assert more("gatehouse_sign_ins_total", instance="erp", outcome="unknown_user") == 1
    assert more("gatehouse_request_duration_seconds_count", route="token", status="2xx") == 1
    assert more("gatehouse_request_duration_seconds_count", route="token", status="4xx") == 1
    assert more("gatehouse_request_duration_seconds_count", route="api", status="4xx") >= 1
    assert more("gatehouse_request_duration_seconds_count", route="other", status="4xx") == 1
    assert more("gatehouse_store_commits_total") >= 1
    assert value(after, "gatehouse_store_commit_duration_seconds_count") >= 1
    text = requests.get(f"{metrics}/metrics", timeout=PATIENCE).text
    for secret in ["made-up", "nobody", "nonsense", "sync", "svc"]:
        assert secret not in text, "figures name no person, no app and nothing that a stranger sent"
    for family in families.values():
        assert family.documentation and len(family.samples) < 2000


def test_without_the_section_nothing_listens(installation):
    installation.configure()
    installation.run("instance", "create", "erp")
    server = installation.serve()
    assert server.ready["metrics"] == "[]"
