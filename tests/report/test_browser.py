"""The page in Chromium: no request leaves it, nothing hostile runs, and everything works by keyboard."""

import json
import re

import pytest

pytestmark = pytest.mark.browser


class Visit:
    """A page opened from a file, with all it asked for and complained about."""

    def __init__(self, browser, path, **options):
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.requests, self.complaints, self.dialogs = [], [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        self.page.goto(path.as_uri())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def quiet(self, path):
        outside = [url for url in self.requests if url != path.as_uri() and not url.startswith(("data:", "blob:"))]
        return (outside, self.complaints, self.dialogs) == ([], [], [])


@pytest.fixture(scope="module")
def pages(tmp_path_factory, one_student, three_students, hostile):
    folder = tmp_path_factory.mktemp("pages")
    reports = {"one": one_student, "three": three_students, "hostile": hostile}
    return {name: report.save(folder / f"{name}.html") for name, report in reports.items()}


@pytest.mark.parametrize("name", ["one", "three", "hostile"])
def test_no_request_no_error_no_dialog(browser, pages, name):
    with Visit(browser, pages[name]) as visit:
        visit.page.mouse.wheel(0, 20000)
        visit.page.wait_for_timeout(100)
        assert visit.page.title()
        assert visit.quiet(pages[name]), (visit.requests, visit.complaints, visit.dialogs)


def test_the_policy_stops_what_escaping_would_let_through(browser, pages, tmp_path):
    attack = tmp_path / "attack.html"
    inserted = (
        "<script>window.run = 1</script><img src=x onerror='window.run = 2'><p style='color: red' id=p>p</p><main"
    )
    attack.write_text(pages["one"].read_text(encoding="utf-8").replace("<main", inserted, 1), encoding="utf-8")
    with Visit(browser, attack) as visit:
        assert visit.page.evaluate("window.run") is None
        assert len([text for text in visit.complaints if "Content Security Policy" in text]) >= 3
        assert visit.page.evaluate("document.documentElement.classList.contains('js')")  # our own script still runs


def test_the_gallery_sorts_by_keyboard(browser, pages, one_student):
    with Visit(browser, pages["one"]) as visit:
        page = visit.page
        rows = "Array.from(document.querySelectorAll('.gallery tbody tr:not([hidden])'))"
        gains = f"{rows}.map(row => Number(row.getAttribute('data-gain-0')))"
        drawn = page.evaluate(gains)
        page.locator("button[data-sort=gain]").focus()
        page.keyboard.press("Enter")
        assert page.locator("th.by-gain").get_attribute("aria-sort") == "descending"
        best = sorted(one_student["unicam"].arrays["gain.kd"].tolist(), reverse=True)[:12]
        assert page.evaluate(gains) == pytest.approx(best, abs=1e-4)
        page.keyboard.press("Space")
        assert page.locator("th.by-gain").get_attribute("aria-sort") == "ascending"
        assert page.evaluate(gains) == sorted(page.evaluate(gains))
        page.keyboard.press("Enter")
        assert page.locator("th.by-gain").get_attribute("aria-sort") == "none"
        assert page.evaluate(gains) == drawn
        page.locator("button[data-sort=class]").press("Enter")
        assert page.locator("th.by-class").get_attribute("aria-sort") == "ascending"
        names = page.locator(".gallery tbody tr:not([hidden]) .class").all_inner_texts()
        assert names == sorted(names)


def test_the_gallery_filters_and_shows_all(browser, pages):
    with Visit(browser, pages["one"]) as visit:
        page = visit.page
        shown = page.locator(".gallery tbody tr:not([hidden])")
        assert shown.count() == 12
        assert page.locator(".gallery-status").inner_text() == "12 of 24 images shown"
        page.locator(".show-all").press("Enter")
        assert shown.count() == 24
        assert page.evaluate("document.activeElement.closest('tr') !== null")
        page.locator(".only-class").select_option(label="Sandal")
        assert set(page.locator(".gallery tbody tr:not([hidden]) .class").all_inner_texts()) == {"Sandal"}


def test_switches_of_the_gallery(browser, pages):
    with Visit(browser, pages["one"]) as visit:
        page = visit.page
        edge, cold = page.locator(".gallery .edge").first, page.locator(".panel .cold").first
        assert edge.is_visible()
        assert not cold.is_visible()
        page.locator(".show-edge").press("Space")
        page.locator(".show-cold").press("Space")
        assert not edge.is_visible()
        assert cold.is_visible()
        page.locator(".strength").fill("30")
        warm = page.locator(".panel .warm").first
        assert warm.evaluate("e => getComputedStyle(e).opacity") == "0.3"
        assert visit.quiet(pages["one"])


def test_a_student_is_picked_by_keyboard(browser, pages):
    with Visit(browser, pages["three"]) as visit:
        page = visit.page
        picker = page.locator(".picker", has=page.locator(".gallery")).first
        assert picker.locator("tr:first-child .gain:visible").count() == 1
        before = picker.locator("tr:first-child .gain:visible").inner_text()
        picker.locator("input[type=radio]").first.focus()
        page.keyboard.press("ArrowRight")
        assert picker.locator(".pick input:checked").get_attribute("value") == "1"
        after = picker.locator("tr:first-child .gain:visible").inner_text()
        assert after != before
        page.locator("button[data-sort=gain]").press("Enter")  # sorts by the student that is picked
        texts = picker.locator(".gain:visible").all_inner_texts()
        gains = [float(text.replace("−", "-")) for text in texts]
        assert gains == sorted(gains, reverse=True)


def test_layers_of_one_student_or_of_all(browser, pages):
    with Visit(browser, pages["three"]) as visit:
        charts = visit.page.locator("#relevance .chart:visible")
        assert charts.count() == 9
        visit.page.locator("#relevance input[value='2']").check()
        assert charts.count() == 3


def test_the_theme_follows_the_system_and_the_button(browser, pages):
    colour = "getComputedStyle(document.body).backgroundColor"
    with Visit(browser, pages["one"], color_scheme="light") as visit:
        light = visit.page.evaluate(colour)
        button = visit.page.locator("#theme")
        assert button.get_attribute("aria-pressed") == "false"
        button.press("Enter")
        assert button.get_attribute("aria-pressed") == "true"
        dark = visit.page.evaluate(colour)
        assert dark != light
        visit.page.reload()
        assert visit.page.evaluate(colour) == dark
    with Visit(browser, pages["one"], color_scheme="dark") as visit:
        assert visit.page.evaluate(colour) == dark
        visit.page.locator("#theme").press("Enter")
        assert visit.page.evaluate(colour) == light


CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = (rgb) => rgb.slice(0, 3).map((v) => linear(v / 255))
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > .9) return c; } return [255, 255, 255]; };
  const poor = [];
  for (const e of document.querySelectorAll("main *, nav *, footer *, header *")) {
    const texts = Array.from(e.childNodes).filter((n) => n.nodeType === 3 && n.textContent.trim());
    if (e.closest(".panel, svg") || !texts.length) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) poor.push(e.className + ": " + e.textContent.slice(0, 30));
  }
  return poor;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(browser, pages, scheme):
    with Visit(browser, pages["three"], color_scheme=scheme) as visit:
        assert visit.page.evaluate(CONTRAST) == []


