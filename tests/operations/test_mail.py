"""Letters to people, through a real mail server: STARTTLS, TLS, passwords, and servers that say no."""

import base64
import hashlib
import hmac
import json
import re
import struct
import time

import pytest
import requests

from smtp_sink import Sink, authority

LOGIN = ("gate", "pässword with blanks")
LINK = re.compile(r"http://erp\.localhost:8080(/id/account/\S+)")


@pytest.fixture
def sinks():
    made = []

    def make(**more):
        made.append(Sink(**more))
        return made[-1]

    yield make
    for sink in made:
        sink.close()


def mail(sink, more=""):
    return f'[mail]\nhost = "localhost"\nport = {sink.port}\nfrom = "Gatehouse <no-reply@erp.example>"\n{more}\n'


PASSWORD = 'username = "gate"\npassword = { file = "smtp.password" }\n'


def post(session, url, path, fields):
    """Sends the form of a page."""
    page = session.get(f"{url}{path}", timeout=30)
    assert page.status_code == 200, page.text
    csrf = re.search(r'name="csrf" value="([^"]+)"', page.text).group(1)
    return session.post(f"{url}{path.split('?')[0]}", data={"csrf": csrf, **fields}, timeout=30)


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "tls"])
def test_an_invitation_and_a_forgotten_password_reach_their_person(installation, sinks, tmp_path, implicit):
    leaf, key, root = authority(tmp_path)
    sink = sinks(tls=(leaf, key), implicit=implicit, login=LOGIN)
    installation.secret("smtp.password", LOGIN[1] + "\n")
    security = 'tls = "tls"\n' if implicit else ""
    installation.configure(mail(sink, f'{security}authority = "{root}"\n{PASSWORD}'))
    installation.run("instance", "create", "erp")

    said = installation.json("user", "create", "eve", "--email", "eve@example.com", "--name", "Eve Ünger", "--invite")
    assert said["link"].get("url") is None and said["link"]["mailedTo"] == "eve@example.com"
    envelope, letter = sink.letter()
    assert envelope.rcpt_tos == ["eve@example.com"] and envelope.mail_from == "no-reply@erp.example"
    assert letter["From"] == "Gatehouse <no-reply@erp.example>" and letter["To"] == "eve@example.com"
    assert letter["Auto-Submitted"] == "auto-generated" and letter["Date"] and letter["Message-ID"]
    text = letter.get_content()
    assert "Hello Eve Ünger," in text
    link = LINK.search(text).group(1)

    server = installation.serve()
    browser = requests.Session()
    chosen = {"code": link.split("=")[1], "password": "correct horse battery", "repeat": "correct horse battery"}
    assert 'data-page="set-up-done"' in post(browser, server.url, link, chosen).text
    assert browser.get(f"{server.url}{link}", timeout=30).status_code == 410

    asked = post(browser, server.url, "/id/account/forgotten", {"login": "eve@example.com"})
    assert 'data-page="forgotten-sent"' in asked.text
    _, letter = sink.letter()
    link = LINK.search(letter.get_content()).group(1)
    chosen = {"code": link.split("=")[1], "password": "another horse battery", "repeat": "another horse battery"}
    assert 'data-page="set-up-done"' in post(browser, server.url, link, chosen).text
    _, letter = sink.letter()
    assert "was changed" in letter["Subject"]
    signed_in = post(browser, server.url, "/id/account/login", {"login": "eve", "password": chosen["password"]})
    assert 'data-page="account"' in signed_in.text
    log = server.stop()
    for secret in [chosen["code"], chosen["password"], LOGIN[1], "eve@example.com"]:
        assert secret not in log


