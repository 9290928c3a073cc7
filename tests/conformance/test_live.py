"""The live page: its events, what it tells of a version, and the page itself in headless Chromium."""

import http.client
import json
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

from support import models
from support.calls import features
from support.http import Http, infer, tensor
from support.server import serving

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

ONE = infer(tensor("features", features(1)))
ASSETS = ["/", "/live/live.css", "/live/live.js", "/live/figures.js", "/live/about.js", "/live/document.js"]

needs_chromium = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="needs Debian's packages chromium and chromium-driver",
)


@contextmanager
def events(port: int, **headers: str) -> Iterator[http.client.HTTPResponse]:
    """The stream, open."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/live/events", headers=headers)
        yield connection.getresponse()
    finally:
        connection.close()


def snapshot(stream: http.client.HTTPResponse) -> Any:
    """The next one."""
    line = stream.readline()
    assert line.startswith(b"data: ")
    assert stream.readline() == b"\n"
    return json.loads(line[6:])


def test_events_tell_what_was_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "skylane.server")
    models.linear(tmp_path)
    with (
        serving(tmp_path, http_port=0) as running,
        Http(running.http_port) as http,
        events(running.http_port) as stream,
    ):
        assert stream.headers["content-type"].startswith("text/event-stream")
        first = snapshot(stream)
        assert http.post("/v2/models/linear/infer", ONE).status == 200
        second = snapshot(stream)
    assert first["ready"]
    (before,), (after,) = first["figures"]["versions"], second["figures"]["versions"]
    assert before["states"] == {"ready": 1}
    assert before["outcomes"] == []
    assert after["outcomes"] == [{"protocol": "oip_http", "error": "", "requests": 1}]
    assert any("linear/1 ready" in event["text"] for event in first["figures"]["events"])
    assert len(after["total"]["buckets"]) == len(first["bounds_s"]) + 1


def test_a_page_that_is_open_does_not_hold_up_draining(tmp_path: Path) -> None:
    models.linear(tmp_path)
    with serving(tmp_path, http_port=0, grace_s=300.0) as running:
        port, ended = running.http_port, threading.Event()

        def follow() -> None:
            with events(port) as stream:
                snapshot(stream)
                opened.set()
                stream.read()
                ended.set()

        opened = threading.Event()
        threading.Thread(target=follow).start()
        assert opened.wait(60)
    assert ended.wait(60)


def test_it_loads_nothing_from_elsewhere_and_runs_no_script_but_ours(http: Http) -> None:
    for path in ASSETS:
        http.send("GET", path)
        answer = http.answer()
        assert answer.status == 200
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert b"https://" not in answer.body
        assert answer.body.replace(b"http://www.w3.org/2000/svg", b"").count(b"http://") == 0


def links(page: str) -> list[tuple[str, str]]:
    """(URL, text) of each link in the page's header, as a browser reads them."""
    (nav,) = re.findall("<nav>(.*?)</nav>", page)
    return [(element.attrib["href"], element.text or "") for element in ElementTree.fromstring(f"<nav>{nav}</nav>")]


@pytest.mark.parametrize(
    ("url", "tab"),
    [
        pytest.param(None, [], id="not configured"),
        pytest.param("http://127.0.0.1:8600/", [("http://127.0.0.1:8600/", "Monitor")], id="on this machine"),
        pytest.param(
            """https://ops.example/?a=1&lt=2"><script>'x'</script>""",
            [("""https://ops.example/?a=1&lt=2"><script>'x'</script>""", "Monitor")],
            id="characters that mean something in HTML are escaped",
        ),
    ],
)
def test_the_page_has_a_tab_for_the_monitor_if_its_url_is_configured(
    tmp_path: Path, url: str | None, tab: list[tuple[str, str]]
) -> None:
    with serving(tmp_path, http_port=0, monitor_url=url) as running, Http(running.http_port) as http:
        http.send("GET", "/")
        answer = http.answer()
    page = answer.body.decode()
    assert links(page) == [("/docs", "API"), ("/metrics", "Metrics"), *tab]
    assert "<script>'x'" not in page
    assert "connect-src 'self'" in answer.headers["content-security-policy"]


