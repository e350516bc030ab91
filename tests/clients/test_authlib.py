"""examples/web-app (Flask, Authlib), as it stands, against the running server."""

from urllib.parse import parse_qs, urlsplit

import pytest
from app import BASE, CALLBACK, SIGNED_OUT, create_app
from person import Person


class Visitor:
    """One browser tab: the example's pages through its test client, the server's through `Person`."""

    def __init__(self, app, person):
        self.app = app
        self.person = person
        self.site = app.test_client()

    def get(self, path):
        return self.site.get(path, base_url=BASE)

    def sign_in(self, **more):
        """Answers the redirect that came back to the application, and its response to it."""
        begin = self.get("/sign-in").location + "".join(f"&{name}={value}" for name, value in more.items())
        back = self.person.visit(begin, stop=CALLBACK)
        return back, self.get(back.removeprefix(BASE))

    def token(self):
        (token,) = self.app.tokens.values()
        return token


@pytest.fixture
def visitor(issuer):
    return Visitor(create_app(issuer), Person("alice"))


def test_a_person_signs_in_sees_customers_refreshes_and_signs_out(visitor, root, call_api):
    back, answer = visitor.sign_in()
    assert (answer.status_code, answer.location) == (302, "/")
    assert parse_qs(urlsplit(back).query)["iss"] == [f"{root}/id"]
    home = visitor.get("/").text
    assert "Hello Alice Archer" in home
    assert home.count("<li>Crm_Customers(") == 10

    first = visitor.token()
    assert first["userinfo"]["sub"] == "alice"
    assert first["userinfo"]["aud"] in ("my.trusted.app/first", ["my.trusted.app/first"])
    assert visitor.get("/refresh").location == "/"
    second = visitor.token()
    assert second["access_token"] != first["access_token"]
    assert second["refresh_token"] != first["refresh_token"]
    assert visitor.get("/").text.count("<li>Crm_Customers(") == 10

    end = visitor.person.visit(visitor.get("/sign-out").location, stop=SIGNED_OUT)
    assert "Signed out" in visitor.get(end.removeprefix(BASE)).text
    assert call_api(root, second["access_token"]).status_code == 401
    _, answer = visitor.sign_in(prompt="none")
    assert answer.status_code == 403 and "login_required" in answer.text


def test_a_second_sign_in_asks_nothing_while_the_first_lives(visitor):
    visitor.sign_in()
    asked = list(visitor.person.pages)
    assert asked[0] == "sign-in"
    _, answer = visitor.sign_in()
    assert answer.status_code == 302
    assert visitor.person.pages == asked


def test_a_refused_consent_comes_back_as_access_denied(issuer):
    visitor = Visitor(create_app(issuer), Person("bob", decision="deny"))
    back, answer = visitor.sign_in()
    assert visitor.person.pages == ["sign-in", "consent"]
    assert "code" not in parse_qs(urlsplit(back).query)
    assert answer.status_code == 403 and "access_denied" in answer.text
    assert not visitor.app.tokens


def test_a_community_user_cannot_sign_in_to_an_application_for_internal_users(issuer):
    visitor = Visitor(create_app(issuer), Person("carol"))
    _, answer = visitor.sign_in()
    assert answer.status_code == 403 and "access_denied" in answer.text


def test_a_wrong_secret_is_refused_as_invalid_client(issuer):
    visitor = Visitor(create_app(issuer, client_secret="second-secret"), Person("alice"))
    _, answer = visitor.sign_in()
    assert answer.status_code == 403 and "invalid_client" in answer.text
    assert not visitor.app.tokens


def test_the_instances_do_not_take_each_others_tokens_or_secrets(visitor, root, demodb, call_api):
    visitor.sign_in()
    there = Visitor(create_app(f"{demodb}/id", client_secret="first-secret-demodb"), Person("alice"))
    _, answer = there.sign_in()
    assert answer.status_code == 302
    assert call_api(demodb, there.token()["access_token"]).status_code == 200
    assert call_api(root, there.token()["access_token"]).status_code == 401
    assert call_api(demodb, visitor.token()["access_token"]).status_code == 401

    stranger = Visitor(create_app(f"{demodb}/id", client_secret="first-secret"), Person("alice"))
    _, answer = stranger.sign_in()
    assert answer.status_code == 403 and "invalid_client" in answer.text
