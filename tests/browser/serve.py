"""Draws digits on the page of `wengert serve` in headless Chromium, and reads what the model takes them for.

python3 tests/browser/serve.py PROGRAM MODEL [FOLDER FOR THE PICTURES]
"""

import http.client
import json
import math
import pathlib
import socket
import subprocess
import sys
import threading
import time

from driver import Browser


def circle(x, y, rx, ry, steps=24):
    return [(x + rx * math.sin(2 * math.pi * i / steps), y - ry * math.cos(2 * math.pi * i / steps)) for i in range(steps + 1)]


# Strokes on a pad of size 1, by the digit that they are.
DIGITS = {
    1: [[(0.5, 0.15), (0.5, 0.5), (0.5, 0.85)]],
    0: [circle(0.5, 0.5, 0.2, 0.33)],
    7: [[(0.28, 0.2), (0.5, 0.2), (0.72, 0.2), (0.6, 0.5), (0.45, 0.85)]],
    3: [[(0.3, 0.2), (0.5, 0.14), (0.68, 0.25), (0.62, 0.42), (0.45, 0.48), (0.66, 0.56), (0.7, 0.72), (0.52, 0.86), (0.3, 0.8)]],
    4: [[(0.35, 0.15), (0.3, 0.5), (0.7, 0.5)], [(0.65, 0.15), (0.64, 0.5), (0.62, 0.88)]],
}


def draws(browser):
    """Draws each digit, and returns those that were read as another."""
    box = browser.run("const b = document.getElementById('pad').getBoundingClientRect(); return [b.x, b.y, b.width]")
    wrong = []
    for digit, strokes in DIGITS.items():
        browser.run("document.getElementById('clear').click()")
        for points in strokes:
            browser.drag([(box[0] + x * box[2], box[1] + y * box[2]) for x, y in points])
        browser.wait("return document.getElementById('class')")
        time.sleep(0.3)
        found = browser.run("return document.getElementById('class').textContent")
        print(f"drawn {digit}, read {found}: {browser.run('return document.getElementById(`answer`).textContent')}")
        if found != str(digit):
            wrong.append(digit)
    return wrong


def answers(port):
    """What the server says to those who are no browser."""
    def ask(method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request(method, path, body)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, text

    status, text = ask("GET", "/model")
    size = json.loads(text)["height"] * json.loads(text)["width"]
    assert status == 200
    for method, path, body, due in [
        ("POST", "/predict", bytes(size), 200),
        ("POST", "/predict", bytes(size - 1), 400),
        ("POST", "/predict", bytes(size + 1), 413),
        ("POST", "/predict", bytes(10_000_000), 413),
        ("POST", "/predict", b"", 400),
        ("GET", "/predict", None, 405),
        ("POST", "/", b"", 405),
        ("GET", "/nothing", None, 404),
    ]:
        try:
            status, text = ask(method, path, body)
        except (BrokenPipeError, ConnectionResetError):
            # It did not wait for all of it.
            assert due == 413, (method, path)
            continue
        assert status == due, (method, path, status, text)
        assert status == 200 or json.loads(text)["error"], text
    # Many at once, beside some that say nothing.
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
    silent[0].sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 784\r\n\r\nabc")
    found, clock = [], time.time()
    def many():
        for _ in range(20):
            found.append(ask("POST", "/predict", bytes(range(256)) * (size // 256) + bytes(size % 256)))
    threads = [threading.Thread(target=many) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    seconds = time.time() - clock
    bodies = {json.dumps({**json.loads(text), "microseconds": 0}) for _, text in found}
    assert len(found) == 160 and {status for status, _ in found} == {200} and len(bodies) == 1, bodies
    [s.close() for s in silent]
    print(f"160 questions of eight clients at once in {seconds:.2f} s")


def main():
    program, model = sys.argv[1:3]
    pictures = pathlib.Path(sys.argv[3] if len(sys.argv) > 3 else ".")
    server = subprocess.Popen([program, "serve", "--model", model, "--port", "0"], stdout=subprocess.PIPE, text=True)
    browser = None
    try:
        address = server.stdout.readline().split()[0]
        answers(int(address.rsplit(":", 1)[1].rstrip("/")))
        browser = Browser()
        for name, width, dark in [("wide", 1000, False), ("narrow", 390, True)]:
            browser.look(width, 900, dark, mobile=width < 500)
            browser.open(address)
            browser.wait("return document.body.dataset.ready")
            wrong = draws(browser)
            browser.check()
            path = pictures / f"serve-{name}-{'dark' if dark else 'light'}.png"
            browser.picture(path)
            print(path)
            assert len(wrong) <= 1, f"read otherwise: {wrong}"
        # With keys alone: a one, from the top downwards.
        browser.run("document.getElementById('clear').click()")
        browser.keys(["\ue015"] * 11)
        assert not browser.run("return document.getElementById('pen').hidden"), "one sees where the pen is"
        browser.keys([" ", "\ue012", "\ue012", "\ue012"])
        assert "up" in browser.run("return document.getElementById('told').textContent")
        browser.keys([" "])
        browser.wait("return document.getElementById('class') && document.getElementById('class').textContent == '1'")
        browser.keys(["\ue00c"])
        assert browser.wait("return document.getElementById('answer').textContent == ''")
        # An image: black strokes on white paper.
        browser.run("""
            const c = document.createElement('canvas'); c.width = 200; c.height = 100;
            const to = c.getContext('2d'); to.fillStyle = '#fff'; to.fillRect(0, 0, 200, 100);
            to.lineWidth = 8; to.beginPath(); to.ellipse(100, 50, 20, 33, 0, 0, 7); to.stroke();
            c.toBlob(blob => open(new File([blob], 'zero.png')));
        """)
        browser.wait("return document.getElementById('class') && document.getElementById('class').textContent == '0'")
        # Black ink on nothing, which is black as well to whoever forgets that it is transparent.
        browser.run("document.getElementById('clear').click()")
        browser.run("""
            const c = document.createElement('canvas'); c.width = c.height = 120;
            const to = c.getContext('2d'); to.lineWidth = 9; to.beginPath();
            to.moveTo(60, 15); to.lineTo(60, 105); to.stroke();
            c.toBlob(blob => open(new File([blob], 'one.png')));
        """)
        browser.wait("return document.getElementById('class') && document.getElementById('class').textContent == '1'")
        browser.run("open(new File(['no image'], 'a.png'))")
        browser.wait("return document.getElementById('error').textContent.includes('no image')")
        browser.check()
        print("keys and images are read")
    finally:
        if browser:
            browser.close()
        server.terminate()
        server.wait()


main()