@pytest.mark.parametrize("width", [390, 768, 1440])
def test_nothing_sticks_out(browser, pages, width):
    for name in ("three", "hostile"):
        with Visit(browser, pages[name], viewport={"width": width, "height": 800}) as visit:
            assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_javascript_everything_can_be_read(browser, pages):
    with Visit(browser, pages["three"], java_script_enabled=False) as visit:
        page = visit.page
        assert page.locator(".gallery tbody tr:visible").count() == 24
        assert page.locator("button:visible").count() == 0
        assert page.locator(".badge:visible").all_inner_texts() == ["HELPED", "INCONCLUSIVE", "HURT"]
        page.locator("#unicam .pick").first.get_by_label("fitnet").check()  # needs no script
        assert page.locator("tbody tr:first-child .gain:visible").count() == 1
        page.locator("#data-accuracy summary").click()
        assert page.locator("#row-accuracy-1").is_visible()


def test_evidence_opens_its_table(browser, pages):
    with Visit(browser, pages["one"]) as visit:
        page = visit.page
        link = page.locator("#verdict .verdict .evidence")
        target = page.locator(link.get_attribute("href"))
        assert not target.is_visible()
        link.press("Enter")
        target.wait_for(state="visible")
        assert page.locator("tr.lit").count() == 3
        assert visit.quiet(pages["one"])


def test_tables_download(browser, pages, three_students):
    with Visit(browser, pages["three"]) as visit:
        page = visit.page
        with page.expect_download() as waiting:
            page.locator("[data-download=json]").press("Enter")
        content = json.loads(open(waiting.value.path(), encoding="utf-8").read())  # noqa: SIM115
        assert list(content["answers"]) == list(three_students)
        page.locator("#data-accuracy summary").click()
        with page.expect_download() as waiting:
            page.locator("#data-accuracy [data-download=csv]").press("Enter")
        assert waiting.value.suggested_filename == "accuracy.csv"
        text = open(waiting.value.path(), encoding="utf-8", newline="").read()  # noqa: SIM115
        lines = text.rstrip("\r\n").split("\r\n")
        assert lines[0].startswith("metric,value,model")
        assert len(lines) == 1 + len(three_students["accuracy"].rows)
        assert visit.quiet(pages["three"])


