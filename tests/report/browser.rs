//! The HTML report in Chromium, if installed: it renders without network access and without console errors.

use super::support::{Program, skipped, works};
use super::{file, report, sample, text_file};
use std::process::Command;

/// Renders a page in Chromium. Returns its document and its console messages.
fn render(browser: &str, path: &str) -> (String, Vec<String>) {
    let profile = tempfile::tempdir().unwrap();
    let data = format!("--user-data-dir={}", profile.path().display());
    let mut command = Program::clean(Command::new(browser));
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr"]);
    command.args([&data, "--dump-dom", &format!("file://{path}")]);
    let exit = Program::spawn(&mut command).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let console_messages = exit.stderr.into_iter().filter(|line| line.contains("CONSOLE"));
    (exit.stdout.join("\n"), console_messages.collect())
}

#[test]
fn chromium_renders_the_page_without_errors() {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let Some(browser) = names.into_iter().find(|name| works(Command::new(name).arg("--version"))) else {
        return skipped("the page in a browser", "there is no Chromium here");
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.html").to_str().unwrap().to_owned();
    let mut results = sample(10, 100);
    results.target = "<script>console.error('from a record')</script>".to_owned();
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