def code_of(secret):
    """RFC 6238, of now."""
    key = base64.b32decode(secret.replace(" ", ""))
    digest = hmac.new(key, struct.pack(">Q", int(time.time()) // 30), hashlib.sha1).digest()
    place = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[place:place + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


@pytest.mark.parametrize("language", ["en", "de", "bg"])
def test_letters_of_every_kind_are_read_by_a_strict_parser(installation, sinks, language):
    """The sink reads every letter of these tests so; here each kind comes by, to people with long names."""
    sink = sinks()
    installation.configure(mail(sink, 'tls = "none"'))
    made = installation.json("instance", "create", "erp")
    name = "Евдокия-Елисавета " * 6 + "Ünger"
    installation.run("user", "create", "eve", "--email", "eve@example.com", "--name", name, "--invite")
    subjects = []

    def letter(to):
        envelope, read = sink.letter()
        assert envelope.rcpt_tos == [to], read["Subject"]
        subjects.append(read["Subject"])
        return read.get_content()

    set_up = LINK.search(letter("eve@example.com")).group(1)
    installation.run("user", "set", "eve", "--language", language)
    installation.run("user", "set", "admin", "--email", "admin@example.com", "--language", language)
    record = {
        "ApplicationUri": "scripts", "Name": "Scripts", "ClientType": "Confidential", "Scope": "read",
        "SystemUserAllowed": True, "SystemUser": installation.json("user", "show", "admin")["id"],
        "AccessTokens": "AuthenticatedUsers",
    }
    (installation.folder / "app.json").write_text(json.dumps(record))
    installation.run("app", "create", str(installation.folder / "app.json"))
    token = installation.json("token", "issue", "scripts", "--user", "eve", "--scope", "read", "--description", "ночен")
    assert token["value"] not in letter("eve@example.com")

    server = installation.serve()
    eve, admin = requests.Session(), requests.Session()

    def choose(session, link, password):
        fields = {"code": link.split("=")[1], "password": password, "repeat": password}
        assert 'data-page="set-up-done"' in post(session, server.url, link, fields).text

    choose(eve, set_up, "lantern-otter-quill")
    post(eve, server.url, "/id/account/forgotten", {"login": "eve"})
    choose(eve, LINK.search(letter("eve@example.com")).group(1), "quill-lantern-otter")
    letter("eve@example.com")  # a new password
    post(eve, server.url, "/id/account/login", {"login": "eve", "password": "quill-lantern-otter"})
    assert post(eve, server.url, "/profile/email", {"email": "eve@new.example"}).status_code == 200
    letter("eve@new.example")
    letter("eve@example.com")
    page = eve.get(f"{server.url}/profile/two-step/app", timeout=30).text
    field = lambda pattern: re.search(pattern, page).group(1)
    fields = {
        "csrf": field(r'name="csrf" value="([^"]+)"'), "offer": field(r'name="offer" value="([^"]+)"'),
        "code": code_of(field(r'id="secret">([^<]+)<')), "password": "quill-lantern-otter",
    }
    eve.post(f"{server.url}/profile/two-step/app", data=fields, timeout=30)
    letter("eve@example.com")
    requests.post(f"{server.url}/id/tokens/leaked", data={"token": token["value"]}, timeout=30)
    letter("eve@example.com")

    choose(admin, made["link"]["url"].split(":8080")[1], "harbour-candle-moss")
    post(admin, server.url, "/id/account/login", {"login": "admin", "password": "harbour-candle-moss"})
    wish = {"do": "issue", "uri": "scripts", "description": "робот", "scope": "read"}
    assert post(admin, server.url, "/manage/tokens", wish).status_code == 201
    letter("admin@example.com")
    assert len(set(subjects)) == len(subjects) == 9, subjects
    server.stop()


def test_a_letter_is_tried_again_when_the_server_asks_for_patience(installation, sinks):
    sink = sinks(answers=["451 greylisted, come back"])
    installation.configure(mail(sink, 'tls = "none"'))
    installation.run("instance", "create", "erp")
    installation.run("user", "create", "eve", "--email", "eve@example.com")
    installation.json("user", "reset-link", "eve")
    server = installation.serve()
    post(requests.Session(), server.url, "/id/account/forgotten", {"login": "eve"})
    assert "451" in server.logged("a letter is not sent yet")["undelivered"]
    sink.letter()
    assert sink.tries == 2
    server.stop()


def test_a_letter_that_is_refused_for_good_is_given_up_and_told(installation, sinks):
    sink = sinks(answers=["550 no such user <eve@example.com>"])
    installation.configure(mail(sink, 'tls = "none"'))
    installation.run("instance", "create", "erp")
    installation.run("user", "create", "eve", "--email", "eve@example.com")
    server = installation.serve()
    post(requests.Session(), server.url, "/id/account/forgotten", {"login": "eve"})
    assert "550" in server.logged("a letter is not sent")["undelivered"]
    assert "eve@example.com" not in server.stop()
    assert sink.tries == 1


def test_where_no_mail_goes_the_administrator_is_shown_the_link(installation, sinks, tmp_path):
    leaf, key, _ = authority(tmp_path)
    sink = sinks(tls=(leaf, key))
    create = ("user", "create", "eve", "--email", "eve@example.com", "--invite", "--json")
    # An authority that nobody trusts, a server without STARTTLS: nothing is sent past them.
    for other, more in [(sink, ""), (sinks(), "")]:
        installation.configure(mail(other, more))
        if not (installation.folder / "house.db").exists():
            installation.run("instance", "create", "erp")
            done = installation.run(*create)
        else:
            done = installation.run("user", "invite", "eve", "--json")
        assert "warning: e-mail not sent" in done.stderr
        assert "/id/account/set-up?code=" in done.stdout
        assert other.tries == 0
    installation.configure()
    assert "/id/account/set-up?code=" in installation.json("user", "invite", "eve")["url"]
    assert "/id/account/reset-password?code=" in installation.json("user", "reset-link", "eve")["url"]
    refused = installation.run("user", "reset-link", "nobody", code=1)
    assert "nobody" in refused.stderr


def test_a_wrong_password_for_the_mail_server_is_told_and_never_shown(installation, sinks, tmp_path):
    leaf, key, root = authority(tmp_path)
    sink = sinks(tls=(leaf, key), login=LOGIN)
    installation.secret("smtp.password", "wrong-password")
    installation.configure(mail(sink, f'authority = "{root}"\n{PASSWORD}'))
    installation.run("instance", "create", "erp")
    done = installation.run("user", "create", "eve", "--email", "eve@example.com", "--invite")
    assert "535" in done.stderr and "wrong-password" not in done.stderr
    assert "/id/account/set-up?code=" in done.stdout
