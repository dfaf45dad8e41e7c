"""The microscope in a real browser: what appears is what explain() says, links lead where they say, keys suffice.

Needs Chromium, its driver and selenium; the test of accessibility also axe-core, a file that npm installs:
TINYNET_AXE=.../axe.min.js. What is missing is skipped, saying so; TINYNET_REQUIRE_BROWSER=1 makes that a failure.
"""

import io
import json
import os
import re
import shutil
import threading
import time

import numpy as np
import pytest
from conftest import skip_unless_required
from PIL import Image
from test_microscope import ROOT, at, make_run, network, pixels, some_places

import tinynet
from tinynet import language
from tinynet.microscope import bugs, export, loading, server
from tinynet.microscope.specimen import Specimen
from tinynet.trace import explain

AXE = os.environ.get("TINYNET_AXE", "")
FORWARD, TRAINING = "evaluation", "training"


def start_browser():
    """A headless Chromium of 1280 x 900 pixels."""
    try:
        from selenium import webdriver
    except ImportError as error:
        skip_unless_required("TINYNET_REQUIRE_BROWSER", f"selenium is missing ({error}): pip install -e '.[browser]'")
    for name in ("chromium", "chromedriver"):
        if not shutil.which(name):
            skip_unless_required("TINYNET_REQUIRE_BROWSER", f"no {name} is here: apt install chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    # Chromium slows down pages whose address changes 200 times in a few seconds, which people do not
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--lang=en",
                     "--disable-ipc-flooding-protection"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    driver.set_script_timeout(120)
    return driver


class Page:
    """The page in a browser, and the shortest words for what the tests do with it."""

    def __init__(self, driver, address):
        self.driver, self.address = driver, address
        self.look(1280, 900)
        driver.get("about:blank")
        for log in ("browser", "performance"):
            driver.get_log(log)  # what other pages have left there

    def look(self, width, height, dark=False):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})

    def js(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def later(self, script, *arguments):
        """The result of an async function body."""
        return self.driver.execute_async_script(
            f"const done = arguments[arguments.length - 1], given = arguments; (async () => {{ {script} }})()"
            ".then(value => done({value}), error => done({error: String(error && error.stack || error)}))", *arguments)

    def open(self, hash=""):
        """Show a place, and wait until it is drawn."""
        hash = f"#{hash}" if hash else ""
        if not self.js("""if (location.href.split("#")[0] !== arguments[0]) return false;
                          delete document.body.dataset.ready;
                          if (location.hash === arguments[1]) dispatchEvent(new HashChangeEvent("hashchange"));
                          else location.hash = arguments[1];
                          return true""", self.address, hash):
            self.driver.get(self.address + hash)
        self.wait()

    def wait(self):
        deadline = time.monotonic() + 30
        while not self.js("return document.body.dataset.ready"):
            assert time.monotonic() < deadline, "the page is not drawn"
            time.sleep(0.01)

    def acting(self, action):
        """Do what changes the place, and wait until the new one is drawn."""
        self.js("delete document.body.dataset.ready")
        action()
        self.wait()

    def key(self, key):
        self.acting(lambda: self.driver.switch_to.active_element.send_keys(key))

    def text(self, selector):
        return self.js("return document.querySelector(arguments[0])?.innerText", selector)

    def focus(self, key):
        self.js("document.querySelector(`[data-key=\"${arguments[0]}\"]`).focus()", key)

    @property
    def place(self):
        return self.js("return document.body.dataset.place")

    @property
    def value(self):
        return float(self.js("return document.querySelector('.number .value').dataset.value"))

    def quiet(self):
        """AssertionError where the console has an error, or something was fetched from elsewhere."""
        assert [entry for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"] == []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                assert url.startswith((self.address, "data:", "blob:", "about:", "file:")), url


@pytest.fixture(scope="module")
def driver():
    found = start_browser()
    yield found
    found.quit()


@pytest.fixture(scope="module")
def page(driver):
    bench = server.Bench([network()], [("noise", 2, lambda _: pixels()), ("other", None, lambda _: pixels(1))])
    running = server.Server(bench)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield Page(driver, running.address)
    running.shutdown()
    running.server_close()


@pytest.fixture(scope="module")
def specimen():
    return Specimen(network(), pixels(), label=2, training=True)


def address(name, of, index, mode=TRAINING):
    return f"at={name}.{of}" + (f"[{','.join(map(str, index))}]" if index else "") + f"&mode={mode}"


# ---- what appears --------------------------------------------------------------------------------------------------

def test_the_first_view_has_everything(page):
    page.open()
    assert page.text("h1") == "tinynet Microscope" and page.place.startswith("conv1.y[0,")
    labels = page.js("return [...document.querySelectorAll('.setting span')].map(each => each.innerText)")
    assert labels == ["Picture", "Right class", "Mode", "Planted bug", "Compare with"]
    layers = page.js("return [...document.querySelectorAll('.strip .name')].map(each => each.innerText)")
    assert layers == ["Picture", *(layer.name for layer in network().net.layers), "loss"]
    bars = page.js("return [...document.querySelectorAll('.guesses .percent')].map(each => parseFloat(each.innerText))")
    probs = Specimen(network(), pixels(), 2).trace["loss"].layer.probs[0]
    assert bars == pytest.approx(100 * np.sort(probs)[::-1], abs=0.06)
    assert page.js("return document.querySelectorAll('.strip [aria-current]').length") == 1
    page.quiet()


def test_every_kind_of_number_is_shown_as_explained(page, specimen):
    """The value, the lines and the largest term of the first view of one number of every array of every layer."""
    for name, of, index, *_ in some_places(specimen, 1, seed=3):
        page.open(address(name, of, index))
        assert page.place == f"{name}.{of}" + (f"[{','.join(map(str, index))}]" if index else "")
        if of in ("w", "b"):
            assert page.value == specimen.trace.array(name, of)[index]
            continue
        seen = explain(specimen.trace, name, index, of)
        assert page.value == seen.actual
        lines = page.js("return [...document.querySelectorAll('.lines th')].map(each => each.innerText)")
        assert lines == [*(text for text, _ in seen.lines), "the layer has"]
        numbers = page.js("return [...document.querySelectorAll('.lines td')].map(each => each.innerText)")
        for shown, (_, number) in zip(numbers, seen.lines):
            assert float(shown.replace("\u2212", "-")) == pytest.approx(number, rel=1e-5, abs=1e-300)
        first = page.js("return [...document.querySelectorAll('.terms tbody tr:first-child td')].at(-1)?.innerText")
        if first and seen.last.size:
            assert abs(float(first.split()[0].replace("\u2212", "-"))) == pytest.approx(abs(seen.last).max(), rel=1e-5)
        assert page.js("return document.querySelectorAll('.alarm').length") == 0
    page.quiet()


def test_links_lead_to_the_number_that_they_show(page, specimen):
    """From a probability down to a pixel, and up again: each link's text is the value at the place it leads to."""
    rng = np.random.default_rng(4)
    links = """return [...document.querySelectorAll('.terms a, .grid a, .lines a')]
                   .map(a => [a.hash, a.innerText, a.title])"""
    followed = 0
    for name, of, index, *_ in list(some_places(specimen, 1, seed=5))[::2]:
        page.open(address(name, of, index))
        found = page.js(links)
        if not found:
            continue
        hash, text, title = found[rng.integers(len(found))]
        exact = float((title.partition(" = ")[2] or text).replace("\u2212", "-"))  # a cell's title has all digits
        page.acting(lambda hash=hash: page.js("location.hash = arguments[0]", hash))
        assert page.value == pytest.approx(exact, rel=1e-5 if name.startswith(("lrn", "within", "loss")) else 6e-6)
        followed += 1
    assert followed > 20
    page.open("at=loss.probs[0,2]")
    visited = [page.place]
    while page.place.split(".")[0] != "picture":
        hash = page.js("return document.querySelector('.terms a')?.hash")
        assert hash, page.place
        page.acting(lambda hash=hash: page.js("location.hash = arguments[0]", hash))
        visited.append(page.place)
    assert len(visited) == 21
    for below in visited[-2::-1]:  # and up, by "which numbers use this one"
        name = below.split(".")[0]
        hashes = page.js("return [...document.querySelectorAll('.uses a')].map(a => a.hash)")
        assert any(f"at={name}." in hash for hash in hashes), (page.place, hashes)
        page.open(f"at={below}")
    page.quiet()


def test_a_number_leads_to_its_value_its_gradient_and_its_update(page):
    from selenium.webdriver.common.keys import Keys
    walks = {"picture.y[0,2,7,8]": "itsGradient conv1.dx[0,2,7,8] itsValue picture.y[0,2,7,8]",
             "fc4.y[0,5]": "itsGradient sigmoid4.dx[0,5] itsValue fc4.y[0,5]",
             "conv2.w[3,1,0,2]": "itsGradient conv2.dw[3,1,0,2] itsUpdate conv2.update[3,1,0,2]",
             "fc5.b[7]": "itsUpdate fc5.update[7] itsGradient fc5.db[7]"}
    for start, walk in walks.items():
        page.open(f"at={start}")
        for key, place in zip(walk.split()[::2], walk.split()[1::2]):
            page.focus(key)
            page.key(Keys.ENTER)
            assert page.place == place
    page.open("at=loss.y")
    assert not page.js("return document.querySelector('[data-key^=its]')")


def test_what_a_number_is_computed_from_lights_up(page):
    """The arrays below, or above in a backward pass, stand before the own map, their windows framed in green."""
    below = {"conv2.y[0,3,2,2]": "relu1.y", "conv1.y[0,3,2,2]": "Picture", "pool1.dx[0,1,2,2]": "relu1.dx",
             "lrn1.y[0,0,2,2]": "conv1.y", "fc5.y[0,2]": "drop4.y", "fc5.dx[0,2]": "relu5.dx",
             "fc5.dw[3,2]": "drop4.y relu5.dx", "loss.probs[0,2]": "fc6.y", "loss.y": "loss.probs",
             "conv2.update[3,1,0,2]": "conv2.dw"}
    for place, names in below.items():
        page.open(f"at={place}&mode=training")
        shown = page.js("return [...document.querySelectorAll('.flow figcaption')].map(each => each.innerText)")
        own = [] if place == "loss.y" else [place.partition("[")[0]]
        assert [text.partition(",")[0] for text in shown] == names.split() + own, place
        green = page.js("""
            return [...document.querySelectorAll('.flow canvas')].map(canvas => {
                const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
                let count = 0;
                for (let k = 0; k < data.length; k += 4) count += data.slice(k, k + 3).join() === "0,166,81";
                return count;
            })""")
        assert min(green) > 10, (place, green)


def test_the_table_reaches_every_term(page, specimen):
    page.open(address("conv2", "y", (0, 3, 2, 2)))
    seen = explain(specimen.trace, "conv2", (0, 3, 2, 2))
    terms = []
    while True:
        terms += page.js("return [...document.querySelectorAll('.terms tbody td:last-child')].map(e => e.innerText)")
        if page.js("return document.querySelector('[data-key=terms-on]').disabled"):
            break
        page.js("document.querySelector('[data-key=terms-on]').click()")
    numbers = [float(term.split()[0].replace("\u2212", "-")) for term in terms]
    assert np.sort(numbers) == pytest.approx(np.sort(seen.last.ravel()), rel=1e-5)
    assert np.all(np.diff(np.abs(numbers)) <= 1e-9)


def test_a_cell_of_the_overview_is_a_number_or_a_row_of_the_table(page, specimen):
    click = """const canvas = document.querySelectorAll('.overview canvas')[arguments[0]];
               const box = canvas.getBoundingClientRect();
               canvas.dispatchEvent(new MouseEvent('click', { clientX: box.left + arguments[1] * box.width,
                                                              clientY: box.top + arguments[2] * box.height }))"""
    page.open("at=fc5.y[0,2]")  # 40 terms in a row
    page.js(click, 2, 13.5 / 40, 0.5)
    rows = page.js("return [...document.querySelectorAll('.terms tbody tr')].map(e => e.children[1].innerText)")
    assert "13" in rows
    page.acting(lambda: page.js(click, 0, 13.5 / 40, 0.5))
    assert page.place == "drop4.y[0,13]"
    page.open("at=conv2.y[0,3,2,2]")  # of several channels, one is chosen
    page.js(click, 2, 0.05, 0.05)
    assert page.text(".chooser span") == "channel 0"


def test_a_map_is_the_array(page, specimen):
    page.open(address("conv2", "y", (0, 3, 2, 1)))
    width, height = page.js("const c = document.querySelector('[data-key=map]'); return [c.width, c.height]")
    y = specimen.trace["conv2"].y[0, 3]
    shown = page.js("const c = document.querySelector('[data-key=map]'), g = c.getContext('2d');"
                    "return arguments[0].map(([x, y]) => [...g.getImageData(x, y, 1, 1).data])",
                    [[int((j + 0.5) * width / 7), int((i + 0.5) * height / 7)] for i in range(7) for j in range(7)])
    for (red, _, blue, _), number in zip(shown, y.ravel()):  # the frame of the pixel looked at hides no middle
        assert np.sign(red - blue) == np.sign(number) or abs(number) < 0.05 * abs(specimen.trace["conv2"].y).max()


# ---- what can be done ----------------------------------------------------------------------------------------------

def test_the_keyboard_alone_suffices(page):
    from selenium.webdriver.common.keys import Keys
    page.open("at=conv2.y[0,3,2,2]")
    page.focus("map")
    for key, place in [(Keys.ARROW_RIGHT, "conv2.y[0,3,2,3]"), (Keys.ARROW_DOWN, "conv2.y[0,3,3,3]"),
                       (Keys.PAGE_DOWN, "conv2.y[0,4,3,3]"), (Keys.ARROW_LEFT, "conv2.y[0,4,3,2]"),
                       (Keys.ARROW_UP, "conv2.y[0,4,2,2]"), (Keys.PAGE_UP, "conv2.y[0,3,2,2]")]:
        page.key(key)
        assert page.place == place
    page.focus("gallery")
    page.key(Keys.ARROW_RIGHT)
    assert page.place == "conv2.y[0,4,2,2]"
    for key, start in [("n", "within2.y"), ("p", "conv2.y"), ("b", "conv2.dx"), ("u", "conv2.update"),
                       ("f", "conv2.w")]:
        page.key(key)
        assert page.place.startswith(start)
    page.open("at=relu5.y[0,0]")
    seen = set()
    for _ in range(200):  # Tab comes by every control, and Enter follows a link
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        before, key = page.js("const e = document.activeElement, before = e !== document.body && e.seen; e.seen = true;"
                              "return [before, e.dataset.key]")
        if before:
            break
        seen.add(key)
    keys = set(page.js("return [...document.querySelectorAll('[data-key]:not(:disabled)')].map(e => e.dataset.key)"))
    assert keys - seen <= {"terms"}, keys - seen
    page.js("document.querySelector('.terms a').focus()")
    page.key(Keys.ENTER)
    assert page.place == "fc5.y[0,0]"
    page.driver.switch_to.active_element.send_keys("?")
    assert page.js("return document.querySelector('#help').open")
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not page.js("return document.querySelector('#help').open")


def test_the_walk_goes_forward_and_back(page):
    page.open("at=picture.y[0,0,3,3]")
    names = ["picture", *(layer.name for layer in network().net.layers), "loss"]
    walked = []
    while not page.js("return document.querySelector('[data-key=walk-on]').disabled"):
        page.acting(lambda: page.js("document.querySelector('[data-key=walk-on]').click()"))
        walked.append(page.place.split("[")[0])
        assert len(page.text(".walk p")) > 30
    assert walked == [*(f"{name}.y" for name in names[1:-1]), "loss.probs", *(f"{name}.dx" for name in names[:0:-1])]


def test_a_nudge_proves_the_gradient(page):
    for place in ("conv1.dx[0,1,9,9]", "conv2.dw[3,1,1,2]", "fc6.db[1]"):
        page.open(f"at={place}&mode=training")
        page.js("document.querySelector('[data-key=prove]').click()")
        deadline = time.monotonic() + 20
        while not page.js("return document.querySelector('.experiment .lines')"):
            assert time.monotonic() < deadline
        rows = page.js("return [...document.querySelectorAll('.experiment .lines td')].map(each => each.innerText)")
        slope, gradient = (float(row.replace("\u2212", "-")) for row in rows[3:5])
        assert slope == pytest.approx(gradient, rel=1e-3) and gradient == pytest.approx(page.value, rel=1e-8)


def test_a_planted_bug_is_seen(page, specimen):
    for bug in bugs.BUGS:
        page.open(f"at=conv2.dw[3,1,1,2]&mode=training&bug={bug}")
        marked = dict(page.js("return [...document.querySelectorAll('.layer')].filter(e => e.querySelector('.bad'))"
                              ".map(e => [e.querySelector('.name').innerText, e.querySelector('.bad').innerText])"))
        broken = Specimen(network(), pixels(), 2, training=True, bug=bug).broken()
        counts = {name: sum(int(mask.sum()) for mask in arrays.values()) for name, arrays in broken.items() if arrays}
        assert marked == {name: f"{count:,} broken" for name, count in counts.items()}
    page.open("at=conv2.dw[3,1,0,2]&mode=training&bug=dw-turned")
    assert page.text(".alarm") == "The layer has another number: it is broken."
    page.open("at=conv2.dw[3,1,0,2]&mode=training&bug=dw-turned&beside=bug:")
    assert page.js("return document.querySelectorAll('.bench').length") == 2
    assert page.js("return document.querySelectorAll('.bench .alarm').length") == 1


def test_a_dropped_picture_is_looked_at(page):
    file = io.BytesIO()
    Image.fromarray(pixels(7).transpose(1, 2, 0)).save(file, "PNG")
    page.open("at=picture.y[0,1,4,4]")
    drop = """const list = new DataTransfer();
              list.items.add(new File([new Uint8Array(arguments[0])], arguments[1]));
              dispatchEvent(new DragEvent("drop", {dataTransfer: list}))"""
    page.acting(lambda: page.js(drop, list(file.getvalue()), "mine.png"))
    read = network().trained.load_picture(io.BytesIO(file.getvalue()))
    expected = read[:, 2:31, 2:31][1, 4, 4] - 120.0
    assert page.value == expected and "mine.png" in page.text(".settings")
    page.js(drop, [1, 2, 3], "broken.png")
    deadline = time.monotonic() + 20
    while "broken.png: cannot identify image" not in (page.text(".alarm") or ""):
        assert time.monotonic() < deadline
    assert any("400" in entry["message"] for entry in page.driver.get_log("browser"))  # and no other error
    page.open()


def test_chinese_has_no_english_sentence(page, specimen):
    names = {layer.name for layer in network().net.layers} | {"loss", "picture"}
    code = set("""scale alpha beta mask conv sum exp log inverted dropout ceil softmax size stride pad groups slope
                  keep SGD update probs label logit logits ReLU LeakyReLU Tanh Sigmoid Layer""".split())
    for name, of, index, *_ in some_places(specimen, 1, seed=6):
        page.open(address(name, of, index) + "&lang=zh")
        said = page.js("return [...document.querySelectorAll(arguments[0])].map(e => e.innerText).join('\\n')",
                       ".where, .lines th, .terms th, .walk, .sentence, .tabs nav, h3, h4, .settings span")
        words = set(re.findall(r"[A-Za-z]{4,}[A-Za-z0-9]*", said.replace("weights of nobody", "")))
        assert words <= names | code, (name, of, words - names - code)
    page.open("at=conv1.y[0,0,1,1]&lang=en")


def test_the_chinese_of_an_explanation_is_that_of_the_notebooks(page, specimen):
    """The page and tinynet/language/zh.po say each sentence of explain() in the same words."""
    texts = set()
    for name, of, index, *_ in some_places(specimen, 5, seed=9):
        if of not in ("w", "b"):
            seen = explain(specimen.trace, name, index, of)
            texts.update([seen.where, *seen.axes, *seen.terms, *(text for text, _ in seen.lines)])
    texts, known = sorted(texts), language.entries("zh")
    language.use("zh")
    try:
        expected = [language.translate(text) for text in texts]
    finally:
        language.use("")
    page.open("at=conv1.y[0,0,1,1]&lang=zh")
    said = page.later("const { said } = await import('./labels.js'); return given[0].map(said);", texts)["value"]
    assert "product" in texts and "product" in known and len(texts) > 300
    for text, here, there in zip(texts, said, expected):
        assert here == there or there == text, (text, here, there)  # what zh.po does not have may be said here
    page.open("at=conv1.y[0,0,1,1]&lang=en")


def test_checkpoints_move_the_numbers(driver, tmp_path):
    make_run(tmp_path / "run", steps=(3, 12))
    black = "black", 1, lambda _: np.zeros((3, 32, 32), np.uint8)
    running = server.Server(server.Bench([loading.load(tmp_path / "run")], [black]))
    threading.Thread(target=running.serve_forever, daemon=True).start()
    page = Page(driver, running.address)
    page.open("at=conv1.w[0,0,0,0]")
    assert page.value == 99
    for position, number in ((0, 3), (1, 12), (2, 99)):
        page.acting(lambda position=position: page.js(
            "const e = document.querySelector('[data-key=checkpoint]'); e.value = arguments[0];"
            "e.dispatchEvent(new Event('change'))", position))
        assert page.value == number
    page.js("document.querySelector('[data-key=through]').click()")
    deadline = time.monotonic() + 20
    while page.js("return document.querySelector('.chart')?.getAttribute('aria-label')") != "3: 3, 12: 12":
        assert time.monotonic() < deadline
    page.quiet()
    running.shutdown()
    running.server_close()


def test_a_thousand_random_clicks(page):
    page.open()
    for seed in range(1, 11):
        assert page.later(HUNDRED_CLICKS, seed) == {"value": [100, []]}, seed
    page.wait()
    page.quiet()


HUNDRED_CLICKS = """
        let seed = given[0], errors = [], clicks = 0;
        const random = n => { seed = seed * 48271 % 2147483647; return seed % n; };
        const sleep = time => new Promise(go => setTimeout(go, time));
        addEventListener("error", event => errors.push(String(event.message)));
        addEventListener("unhandledrejection", event => errors.push(String(event.reason)));
        const left = "[data-key=walk-play], [data-key=help], [data-key=prove], .skip, dialog *";
        while (clicks < 100 && !errors.length) {
            const all = [...document.querySelectorAll("a[href], button:not(:disabled), select, canvas[tabindex]")];
            const target = all[random(all.length)], before = location.hash, drawn = document.body.dataset.ready;
            if (target.matches(left)) continue;
            if (target.matches("select")) {
                target.selectedIndex = random(target.options.length);
                if (target.value === "own") continue;
                target.dispatchEvent(new Event("change"));
            } else if (target.matches("canvas")) {
                const box = target.getBoundingClientRect();
                target.dispatchEvent(new MouseEvent("click", { bubbles: true,
                    clientX: box.left + random(1000) / 1000 * box.width,
                    clientY: box.top + random(1000) / 1000 * box.height }));
            } else target.click();
            if (++clicks % 8 && clicks < 100) continue; // drawings overtake each other; some are waited for
            const deadline = performance.now() + 20000;
            await sleep(25);
            while (location.hash !== before && document.body.dataset.ready === drawn && performance.now() < deadline) {
                await sleep(10);
            }
            if (document.querySelector("main > .alarm")) {
                errors.push(location.hash + " " + document.querySelector("main").innerText);
            }
        }
        return [clicks, errors];"""


# ---- how it looks --------------------------------------------------------------------------------------------------

PLACES = ["", *(f"at={place}" for place in """
    conv2.dw[3,1,1,2]&mode=training  loss.probs[0,2]  conv1.w[0,0,2,2]  fc5.update[0,3]&mode=training
    conv2.y[0,3,2,2]&beside=picture:1  pool1.dx[0,1,2,2]&mode=training&bug=pool-to-all&lang=zh""".split())]


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out_of_the_screen(page, width):
    page.look(width, 900)
    try:
        for place in PLACES:
            page.open(place)
            assert page.js("return document.documentElement.scrollWidth") <= width, place
    finally:
        page.look(1280, 900)


def test_the_whole_network_is_in_view(page):
    net = tinynet.AlexNet("code-2012", num_classes=10, image_size=99, rng=np.random.default_rng(0))
    page.open()
    sizes = page.later("""
        const { strip } = await import("./strip.js"), picture = { name: "picture", kind: "Picture", out: [3, 99, 99] };
        document.querySelector(".strip").replaceWith(strip([picture, ...given[0]], "conv1", () => "#", null));
        const list = document.querySelector(".strip ol");
        return [list.children.length, list.scrollWidth, list.clientWidth];""", server.describe(net))["value"]
    page.open()
    assert sizes[0] == len(net.layers) + 2 and sizes[1] <= sizes[2]


def test_axe_finds_no_serious_fault(page):
    if not os.path.isfile(AXE):
        skip_unless_required("TINYNET_REQUIRE_BROWSER", "axe-core is not here: npm install axe-core, "
                                                        "TINYNET_AXE=node_modules/axe-core/axe.min.js")
    with open(AXE, encoding="utf-8") as file:
        axe = file.read()
    for width, dark in ((1280, False), (1280, True), (390, False)):
        page.look(width, 900, dark)
        for place in PLACES:
            page.open(place)
            page.js(axe)
            found = page.later("""
                const { violations } = await axe.run({ resultTypes: ["violations"] });
                return violations.filter(v => ["serious", "critical"].includes(v.impact))
                    .map(v => [v.id, v.nodes.slice(0, 3).map(n => n.html.slice(0, 200) + n.failureSummary)]);""")
            assert found == {"value": []}, (place, width, dark, found)
    page.look(1280, 900)


# ---- the exported page ---------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def exported(driver, tmp_path_factory):
    """A page whose weights are rounded and some of whose weights stay behind, and the specimen that it shows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "WHOLE", 500)  # fc4 and fc5 stay behind, fc6 does not
        patch.setattr(export, "BITS", (8, 6))
        patch.setattr(export, "TERMS", {True: 9})
        found = network()
        text, bits = export.page(found, "noise", pixels(), 2)
    path = tmp_path_factory.mktemp("exported") / "page.html"
    path.write_bytes(text)
    assert bits == 8
    shown = Page(driver, path.as_uri())
    shown.specimen = Specimen(found, pixels(), 2, training=True)
    return shown


def test_the_exported_page_computes_what_explain_says(exported):
    """Hundreds of numbers, of every array of every kind of layer: values, lines, sentences, terms and links."""
    exported.open()
    specimen = exported.specimen
    behind = {name for name in ("fc4", "fc5")}
    places = [(name, of, index) for name, of, index, *_ in some_places(specimen, 7, seed=8)
              if not (name in behind and (of == "w" or of == "update" and len(index) == 2))]
    asked = [f"{name}.{of}[{','.join(map(str, index))}]" for name, of, index in places]
    answers = exported.later("""
        const found = [];
        for (const place of given[0]) {
            const e = await explain(place.replace("[]", ""));
            const terms = Object.fromEntries(Object.entries(e.terms || {}).map(([k, v]) => [k, [...v]]));
            found.push({ ...e, terms, inside: null, picked: e.picked && [...e.picked], curve: null, order: null });
        }
        return found;""", asked)
    assert "error" not in answers, answers
    assert len(places) > 400
    for (name, of, index), seen in zip(places, answers["value"]):
        where = f"{name}.{of}{index}"
        if of in ("w", "b"):
            assert seen["value"] == specimen.trace.array(name, of)[index], where
            continue
        ours, _ = specimen.explain(name, of, index)
        if of == "update":  # from the gradient that the page adds up, not from the layer's, which is rounded
            numbers = [number for _, number, _ in ours["lines"]]
            near = pytest.approx(numbers, rel=1e-5, abs=1e-6 * max(map(abs, numbers[:3])))
            assert [number for _, number, _ in seen["lines"]] == near, where
            continue
        size = abs(np.array(list(seen["terms"].values())[-1])).sum() + abs(ours["value"]) + 1e-300
        assert seen["value"] == pytest.approx(ours["value"], abs=1e-9 * size), where
        assert seen["agrees"] and ours["agrees"], where
        assert seen["where"] == ours["where"], where
        if of != "dw":
            assert seen["actual"] == ours["actual"], where
        if name in behind and of in ("y", "dx"):
            assert len(seen["shape"]) == 1 and seen["shape"][0] == 9 and "stay behind" in seen["note"]
            continue
        assert of == "dw" or seen["tolerance"] == pytest.approx(ours["tolerance"]), where
        explained = explain(specimen.trace, name, index, of)
        assert seen["names"] == list(explained.terms) and seen["axes"] == ours["axes"], where
        assert tuple(seen["shape"]) == explained.last.shape and seen["start"] == ours["start"], where
        for term, array in explained.terms.items():
            got = np.array(seen["terms"][term]).reshape(array.shape)
            near = 1e-12 * max(1, abs(array).max(initial=0))
            np.testing.assert_allclose(got, array, rtol=1e-9, atol=near, err_msg=where)
        assert [text for text, *_ in seen["lines"]] == [text for text, *_ in ours["lines"]], where
        assert seen["lines"] == [[text, pytest.approx(number, rel=1e-9, abs=1e-9 * size), target]
                                 for text, number, target in ours["lines"]], where
        if explained.picked is not None:
            assert np.array_equal(seen["picked"], explained.picked.ravel()), where
        for term, block in ours["sources"].items():
            if block and not (name in behind and term == "w"):
                assert spelled(seen["sources"][term], seen["shape"]) == spelled(block, ours["shape"]), (where, term)
        assert uses_of(seen) == uses_of(ours), where
    exported.quiet()


def spelled(block, shape):
    """A block of indices, each written out."""
    return block["layer"], block["of"], [at(block, place) for place in np.ndindex(*shape)]


def uses_of(message):
    return sorted(spelled(use, use["shape"]) for use in message["uses"]
                  if np.prod(use["shape"]) and not (use["layer"] in ("fc4", "fc5") and use["of"] == "update"))


def test_the_exported_page_is_walked_through(exported):
    exported.open()
    assert exported.js("return document.querySelectorAll('select').length") == 0
    assert "rounded to 8 bits" in exported.text(".intro")
    walked = 0
    while not exported.js("return document.querySelector('[data-key=walk-on]').disabled"):
        exported.acting(lambda: exported.js("document.querySelector('[data-key=walk-on]').click()"))
        assert exported.js("return document.querySelectorAll('.alarm').length") == 0, exported.place
        for tab in ("forward", "backward", "update"):
            link = exported.js("return document.querySelector(`a[data-key=tab-${arguments[0]}]`)?.hash", tab)
            if link:
                before = exported.js("return location.hash")
                exported.open(link[1:])
                assert exported.js("return document.querySelectorAll('.alarm').length") == 0, exported.place
                exported.open(before[1:])
        walked += 1
    assert walked == 39
    exported.quiet()


def test_the_page_among_the_lessons_has_the_scripts_of_today():
    text = (ROOT / "lessons" / "microscope.html").read_text(encoding="utf-8")
    folder = ROOT / "tinynet" / "microscope" / "page"
    old = [name for name in export.MODULES
           if export.enclosed(name, (folder / f"{name}.js").read_text(encoding="utf-8")) not in text]
    assert not old and (folder / "style.css").read_text(encoding="utf-8") in text, \
        f"{old}: write lessons/microscope.html again with python -m tinynet.microscope export"


def test_the_page_among_the_lessons_opens(driver):
    path = ROOT / "lessons" / "microscope.html"
    assert path.stat().st_size <= 5e6
    page = Page(driver, path.as_uri())
    page.open()
    wrong = page.later("""
        const wrong = [];
        for (const { name, out } of given[0]) {
            for (let k = 0; k < 5; k++) {
                const index = [0, ...out.map(size => Math.floor(Math.random() * size))];
                const seen = await explain(`${name}.y[${index}]`);
                if (!seen.agrees) wrong.push([name, index, seen.value, seen.actual]);
            }
        }
        return wrong;""", [{"name": layer["name"], "out": layer["out"]} for layer in page.later(
            "return JSON.parse(/const FACTS = (.*);/.exec(document.body.innerHTML)[1]).layers")["value"][:-1]])
    assert wrong == {"value": []}
    page.quiet()
