//! The site in a browser, headless Chromium from Debian's packages: every link followed, filters clicked, contrast and
//! keyboard use checked, at the sizes of a phone and of a desktop, in light and in dark.
//!
//! Where Chromium or its driver is missing, these tests are skipped and say so. With LOOK_AT_PAGES=DIR they leave
//! pictures there.

#[path = "../common/mod.rs"]
mod common;
mod driver;

use std::{collections::BTreeSet, fs, path::Path};

use common::*;
use driver::Browser;
use results::{Background, site::site};
use serde_json::{Value, json};

/// Writes a site somewhere below `dir`, as a static host in a subdirectory would have it.
fn written(dir: &Path, reports: &[results::Report]) -> Vec<String> {
    let site = site(reports, &Background::default());
    let root = dir.join("some/where");
    for (name, text) in site.pages.iter().chain(&site.downloads) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let pages = site.pages.keys().filter(|name| name.ends_with(".html"));
    pages
        .map(|name| format!("file://{}/{name}", root.display()))
        .collect()
}

fn index(pages: &[String]) -> String {
    pages
        .iter()
        .find(|page| page.ends_with("/index.html"))
        .unwrap()
        .clone()
}

/// Texts whose contrast with what is behind them is less than WCAG 2.1 AA asks for.
const LOW_CONTRAST: &str = r#"
const rgb = (text) => { const n = text.match(/[\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
const light = (c) => { const f = c.slice(0, 3).map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2]; };
const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] > 0.99) return c; } return rgb(getComputedStyle(document.body).backgroundColor); };
const low = new Set();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const e = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !e.getClientRects().length || e.closest("svg")) continue;
  const style = getComputedStyle(e);
  const a = light(rgb(style.color)), b = light(behind(e));
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const large = parseFloat(style.fontSize) >= 24;
  if (ratio < (large ? 3 : 4.5)) low.add(e.tagName + "." + e.className + " " + ratio.toFixed(2) + ": " + walker.currentNode.data.trim().slice(0, 40));
}
return [...low];
"#;

/// What makes a page unfit for a phone, or for those who do not see it.
const UNFIT: &str = r#"
const unfit = [];
const room = document.documentElement;
if (room.scrollWidth > room.clientWidth + 1) unfit.push("it is " + room.scrollWidth + " wide in " + room.clientWidth);
if (document.querySelectorAll("h1").length !== 1) unfit.push("it has not one h1");
if (!document.querySelector("main") || !document.querySelector("nav[aria-label]")) unfit.push("it lacks landmarks");
for (const th of document.querySelectorAll("th")) if (!th.scope) unfit.push("a th without scope: " + th.textContent);
for (const table of document.querySelectorAll("table")) if (!table.caption && !table.closest("[aria-label],[aria-labelledby]")) unfit.push("a table without a name");
for (const svg of document.querySelectorAll("svg")) if (!svg.getAttribute("aria-label") && svg.getAttribute("aria-hidden") !== "true") unfit.push("a picture without words");
for (const field of document.querySelectorAll("input,select")) if (!field.closest("label")) unfit.push("a field without a label");
const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
if (new Set(ids).size !== ids.length) unfit.push("an id twice");
for (const cell of document.querySelectorAll("tr:not(.g) > td.w, .v.f, tr:not(.g) > td.f")) if (!/[a-z]{4}/.test(cell.textContent)) unfit.push("a verdict without its word");
return unfit;
"#;

