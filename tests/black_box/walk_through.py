"""A person makes a token in Swagger UI, click by click, as the seed of `tenant-tokens` tells them to: in a Chromium without a
window, driven over WebDriver (W3C) with nothing but the standard library.

usage: walk_through.py KEYWARD
"""

import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from running_keyward import PATIENCE, Keyward, access_token, call

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
BODY = '{ "name": "my-api-token", "expiry_date": "2099-12-31T23:59:59Z" }'


class Browser:
    def __init__(self, insecure=False):
        """`insecure`: it believes every certificate."""
        self.insecure = insecure

    def __enter__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.driver = subprocess.Popen(
            ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.base = f"http://127.0.0.1:{port}"
        # Without the sandbox, which root does not get and which containers often cannot have: it
        # sees this keyward's page alone.
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1300,2000"]
        # The browser's own talk with its maker is not the page's.
        arguments += ["--disable-background-networking", "--disable-component-update", "--no-first-run"]
        capabilities = {
            "browserName": "chrome",
            "acceptInsecureCerts": self.insecure,
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"},
        }
        until("chromedriver", lambda: self.ask("GET", "/status")["ready"])
        session = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self.base += "/session/" + session["sessionId"]
        return self

    def __exit__(self, *_):
        try:
            self.ask("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait(PATIENCE)

    def ask(self, method, path, body=None):
        data = json.dumps(body or {}).encode() if method == "POST" else None
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise LookupError(error.read().decode()) from None

    def open(self, url):
        self.ask("POST", "/url", {"url": url})

    def element(self, xpath):
        """The one element that is meant, once it is there and can be seen."""
        def visible():
            found = self.ask("POST", "/elements", {"using": "xpath", "value": xpath})
            shown = [one[ELEMENT] for one in found if self.ask("GET", f"/element/{one[ELEMENT]}/displayed")]
            return shown[0] if len(shown) == 1 else None
        return until(xpath, visible)

    def click(self, xpath):
        """As with a mouse: an element that is covered by another cannot be clicked."""
        self.ask("POST", f"/element/{self.element(xpath)}/click")

    def write(self, xpath, text):
        element = self.element(xpath)
        # Whatever is there is marked and written over.
        control_a = "\ue009a\ue000"
        self.ask("POST", f"/element/{element}/value", {"text": control_a + text})

    def text(self, xpath):
        return self.ask("GET", f"/element/{self.element(xpath)}/text")

    def log(self, kind):
        return self.ask("POST", "/se/log", {"type": kind})


def until(what, look):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if found := look():
                return found
        except (OSError, LookupError) as fault:
            last = fault
        else:
            last = "nothing, or more than one"
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited too long for {what}: {last}")
        time.sleep(0.05)


def walk(browser, keyward, page):
    # "Open the Swagger UI for the deployment"
    browser.open(keyward.origin + page)
    # "Click Authorize (top right)."
    browser.click("//button[contains(@class,'authorize')][.//*[text()='Authorize'] or text()='Authorize']")
    # "Paste the access token into the HTTPBearer field."
    dialog = "//div[contains(@class,'modal-ux')]"
    assert "HTTPBearer" in browser.text(f"{dialog}//div[contains(@class,'auth-container')]")
    browser.write(f"{dialog}//input", access_token())
    # "Click Authorize, then Close."
    browser.click(f"{dialog}//button[text()='Authorize']")
    browser.click(f"{dialog}//button[text()='Close']")
    # "Find POST /api/v1/{tenant_id}/tokens/ (Create API Token) and click Try it out."
    call_path = "/api/v1/{tenant_id}/tokens/"
    block = (
        "//div[contains(@class,'opblock-post')]"
        f"[.//*[@data-path='{call_path}'] and .//div[contains(@class,'opblock-summary-description')][text()='Create API Token']]"
    )
    browser.click(f"{block}//button[contains(@class,'opblock-summary-control')]")
    browser.click(f"{block}//button[text()='Try it out ' or text()='Try it out' or normalize-space()='Try it out']")
    # "Set tenant_id to active"
    browser.write(f"{block}//tr[@data-param-name='tenant_id']//input", "active")
    # "Provide a request body."
    browser.write(f"{block}//textarea[contains(@class,'body-param__text')]", BODY)
    # "Click Execute."
    browser.click(f"{block}//button[normalize-space()='Execute']")
    # "A 201 response contains the token"
    live = f"{block}//table[contains(@class,'live-responses-table')]/tbody/tr"
    status = browser.text(f"{live}/td[contains(@class,'response-col_status')]")
    assert status.startswith("201"), status
    shown = browser.text(f"{live}//td[contains(@class,'response-col_description')]")
    token = re.search(r'"token": "(sk-[A-Za-z0-9]+)"', shown)
    assert token, shown
    for member in ('"id": "', '"name": "my-api-token"', '"expiry_date": "2099-12-31T23:59:59Z"'):
        assert member in shown, shown
    return token[1]


def assert_alone(browser, keyward):
    """Nothing was asked of another host, and nothing went against the page's policy."""
    asked = set()
    for entry in browser.log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated"):
            parameters = message["params"]
            asked.add(parameters.get("url") or parameters["request"]["url"])
    assert any(url.endswith("/openapi.json") for url in asked), asked
    foreign = [url for url in asked if not url.startswith((keyward.origin + "/", "data:", "blob:"))]
    assert not foreign, f"asked of others: {foreign}"
    complaints = [entry["message"] for entry in browser.log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert not complaints, f"the console: {complaints}"


def main():
    with Keyward(sys.argv[1]) as keyward:
        for page in ("/api/v1/docs", "/api/v1/docs/"):
            with Browser() as browser:
                token = walk(browser, keyward, page)
                assert_alone(browser, keyward)
            listed = call(keyward.origin + "/api/v1/active/tokens/", token=token)
            assert listed[-1]["name"] == "my-api-token", listed
            print(f"{page}: a token was made by clicks, and it works", flush=True)


if __name__ == "__main__":
    sys.exit(main())