def test_what_it_tells_of_a_version_is_the_manifest_without_the_profile(http: Http) -> None:
    http.send("GET", "/live/models/mixed/1")
    told = http.answer().json
    assert (told["model"], told["version"]) == ("mixed", 1)
    assert "profile" not in told


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/live/models/nobody/1", 404, id="no such model"),
        pytest.param("/live/models/linear/9", 404, id="no such version"),
        pytest.param("/live/models/linear/x", 400, id="no version"),
        pytest.param("/live/nothing.js", 404, id="no such file"),
        pytest.param("/live/..%2flive.py", 404, id="no way out of the folder"),
    ],
)
def test_what_is_not_there(http: Http, path: str, status: int) -> None:
    http.send("GET", path)
    assert http.answer().status == status


@contextmanager
def chromium(width: int) -> Iterator["Chrome"]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        yield browser
    finally:
        browser.quit()


@pytest.mark.slow
@needs_chromium
def test_a_model_is_tried_by_keyboard_alone_as_wide_as_a_phone(tmp_path: Path) -> None:
    pytest.importorskip("selenium", reason="needs selenium, of the dev extra")
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    models.mixed(tmp_path)
    with serving(tmp_path, http_port=0) as running, chromium(390) as browser:
        soon = WebDriverWait(browser, 60)
        browser.get(f"http://127.0.0.1:{running.http_port}/")
        soon.until(lambda page: page.find_element(By.ID, "state").text == "ready")
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        for _ in range(9):  # links, the table, its button
            browser.switch_to.active_element.send_keys(Keys.TAB)
            if browser.switch_to.active_element.get_attribute("data-version") == "mixed/1":
                break
        browser.switch_to.active_element.send_keys(Keys.ENTER)
        soon.until(lambda page: page.find_elements(By.CSS_SELECTOR, "#about form"))
        while browser.switch_to.active_element.text != "Predict":
            browser.switch_to.active_element.send_keys(Keys.TAB)
        browser.switch_to.active_element.send_keys(Keys.ENTER)
        soon.until(lambda page: "way to the browser" in page.find_element(By.CSS_SELECTOR, "#about form").text)
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        soon.until(lambda page: "v1_http" in page.find_element(By.ID, "endings").text)
        page: Any = browser  # selenium leaves this method untyped
        assert page.get_log("browser") == []


@pytest.mark.slow
@needs_chromium
def test_what_is_wrong_can_be_seen(tmp_path: Path) -> None:
    """A version that is not served and why; requests that no model was asked for; a server that has gone."""
    pytest.importorskip("selenium", reason="needs selenium, of the dev extra")
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    models.linear(tmp_path)
    broken = tmp_path / "linear" / "2"
    shutil.copytree(tmp_path / "linear" / "1", broken)
    (broken / "model.onnx").write_bytes(b"nonsense")
    with chromium(1200) as browser:
        soon = WebDriverWait(browser, 60)

        def read(id_: str) -> str:
            return str(browser.find_element(By.ID, id_).text)

        with serving(tmp_path, http_port=0) as running, Http(running.http_port) as http:
            browser.get(f"http://127.0.0.1:{running.http_port}/")
            soon.until(lambda _: "linear/2 failed" in read("models"))
            assert "model.onnx: " in read("models")
            assert http.post("/v2/models/nobody/infer", ONE).status == 404
            soon.until(lambda _: "Errors\n100 %" in read("tiles"))
            assert "Our faults\n0 %" in read("tiles")
            assert "oip_http NOT_FOUND ModelNotFound 1" in read("endings")
        soon.until(lambda _: "the server does not answer; what you see is of " in read("state"))
        assert browser.find_element(By.TAG_NAME, "body").get_attribute("class") == "stale"


@pytest.mark.slow
@needs_chromium
def test_percentiles_are_those_of_prometheus(tmp_path: Path) -> None:
    pytest.importorskip("selenium", reason="needs selenium, of the dev extra")
    models.linear(tmp_path)
    with serving(tmp_path, http_port=0) as running, chromium(1200) as browser:
        browser.get(f"http://127.0.0.1:{running.http_port}/")
        found = browser.execute_async_script(
            """const done = arguments[0];
            import("/live/figures.js").then(({ percentile }) => {
              const bounds = [1, 2, 4], of = buckets => percentile({ buckets }, bounds, .5);
              done([of([0, 0, 0, 0]), of([2, 0, 0, 0]), of([0, 4, 0, 0]), of([1, 1, 2, 0]), of([0, 0, 0, 3])]);
            });"""
        )
    assert found == [None, 0.5, 1.5, 2, 4]
