"""A web application with a server of its own: signs people in and calls the API as them.

Flask and Authlib, with documented settings only. Everything that speaks OAuth is in `create_app`.
"""

import html
import os
import secrets

from authlib.integrations.base_client import OAuthError
from authlib.integrations.flask_client import OAuth
from flask import Flask, redirect, request, session

BASE = "http://localhost:3000"
CALLBACK = f"{BASE}/signin-callback"
SIGNED_OUT = f"{BASE}/signed-out"


def page(text, status=200):
    return f"<!doctype html><title>My app</title><main>{text}</main>", status


def create_app(issuer, client_id="my.trusted.app/first", client_secret="first-secret"):
    """`issuer` is `{root}/id`; the API lives below the same root URL."""
    api = issuer.removesuffix("/id") + "/api/domain/odata/"
    app = Flask(__name__)
    app.secret_key = secrets.token_bytes(32)
    # The browser's cookie carries only a random key: tokens are too long for a cookie, and too valuable.
    app.tokens = {}

    gatehouse = OAuth(app).register(
        "gatehouse",
        server_metadata_url=f"{issuer}/.well-known/openid-configuration",
        client_id=client_id,
        client_secret=client_secret,
        client_kwargs={
            "scope": "openid profile email offline_access read update",
            "code_challenge_method": "S256",
        },
    )

    def token():
        return app.tokens.get(session.get("key"))

    @app.get("/")
    def home():
        if not token():
            return page('<a href="/sign-in">Sign in</a>')
        answer = gatehouse.get(f"{api}Crm_Customers?$top=10", token=token())
        if answer.status_code != 200:
            return page(f"The API answered {answer.status_code}: {html.escape(answer.text)}", 502)
        rows = "".join(f"<li>{html.escape(row['@odata.id'])}</li>" for row in answer.json()["value"])
        name = html.escape(token()["person"]["name"])
        return page(f'Hello {name}<ul>{rows}</ul><a href="/refresh">Refresh</a> <a href="/sign-out">Sign out</a>')

    @app.get("/sign-in")
    def sign_in():
        return gatehouse.authorize_redirect(CALLBACK)

    @app.get("/signin-callback")
    def signed_in():
        try:
            # Checks state, PKCE, and the ID token's signature, issuer, audience, nonce and times.
            fresh = gatehouse.authorize_access_token()
        except OAuthError as refusal:
            return page(f"Not signed in: {html.escape(refusal.error)}", 403)
        # The ID token says who signed in; their name is at the userinfo endpoint.
        person = gatehouse.userinfo(token=fresh)
        if person["sub"] != fresh["userinfo"]["sub"]:
            return page("Not signed in: userinfo is about somebody else", 403)
        session["key"] = secrets.token_urlsafe(32)
        app.tokens[session["key"]] = {**fresh, "person": person}
        return redirect("/")

    @app.get("/refresh")
    def refresh():
        if not token():
            return redirect("/")
        old = token()
        fresh = gatehouse.fetch_access_token(
            grant_type="refresh_token", refresh_token=old["refresh_token"]
        )
        app.tokens[session["key"]] = {**old, **fresh}
        return redirect("/")

    @app.get("/sign-out")
    def sign_out():
        old = app.tokens.pop(session.pop("key", None), None)
        if not old:
            return redirect("/")
        return gatehouse.logout_redirect(
            post_logout_redirect_uri=SIGNED_OUT, id_token_hint=old["id_token"]
        )

    @app.get("/signed-out")
    def signed_out():
        if "state" in request.args:
            gatehouse.validate_logout_response()
        return page('Signed out. <a href="/">Start again</a>')

    return app


if __name__ == "__main__":
    gate = os.environ.get("GATEHOUSE_ISSUER", "http://localhost:8080/id")
    print(f"Open {BASE}/ and sign in at {gate} (demo: alice, ecila-Demo1)")
    create_app(gate).run(host="localhost", port=3000)
