"""Headless Chromium through chromedriver, with nothing but Python's own library."""

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.request


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Browser:
    def __init__(self):
        for program in ("chromedriver", "chromium"):
            if not shutil.which(program):
                raise SystemExit(f"{program} is missing: apt-get install chromium chromium-driver")
        port = free_port()
        self.process = subprocess.Popen(
            ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.root = f"http://127.0.0.1:{port}"
        options = {
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"],
            "binary": shutil.which("chromium"),
        }
        wanted = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
        for _ in range(100):
            try:
                session = self.request("POST", "/session", {"capabilities": wanted})
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise SystemExit("chromedriver does not answer")
        self.root += f"/session/{session['sessionId']}"

    def request(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.root + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def cdp(self, command, **params):
        return self.request("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def look(self, width, height, dark, mobile=False):
        """Sets the size of the window, and whether the reader likes dark pages."""
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.cdp("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url):
        self.request("POST", "/url", {"url": url})

    def run(self, script, *args):
        return self.request("POST", "/execute/sync", {"script": script, "args": list(args)})

    def wait(self, script, seconds=10):
        """Runs a script until it is true."""
        end = time.time() + seconds
        while time.time() < end:
            found = self.run(script)
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds} s: {script}")

    def drag(self, points):
        """Moves the pointer along some points of the window with its button held down."""
        actions = [{"type": "pointerMove", "duration": 0, "x": int(points[0][0]), "y": int(points[0][1])}]
        actions.append({"type": "pointerDown", "button": 0})
        actions += [{"type": "pointerMove", "duration": 15, "x": int(x), "y": int(y)} for x, y in points[1:]]
        actions.append({"type": "pointerUp", "button": 0})
        source = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions}
        self.request("POST", "/actions", {"actions": [source]})

    def keys(self, keys):
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.request("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def picture(self, path, whole=True):
        shot = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **self.clip(whole))
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))

    def clip(self, whole):
        if not whole:
            return {}
        width, height = self.run("const d = document.documentElement; return [d.clientWidth, d.scrollHeight]")
        return {"clip": {"x": 0, "y": 0, "width": width, "height": min(height, 16000), "scale": 1}}

    def errors(self):
        """What the page complained of since it was last asked."""
        entries = self.request("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def check(self):
        """What holds of every page: nothing errs, nothing is wider than the window, all images are there."""
        errors = self.errors()
        assert not errors, errors
        wide = self.run(
            "const most = document.documentElement.clientWidth;"
            "return document.documentElement.scrollWidth > most"
            " ? [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > most + 1"
            " && !e.closest('.scroll')).map(e => e.outerHTML.slice(0, 80)).slice(0, 3) : null"
        )
        assert not wide, wide
        broken = self.run("return [...document.images].filter(i => !i.complete || i.naturalWidth == 0).length")
        assert broken == 0, f"{broken} images do not load"

    def close(self):
        try:
            self.request("DELETE", "")
        finally:
            self.process.terminate()
            self.process.wait()
