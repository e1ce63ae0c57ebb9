"""The status page of a real daemon in a real browser; pictures are kept.

They go where CERTROTD_ARTEFACTS says, else into the test's own directory.
"""

import os
import re
import signal
from collections.abc import Iterator
from html import escape
from pathlib import Path

import pytest

from certrotd.daemon.http.assets import style
from certrotd.pki.generation import TargetState
from tests.integration.test_http import get, listen, ready
from tests.parts import Parts, locate
from tests.parts.browser import Browser
from tests.parts.process import wait_until
from tests.parts.site import Site
from tests.unit.daemon.http.page import text
from tests.unit.daemon.http.stand import NOW, PRINT, Stand, generation

DESKTOP, PHONE = (1280, 1100), (500, 1600)
HOSTS = ("git", "wiki", "chat", "vpn", "grafana", "cloud")
FAILING = 'echo "postfix: fatal: no <script>alert(1)</script> here"; exit 1'


@pytest.fixture
def browser() -> Browser:
    """A Chromium."""
    return Browser(locate.require("chromium"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures are kept."""
    kept = os.environ.get("CERTROTD_ARTEFACTS")
    return Path(kept) if kept else tmp_path / "pictures"


@pytest.fixture
def page(parts: Parts, site: Site) -> Iterator[str]:
    """A daemon with all sorts of certificates; the address of its page."""
    locate.require("nginx")
    port = listen(site)
    site.internal(lifetime="90d", backdate="21d", common_name="Example CA")
    site.internal("short", lifetime="6d", backdate="2d")
    site.config["defaults"] = {"issuer": "ca"}
    site.certificate("web", "example.com", "www.example.com", "*.example.com")
    site.certificate("api", "api.example.com", issuer="short")
    nginx = site.serve(parts, {"example.com": "web", "api.example.com": "api"})
    assert nginx.is_running
    site.rotate()
    site.command("postfix", FAILING)
    site.certificate("mail", "mail.example.com", "smtp.example.com", targets=["postfix"])
    site.certificate("old", "old.example.com", enabled=False)
    for host in HOSTS:
        site.certificate(host, f"{host}.example.com", issuer="short" if len(host) == 4 else "ca")
    daemon = site.start("run")
    wait_until(lambda: ready(port))
    wait_until(lambda: get(port, "/status.json").json["failing"] == ["certificate/mail"])
    wait_until(
        lambda: get(port, "/status.json").json["states"]["certificate"]["ok"] == 2 + len(HOSTS)
    )
    yield f"http://127.0.0.1:{port}"
    daemon.signal(signal.SIGTERM)
    ended = daemon.end()
    assert ended.code == 0, ended.stderr


def test_the_page_shows_every_certificate(page: str, browser: Browser, pictures: Path) -> None:
    """As somebody sees it who is called at night: what fails on top, light or dark, any screen."""
    dom = browser.dom(f"{page}/")
    assert "1 of 10 certificates needs attention" in dom
    for name in ("web", "api", "mail", "old", *HOSTS):
        assert f'href="/certificate/{name}"' in dom, name
    assert dom.count('class="life ') == 9  # of all but the disabled one, which has no certificate
    assert dom.index('href="/certificate/mail"') < dom.index('href="/certificate/web"')
    assert 'nginx<span class="sub">ok</span>' in dom
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in dom
    assert "<script" not in dom

    looks = (("desktop", DESKTOP, "light"), ("desktop", DESKTOP, "dark"), ("phone", PHONE, "dark"))
    for where, (width, height), scheme in looks:
        path = pictures / f"status-{where}-{scheme}.png"
        shot = browser.screenshot(f"{page}/", path, width=width, height=height, scheme=scheme)
        assert (shot.width, shot.height) == (width, height)
        assert shot.is_dark == (scheme == "dark"), shot.ground
        assert path.stat().st_size > 20_000  # an empty page is less


def test_a_certificate_has_its_page(page: str, browser: Browser, pictures: Path) -> None:
    """Where a name leads: facts, targets and history."""
    dom = browser.dom(f"{page}/certificate/mail")
    assert "left in place" in dom
    assert "attempts left before it expires" in dom
    assert "<script" not in dom
    for name, scheme in (("mail", "light"), ("web", "dark")):
        path = pictures / f"certificate-{name}-{scheme}.png"
        width, height = DESKTOP
        url = f"{page}/certificate/{name}"
        shot = browser.screenshot(url, path, width=width, height=height, scheme=scheme)
        assert shot.is_dark == (scheme == "dark"), shot.ground


def test_the_form_works_without_a_script(page: str, browser: Browser) -> None:
    """A search and a state are addresses, which can be sent to a colleague."""
    dom = browser.dom(f"{page}/?state=failing&name=smtp")
    assert 'href="/certificate/mail"' in dom
    assert 'href="/certificate/web"' not in dom
    assert "Nothing is like that." in browser.dom(f"{page}/?state=failing&name=web")


def test_seven_certificates_that_are_well_fit_on_two_screens_of_a_phone(
    browser: Browser, tmp_path: Path
) -> None:
    """As wide as phones are; what needs somebody is shown in full."""
    stand = Stand(tmp_path)
    for host in ("web", *HOSTS):
        told = {"nginx": TargetState(3, PRINT, NOW)}
        stand.add(host, f"{host}.test", live=generation(f"{host}.test"), targets=told)
    stand.look()
    well = height(browser, text(stand), tmp_path)
    assert well < 1500
    for host in ("web", *HOSTS):
        stand.past(host, "nobody answers", ended=NOW.isoformat())
    stand.look()
    assert height(browser, text(stand), tmp_path) > well + 600  # the control


def height(browser: Browser, page: str, folder: Path) -> int:
    """How many pixels high a page is on a phone that is 390 wide."""
    sheet, address = style()
    whole = page.replace(f'<link rel="stylesheet" href="{address}">', f"<style>{sheet}</style>")
    measure = "f.onload=()=>{document.title=f.contentDocument.documentElement.scrollHeight}"
    phone = folder / "phone.html"
    phone.write_text(
        f'<title></title><iframe id="f" style="width:390px;height:800px" srcdoc="{escape(whole)}">'
        f"</iframe><script>{measure}</script>"
    )
    found = re.search(r"<title>(\d+)</title>", browser.dom(phone.as_uri()))
    assert found is not None
    return int(found[1])
