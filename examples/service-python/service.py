"""A service: no person signs in, the application acts as its System User.

requests-oauthlib with documented settings only.
"""

import os

from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth2Session


def connect(issuer, client_id="my.trusted.app/service", client_secret="service-secret"):
    """Fetches a token and answers a session that sends it with every request."""
    if issuer.startswith("http://localhost"):
        os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # the demo on this machine; https everywhere else
    api = OAuth2Session(client=BackendApplicationClient(client_id, scope=["read", "update"]))
    metadata = api.get(
        f"{issuer}/.well-known/openid-configuration", withhold_token=True, timeout=10
    ).json()
    api.fetch_token(
        metadata["token_endpoint"],
        client_id=client_id,
        client_secret=client_secret,
        timeout=10,
    )
    return api


def first_customers(api, root):
    answer = api.get(f"{root}/api/domain/odata/Crm_Customers?$top=10", timeout=10)
    answer.raise_for_status()
    return answer.json()["value"]


if __name__ == "__main__":
    gate = os.environ.get("GATEHOUSE_ISSUER", "http://localhost:8080/id")
    service = connect(gate)
    print(f"Token for the scopes {' '.join(service.token['scope'])}, {service.token['expires_in']} s")
    for customer in first_customers(service, gate.removesuffix("/id")):
        print(customer["@odata.id"])