#[test]
fn every_page_is_reached_by_links_and_fit_for_phone_and_desktop_light_and_dark() {
    let test = "every_page_is_reached_by_links_and_fit_for_phone_and_desktop_light_and_dark";
    let Some(browser) = Browser::start(test) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let pages = written(dir.path(), &reports());
    let mut reached = BTreeSet::new();
    let mut to_go = vec![index(&pages)];
    let mut wrong = Vec::new();
    while let Some(page) = to_go.pop() {
        if !reached.insert(page.clone()) {
            continue;
        }
        for (size, (width, height)) in [("phone", (390, 844)), ("desktop", (1400, 1000))] {
            browser.resize(width, height);
            browser.colours("light");
            browser.open(&page);
            for unfit in strings(&browser.run(UNFIT)) {
                wrong.push(format!("{page} on a {size}: {unfit}"));
            }
            for colours in ["light", "dark"] {
                browser.colours(colours);
                for low in strings(&browser.run(LOW_CONTRAST)) {
                    wrong.push(format!("{page} in {colours}: {low}"));
                }
            }
        }
        let links = browser.run("return [...document.links].map((a) => a.href)");
        for link in strings(&links)
            .into_iter()
            .filter(|link| link.starts_with("file:"))
        {
            let (file, _) = link.split_once('#').unwrap_or((&link, ""));
            let path = file.strip_prefix("file://").unwrap();
            if !Path::new(path).is_file() {
                wrong.push(format!("{page}: {link} leads nowhere"));
            } else if file.ends_with(".html") {
                to_go.push(file.to_owned());
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
    assert_eq!(reached, pages.into_iter().collect());
}

/// The rows of cases that are seen, by their ids.
const SEEN: &str = "return [...document.querySelectorAll('#m tbody tr:not(.g)')].filter((r) => r.offsetParent).map((r) => r.id)";

#[test]
fn filters_work_and_stay_in_the_address() {
    let Some(browser) = Browser::start("filters_work_and_stay_in_the_address") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let pages = written(dir.path(), &reports());
    browser.resize(1400, 1000);
    browser.open(&index(&pages));
    let seen = || strings(&browser.run(SEEN));
    let address = || {
        browser
            .run("return location.hash")
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(seen(), [""; 0], "all is folded at first");

    browser.click("#all");
    let all = seen().len();
    assert_eq!(all, cases().len());
    browser.click("#all");
    browser.type_into("[name=q]", "wal");
    assert_eq!(seen(), ["sqlite.wal"]);
    assert!(address().contains("q=wal"), "{}", address());
    browser.open(&format!("{}{}", index(&pages), address()));
    assert_eq!(seen(), ["sqlite.wal"], "the address brings the view back");

    browser.click("button[type=reset]");
    browser.settle();
    assert_eq!((seen(), address().as_str()), (vec![], ""));
    browser.click("[name=v][value=hangs]");
    assert_eq!(seen(), ["mmap.after_truncate"]);
    browser.click("button[type=reset]");
    browser.settle();

    // What differs between the second run of FUSE and the reference: the FIFO that works since.
    browser.choose("[name=a]", "qemu-qemu-golem-5.10-none-ext4");
    browser.choose("[name=b]", "fuse-server9p-golem-5.10-none-ext4");
    let verdicts = browser.run("return [...document.getElementById('special.mkfifo').cells].map((c) => c.className + ':' + c.textContent)");
    assert_eq!(seen(), ["special.mkfifo"], "{} {verdicts}", address());
    let columns =
        "return [...document.querySelectorAll('#m thead th')].filter((c) => c.offsetParent).length";
    assert_eq!(browser.run(columns), json!(3), "the case and two stacks");
    browser.click("button[type=reset]");
    browser.settle();

    browser.choose("[name=t]", "tool-sqlite");
    assert!(seen().iter().all(|id| id.starts_with("sqlite")) && !seen().is_empty());
    browser.click("button[type=reset]");
    browser.settle();
    browser.click("[name=s][value='fuse-server9p-golem-5.10-none-ext4']");
    assert_eq!(browser.run(columns), json!(2), "the case and one stack");
    browser.picture("filtered");
}

/// The heaviest front page: with more cases than this their rows are on the pages of tools alone. How long it takes to
/// open and to be filtered is printed, for whoever changes it: `cargo test -p results --test browser -- --nocapture heavy`.
#[test]
fn a_heavy_front_page_opens_unfolds_and_is_filtered() {
    let Some(browser) = Browser::start("a_heavy_front_page_opens_unfolds_and_is_filtered") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let pages = written(dir.path(), &many::many(40, 24, 12));
    browser.resize(1400, 1000);
    browser.open(&index(&pages));
    let loading = "const [n] = performance.getEntriesByType('navigation'); return ['responseEnd', 'domContentLoadedEventEnd', 'loadEventEnd'].map((at) => at + ' ' + Math.round(n[at]) + ' ms').join(', ')";
    eprintln!("the front page: {}", browser.run(loading));
    let rows = |selector: &str| {
        browser.run(&format!(
            "return document.querySelectorAll('#m {selector}').length"
        ))
    };
    assert_eq!(rows("tbody"), json!(40));
    for (what, wanted, done) in [
        ("unfold all", 960, "document.getElementById('all').click()"),
        (
            "find case_007",
            40,
            "const q = document.querySelector('[name=q]'); q.value = 'case_007'; q.dispatchEvent(new Event('input', {bubbles: true}))",
        ),
    ] {
        let took = browser.run(&format!(
            "const began = performance.now(); {done}; document.body.getBoundingClientRect(); return Math.round(performance.now() - began)"
        ));
        browser.settle();
        let seen = strings(&browser.run(SEEN)).len();
        eprintln!("{what}: {took} ms, {seen} rows seen");
        assert_eq!(seen, wanted, "{what}");
    }
    browser.picture("heavy");
}

#[test]
fn the_keyboard_reaches_and_folds_everything() {
    let Some(browser) = Browser::start("the_keyboard_reaches_and_folds_everything") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let pages = written(dir.path(), &reports());
    browser.resize(1400, 1000);
    browser.open(&index(&pages));
    let at = || {
        browser.run("const e = document.activeElement, s = getComputedStyle(e); return [e.textContent, s.outlineStyle, String(e.getAttribute('aria-expanded'))]")
    };
    browser.keys("\u{E004}"); // Tab
    assert_eq!(at()[0], "Skip to the content");
    let mut names = Vec::new();
    let folds = browser
        .run("return document.querySelectorAll('.fold').length")
        .as_u64()
        .unwrap();
    for _ in 0..200 {
        browser.keys("\u{E004}");
        let here = at();
        assert_ne!(here[1], "none", "what has the focus shows it: {here}");
        if here[2] == "false" {
            browser.keys("\u{E007}"); // Enter
            assert_eq!(at()[2], "true");
            names.push(here);
        }
        if names.len() as u64 == folds {
            break;
        }
    }
    assert_eq!(names.len() as u64, folds);
    assert_eq!(strings(&browser.run(SEEN)).len(), cases().len());
    browser.picture("unfolded");
}

#[test]
fn without_javascript_all_content_is_there() {
    let Some(browser) = Browser::start("without_javascript_all_content_is_there") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let pages = written(dir.path(), &reports());
    browser.resize(390, 844);
    browser.scripts(false);
    browser.open(&index(&pages));
    assert_eq!(strings(&browser.run(SEEN)).len(), cases().len());
    assert_eq!(
        browser.run("return document.getElementById('filter').offsetParent === null"),
        json!(true)
    );
    browser.picture("without-script");
}

#[test]
fn a_hostile_result_cannot_script_a_page() {
    let Some(browser) = Browser::start("a_hostile_result_cannot_script_a_page") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    for page in written(dir.path(), &hostile(reports())) {
        browser.open(&page);
        // An alert would make the driver refuse this.
        let own = "return [document.images.length, [...document.scripts].filter((s) => !s.src.endsWith('/site.js')).length, document.title.includes('probe9p')]";
        assert_eq!(browser.run(own), json!([0, 0, true]), "{page}");
    }
}

fn strings(value: &Value) -> Vec<String> {
    let items = value
        .as_array()
        .unwrap_or_else(|| panic!("{value} is no list"));
    items
        .iter()
        .map(|item| item.as_str().unwrap_or_default().to_owned())
        .collect()
}
