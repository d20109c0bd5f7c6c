"""A browser of few words, for logging in through a provider: follows redirects, keeps cookies, fills in forms."""

import html.parser
import http.cookiejar
import urllib.error
import urllib.parse
import urllib.request

# A log-in takes fewer pages than this.
MAX_STEPS = 20


class Page(html.parser.HTMLParser):
    """What there is to do on a page: its first form, and its links."""

    def __init__(self, text: str):
        super().__init__()
        self.action, self.method, self.fields, self.links = None, "get", {}, []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        given = dict(attrs)
        if tag == "form" and self.action is None:
            self.action, self.method = given.get("action", ""), given.get("method", "get").lower()
        if tag == "input" and given.get("name"):
            self.fields[given["name"]] = given.get("value") or ""
        # The first button of a form is what a person presses who agrees.
        if tag == "button" and given.get("name"):
            self.fields.setdefault(given["name"], given.get("value") or "")
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


class Browser:
    """One person's browser. `knows` is what they write into fields that they meet."""

    def __init__(self, **knows: str):
        # Loopback is as good as HTTPS, as in other browsers.
        policy = http.cookiejar.DefaultCookiePolicy(secure_protocols=("http", "https"))
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar(policy))
        self.opener = urllib.request.build_opener(_NoRedirect, cookies)
        self.knows = knows

    def _open(self, url: str, data: bytes | None) -> tuple[int, str, str | None]:
        try:
            with self.opener.open(urllib.request.Request(url, data=data), timeout=30) as answer:
                return answer.status, answer.read().decode(), None
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(), error.headers.get("Location")

    def log_in(self, url: str, goal: str) -> str:
        """Goes from page to page until one leads to `goal`; gives where it leads."""
        data = None
        for _ in range(MAX_STEPS):
            status, text, place = self._open(url, data)
            if place is not None and 300 <= status < 400:
                url, data = urllib.parse.urljoin(url, place), None
                if url.startswith(goal):
                    return url
                continue
            assert status == 200, f"{url}: {status} {text}"
            page = Page(text)
            if arrived := [link for link in page.links if link.startswith(goal)]:
                return arrived[0]
            assert page.action is not None, f"{url}: nothing to do here: {text}"
            fields = page.fields | {name: self.knows[name] for name in page.fields if name in self.knows}
            url, data = urllib.parse.urljoin(url, page.action), urllib.parse.urlencode(fields).encode()
        raise AssertionError(f"this log-in has no end: {url}")


def login_token(homeserver: str, provider: str, goal: str, **knows: str) -> str:
    """A login token for a client at `goal`, by way of the page for `provider`."""
    query = urllib.parse.urlencode({"redirectUrl": goal})
    path = f"/_matrix/client/v3/login/sso/redirect/{provider}?{query}"
    place = Browser(**knows).log_in(homeserver + path, goal)
    return urllib.parse.parse_qs(urllib.parse.urlsplit(place).query)["loginToken"][0]
