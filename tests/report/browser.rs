//! The HTML report in Chromium, if installed: it renders without network access and without console errors, and fits
//! narrow windows.

use super::support::{PATIENCE, Program, skipped, works};
use super::{file, report, sample, text_file};
use std::process::Command;

/// Lists, in the title of the page around the report, the elements that are cut off or need scrolling, and the labels that overlap.
const FIND_OVERFLOW: &str = "<script>
    const width = document.documentElement.clientWidth, faults = [];
    const describe = (element) => `${element.tagName} ${element.className.baseVal ?? element.className}`;
    for (const element of document.querySelectorAll('body, body *')) {
        const box = element.getBoundingClientRect();
        if (box.width && (box.left < 0 || box.right > width + 0.5)) faults.push(`${describe(element)} is cut off`);
        const is_inline = getComputedStyle(element).display === 'inline' || element.ownerSVGElement;
        if (!is_inline && element.scrollWidth > element.clientWidth + 1) faults.push(`${describe(element)} scrolls`);
    }
    const labels = [...document.querySelectorAll('text')].map((text) => text.getBoundingClientRect());
    labels.filter((a) => a.width).forEach((a, i, all) => all.slice(i + 1).forEach((b) => {
        if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom) faults.push('labels overlap');
    }));
    parent.document.title = `${width}: ${faults.join(', ')}.`;
    </script></body>";

/// The program of Chromium, if installed; if not, reports that `what` is skipped.
fn browser(what: &str) -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names.into_iter().find(|name| works(Command::new(name).arg("--version")));
    if found.is_none() {
        skipped(what, "there is no Chromium here");
    }
    found
}

/// Renders a page in Chromium. Returns its document and its console messages.
fn render(browser: &str, path: &str) -> (String, Vec<String>) {
    let profile = tempfile::tempdir().unwrap();
    let data = format!("--user-data-dir={}", profile.path().display());
    let mut command = Program::clean(Command::new(browser));
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr"]);
    command.args([&data, "--dump-dom", &format!("file://{path}")]);
    let exit = Program::spawn(&mut command).await_exit_within(PATIENCE * 2);
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let console_messages = exit.stderr.into_iter().filter(|line| line.contains("CONSOLE"));
    (exit.stdout.join("\n"), console_messages.collect())
}

/// The width of a window, and what is cut off, scrolls or overlaps in it.
fn faults(browser: &str, page: &str, width: u32) -> String {
    let folder = tempfile::tempdir().unwrap();
    let policy = page.lines().find(|line| line.contains("Content-Security-Policy")).unwrap();
    let page = page.replace(policy, "").replace("<details>", "<details open>");
    // Chromium's own window cannot be as narrow as a frame.
    let page = page.replace("</body>", FIND_OVERFLOW).replace('&', "&amp;").replace('"', "&quot;");
    let frame = format!("<title></title><iframe width=\"{width}\" height=\"50000\" srcdoc=\"{page}\"></iframe>");
    let (document, _) = render(browser, &text_file(&folder, "frame.html", &frame));
    document.split("<title>").nth(1).unwrap().split("</title>").next().unwrap().to_owned()
}

#[test]
fn chromium_renders_the_page_without_errors() {
    let Some(browser) = browser("the page in a browser") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.html").to_str().unwrap().to_owned();
    let mut results = sample(10, 100);
    results.targets = vec!["<script>console.error('from a record')</script>".to_owned()];
    let run = file(&folder, "run.json", &results);
    assert_eq!(report(&["html", &run, "-o", &path]).code, Some(0));
    let (document, console_messages) = render(browser, &path);
    assert_eq!(console_messages, [""; 0]);
    assert_eq!(document.matches("<svg class=\"chart\"").count(), 4, "{document}");
    // The check must detect a page that loads an external image.
    let page = std::fs::read_to_string(&path).unwrap();
    let bad = page.replace("</main>", "<img src=\"https://example.org/x.png\"></main>");
    let (_, console_messages) = render(browser, &text_file(&folder, "bad.html", &bad));
    assert!(console_messages.iter().any(|line| line.contains("Content Security Policy")), "{console_messages:?}");
}

#[test]
fn chromium_renders_the_page_of_a_comparison() {
    let Some(browser) = browser("the page of a comparison in a browser") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("both.html").to_str().unwrap().to_owned();
    let mut results = sample(10, 100);
    let before = file(&folder, "before.json", &results);
    results.targets = vec!["<script>console.error('from a record')</script>".to_owned()];
    let after = file(&folder, "after.json", &results);
    assert_eq!(report(&["compare", &before, &after, "--html", &path]).code, Some(0));
    let (document, console_messages) = render(browser, &path);
    assert_eq!(console_messages, [""; 0]);
    assert_eq!(document.matches("<svg class=\"chart\"").count(), 3, "{document}");
    let page = std::fs::read_to_string(&path).unwrap();
    assert_eq!(faults(browser, &page, 400), "400: .");
}

#[test]
fn nothing_is_cut_off_in_a_narrow_window() {
    let Some(browser) = browser("the page in a narrow window") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.html").to_str().unwrap().to_owned();
    // Long texts, large numbers, many seconds and many nines.
    let mut results = sample(120, 900_000);
    results.targets = vec!["127.0.0.1:65432, ".repeat(5)];
    results.configuration.set("message", "x".repeat(200));
    results.errors.insert("connect_timeout".to_owned(), 123_456_789);
    results.mismatches.first.push("0123456789".repeat(20));
    results.reasons = vec!["y".repeat(200)];
    results.intervals[1].sent = 1_234_567_890;
    let run = file(&folder, "run.json", &results);
    assert_eq!(report(&["html", &run, "-o", &path]).code, Some(0));
    let page = std::fs::read_to_string(&path).unwrap();
    for width in [400, 1200] {
        assert_eq!(faults(browser, &page, width), format!("{width}: ."));
    }
    let line = format!("<main><p style=\"white-space: nowrap\">{}</p>", "wide ".repeat(100));
    let wide = page.replace("<main>", &line);
    let found = faults(browser, &wide, 400);
    assert!(found.contains("P  scrolls"), "{found}");
}
