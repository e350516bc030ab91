"""A person at a browser without a screen: cookies, redirects and the forms of the sign-in and consent pages."""

from html.parser import HTMLParser
from urllib.parse import urljoin

import requests


def password_of(login):
    """The demo's rule: the login reversed and `-Demo1`."""
    return login[::-1] + "-Demo1"


class Page(HTMLParser):
    """What a page says about itself (`data-page`), and its forms with their hidden fields."""

    def __init__(self, text):
        super().__init__()
        self.kind = None
        self.forms = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "body":
            self.kind = values.get("data-page")
        elif tag == "form":
            self.forms.append((values, {}))
        elif tag == "input" and values.get("type") == "hidden":
            self.forms[-1][1][values["name"]] = values.get("value", "")


class Person:
    def __init__(self, login="alice", decision="allow"):
        self.login = login
        self.decision = decision
        self.pages = []
        self.browser = requests.Session()

    def visit(self, url, stop):
        """Goes to `url`, fills in every form on the way, answers the first address that begins with `stop`."""
        answer = self.browser.get(url, allow_redirects=False, timeout=10)
        for _ in range(20):
            if answer.is_redirect:
                url = urljoin(answer.url, answer.headers["Location"])
                if url.startswith(stop):
                    return url
                answer = self.browser.get(url, allow_redirects=False, timeout=10)
            else:
                answer = self.fill_in(answer)
        raise AssertionError(f"never arrived at {stop}; pages seen: {self.pages}")

    def fill_in(self, answer):
        page = Page(answer.text)
        self.pages.append(page.kind)
        fields = {
            "sign-in": {"login": self.login, "password": password_of(self.login)},
            "consent": {"decision": self.decision},
        }.get(page.kind)
        assert fields and self.pages.count(page.kind) == 1, f"{answer.status_code} {self.pages}: {answer.text}"
        form, hidden = page.forms[0]
        assert form["method"].lower() == "post"
        action = urljoin(answer.url, form.get("action", ""))
        return self.browser.post(action, data={**hidden, **fields}, allow_redirects=False, timeout=10)
