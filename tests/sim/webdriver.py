# SPDX-License-Identifier: MIT
"""A headless Chromium, driven by chromedriver over the WebDriver protocol: plain HTTP on this machine."""
import atexit
import http.client
import json
import re
import shutil
import subprocess
import tempfile

import tap

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key under which the protocol names an element
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--force-device-scale-factor=1",
         "--window-size=1200,800"]
PATIENCE = tap.patience(60)


class Browser:
    """One window.  Skips the case that makes it if chromium or chromedriver is missing."""

    def __init__(self):
        driver, chromium = shutil.which("chromedriver"), shutil.which("chromium")
        absent = [name for name, path in (("chromedriver (chromium-driver)", driver), ("chromium", chromium)) if not path]
        if absent:
            raise tap.Skip(f"Debian packages: {' and '.join(absent)} not found")
        self.profile = tempfile.TemporaryDirectory()
        # Port 0: one that is free.  It tells which one it took.
        self.driver = subprocess.Popen([driver, "--port=0"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL, text=True)
        atexit.register(self.close)
        self.session = None
        self.port = self._port()
        self.session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": chromium, "args": [*FLAGS, f"--user-data-dir={self.profile.name}"]},
            "goog:loggingPrefs": {"browser": "ALL"}}}})["sessionId"]

    def _port(self):
        for line in self.driver.stdout:
            found = re.search(r"started successfully on port (\d+)", line)
            if found:
                return int(found[1])
        raise AssertionError("chromedriver did not start")

    def _call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, None if body is None else json.dumps(body),
                               {"Content-Type": "application/json"})
            value = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        assert not (isinstance(value, dict) and "error" in value), f"{path}: {value['error']}: {value['message']}"
        return value

    def call(self, method, path, body=None):
        """A command of the session."""
        return self._call(method, f"/session/{self.session}{path}", body)

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        """The value of a JavaScript function's body."""
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def click(self, selector):
        """As a user does: fails if the element can't be seen, or another one lies over it."""
        element = self.call("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]
        self.call("POST", f"/element/{element}/click", {})

    def type(self, selector, keys):
        element = self.call("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]
        self.call("POST", f"/element/{element}/value", {"text": keys})

    def point(self, x, y, *, drag_to=None):
        """Move the pointer to a place in the window; with drag_to, press there, move on, release."""
        def move(x, y):
            return {"type": "pointerMove", "duration": 0, "x": round(x), "y": round(y)}
        actions = [move(x, y)]
        if drag_to:
            actions += [{"type": "pointerDown", "button": 0}, move(*drag_to), {"type": "pointerUp", "button": 0}]
        self.call("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": actions}]})

    def complaints(self):
        """What the page wrote to the console since the last call, and errors of it."""
        return [entry["message"] for entry in self.call("POST", "/se/log", {"type": "browser"})]

    def close(self):
        if self.driver.poll() is None:
            try:
                if self.session:
                    self._call("DELETE", f"/session/{self.session}")
            except (OSError, AssertionError, http.client.HTTPException):
                pass  # it is ended below in any case
            self.driver.terminate()
            self.driver.wait()
        self.driver.stdout.close()
        self.profile.cleanup()
