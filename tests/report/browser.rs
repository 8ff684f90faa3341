//! The page in a real browser: Chromium, where there is one, without a network and without a word of complaint.

use super::support::{Program, skipped, works};
use super::{file, report, sample, text_file};
use std::process::Command;

/// What Chromium makes of a page: its document, and what it says on its console.
fn render(browser: &str, path: &str) -> (String, Vec<String>) {
    let profile = tempfile::tempdir().unwrap();
    let data = format!("--user-data-dir={}", profile.path().display());
    let mut command = Program::clean(Command::new(browser));
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr"]);
    command.args([&data, "--dump-dom", &format!("file://{path}")]);
    let exit = Program::spawn(&mut command).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let complaints = exit.stderr.into_iter().filter(|line| line.contains("CONSOLE"));
    (exit.stdout.join("\n"), complaints.collect())
}

#[test]
fn chromium_renders_the_page_and_has_nothing_to_complain_of() {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let Some(browser) = names.into_iter().find(|name| works(Command::new(name).arg("--version"))) else {
        return skipped("the page in a browser", "there is no Chromium here");
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.html").to_str().unwrap().to_owned();
    let mut record = sample(10, 100);
    record.target = "<script>console.error('from a record')</script>".to_owned();
    let run = file(&folder, "run.json", &record);
    assert_eq!(report(&["html", &run, "-o", &path]).code, Some(0));
    let (document, complaints) = render(browser, &path);
    assert_eq!(complaints, [""; 0]);
    assert_eq!(document.matches("<svg class=\"chart\"").count(), 4, "{document}");
    // A browser that never complains would prove nothing.
    let page = std::fs::read_to_string(&path).unwrap();
    let bad = page.replace("</main>", "<img src=\"https://example.org/x.png\"></main>");
    let (_, complaints) = render(browser, &text_file(&folder, "bad.html", &bad));
    assert!(complaints.iter().any(|line| line.contains("Content Security Policy")), "{complaints:?}");
}