def test_a_downloaded_name_is_no_formula(browser, pages):
    with Visit(browser, pages["hostile"]) as visit:
        visit.page.locator("#data-accuracy summary").click()
        with visit.page.expect_download() as waiting:
            visit.page.locator("#data-accuracy [data-download=csv]").press("Enter")
        text = open(waiting.value.path(), encoding="utf-8").read()  # noqa: SIM115
        assert "'=HYPERLINK(1)" in text
        assert not re.search(r",=HYPERLINK", text)


def test_printing_opens_what_is_folded(browser, pages):
    with Visit(browser, pages["one"]) as visit:
        page = visit.page
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.locator("details:not([open])").count() == 0
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.locator("details[open]").count() == 0
        page.emulate_media(media="print")
        assert not page.locator("nav.contents").is_visible()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.pdf().startswith(b"%PDF")


def test_paper_says_whose_maps_it_shows(browser, pages):
    with Visit(browser, pages["three"]) as visit:
        visit.page.locator("#unicam .pick").first.get_by_label("fitnet").check()
        visit.page.emulate_media(media="print")
        assert visit.page.locator("#unicam .pick").first.locator("label:visible").all_inner_texts() == ["fitnet"]


def test_the_first_tab_skips_to_the_report(browser, pages):
    with Visit(browser, pages["one"]) as visit:
        page = visit.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "content"


def test_landmarks_and_names_for_screen_readers(browser, pages):
    with Visit(browser, pages["three"]) as visit:
        page = visit.page
        for role in ("banner", "navigation", "main", "contentinfo"):
            assert page.get_by_role(role).count() >= 1
        assert page.get_by_role("region", name="Verdict").count() == 1
        assert page.get_by_role("group", name="Student").count() >= 1
        assert page.get_by_role("button", name="Gain").count() == 1
        nameless = (
            "Array.from(document.querySelectorAll('button, a, select, summary')).filter(e => !e.textContent.trim())"
        )
        assert page.evaluate(f"{nameless}.length") == 0


def test_the_notebook_card_is_quiet(browser, three_students, tmp_path):
    path = tmp_path / "card.html"
    path.write_text(
        f"<!DOCTYPE html><meta charset=utf-8><title>n</title>{three_students._repr_html_()}", encoding="utf-8"
    )
    with Visit(browser, path) as visit:
        assert visit.quiet(path)
        assert visit.page.locator("img").count() == 6


def test_names_of_a_narrow_card_are_words_and_its_tables_scroll(browser, three_students, tmp_path):
    path = tmp_path / "card.html"
    cards = three_students._repr_html_() + three_students["accuracy"]._repr_html_()
    path.write_text(f"<!DOCTYPE html><meta charset=utf-8><title>n</title>{cards}", encoding="utf-8")
    with Visit(browser, path, viewport={"width": 390, "height": 800}) as visit:
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
        narrowest = "Math.min(...[...document.querySelectorAll('tbody th')].map((cell) => cell.clientWidth))"
        assert visit.page.evaluate(narrowest) > 30
        lines = """[...document.querySelectorAll('tbody th')].map((cell) => {
            const range = document.createRange();
            range.selectNodeContents(cell.firstChild);
            return new Set([...range.getClientRects()].map((box) => box.top)).size
                - cell.firstChild.textContent.trim().split(/[\\s-]+/).length;
        })"""
        assert max(visit.page.evaluate(lines)) <= 0  # at most one line a word


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_notebook_card_keeps_its_colours_in_a_notebook_of_the_other_kind(browser, one_student, tmp_path, scheme):
    path = tmp_path / "card.html"
    paper = "#111" if scheme == "light" else "#fff"
    path.write_text(
        f"<!DOCTYPE html><meta charset=utf-8><title>n</title><style>tbody tr:nth-child(odd) {{ background: {paper} }}"
        f"</style>{one_student._repr_html_()}{one_student['accuracy']._repr_html_()}",
        encoding="utf-8",
    )
    with Visit(browser, path, color_scheme=scheme) as visit:
        backgrounds = visit.page.evaluate(
            "[...document.querySelectorAll('tr')].map((row) => getComputedStyle(row).backgroundColor)"
        )
        assert set(backgrounds) == {"rgba(0, 0, 0, 0)"}
