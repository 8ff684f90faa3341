//! Output files of a run are written completely or not at all.

use super::results::within;
use super::support::{Exit, Program, expect_refusal, skipped, works};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// A short run with these outputs.
fn run(outputs: &[&str]) -> Exit {
    Program::client(&[&["--embedded"], outputs].concat()).await_exit()
}

/// The names in a directory.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.collect();
    names.sort();
    names
}

/// Runs `script` with the client as `$0` and a directory as `$1`, where file systems can be mounted; `None` where that
/// is not permitted.
fn with_mounts(what: &str, script: &str) -> Option<Exit> {
    if !works(Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"])) {
        skipped(what, "no file system can be mounted here");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let wrapper = ["unshare", "-m", "sh", "-c", script];
    Some(Program::spawn(Program::client_under(&wrapper).arg(folder.path())).await_exit())
}

#[test]
fn a_full_disk_leaves_the_earlier_file_and_nothing_of_a_new_one() {
    let script = "cd \"$1\" && mount -t tmpfs -o size=64k tmpfs . && cd \"$1\" && echo earlier > run.json
        head -c 1000000 /dev/zero > filler 2> /dev/null
        \"$0\" --embedded --json run.json --html new.html > /dev/null
        echo \"status $?\"; cat run.json; ls -A";
    let Some(exit) = with_mounts("a full disk", script) else { return };
    assert_eq!(exit.stdout, ["status 1", "earlier", "filler", "run.json"], "{exit:#?}");
    for path in ["run.json", "new.html"] {
        assert!(exit.stderr.iter().any(|line| line.contains(&format!("cannot write {path}: "))), "{exit:#?}");
    }
}

#[test]
fn a_file_that_cannot_be_replaced_is_written_in_place() {
    let script = "cd \"$1\" && echo earlier > below && : > run.json && mount --bind below run.json
        \"$0\" --embedded --json run.json > /dev/null
        echo \"status $?\"; umount run.json; grep -c multiconn-run below; ls -A";
    let Some(exit) = with_mounts("a file that is a mount point", script) else { return };
    assert_eq!(exit.stdout, ["status 0", "1", "below", "run.json"], "{exit:#?}");
}

#[test]
fn a_full_device_is_a_failure() {
    let exit = run(&["--json", "/dev/full"]);
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    assert!(exit.stderr.iter().any(|line| line.starts_with("error: cannot write /dev/full: ")), "{exit:#?}");
}

#[test]
fn a_file_keeps_its_mode_and_the_links_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let [file, link, far] = ["run.json", "link.json", "far.json"].map(|name| within(&folder, name));
    fs::write(&file, "earlier").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    symlink("run.json", &link).unwrap();
    symlink("new.json", &far).unwrap();
    assert_eq!(run(&["--json", &link, "--html", &far]).code, Some(0));
    assert!(fs::read_to_string(&file).unwrap().contains("multiconn-run/2"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(names(folder.path()), ["far.json", "link.json", "new.json", "run.json"]);
    assert!([link, far].iter().all(|link| fs::symlink_metadata(link).unwrap().is_symlink()));
    // A new file gets the default mode.
    let plain = within(&folder, "plain");
    fs::write(&plain, "").unwrap();
    let mode = |path: &str| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&within(&folder, "new.json")), mode(&plain));
}

#[test]
fn pipes_and_descriptors_are_written_directly() {
    let folder = tempfile::tempdir().unwrap();
    let [pipe, copy, open] = ["pipe", "copy", "open"].map(|name| within(&folder, name));
    let script =
        "mkfifo \"$1\" && { cat \"$1\" > \"$2\" & } && \"$0\" --embedded -q --json \"$1\" --html /dev/fd/3 3> \"$3\"
        status=$?; wait; exit $status";
    let mut command = Program::client_under(&["sh", "-c", script]);
    let exit = Program::spawn(command.args([&pipe, &copy, &open])).await_exit();
    assert_eq!((exit.code, exit.stderr.len()), (Some(0), 0), "{exit:#?}");
    assert!(fs::read_to_string(&copy).unwrap().contains("multiconn-run/2"));
    assert!(fs::read_to_string(&open).unwrap().starts_with("<!DOCTYPE html>"));
    assert_eq!(names(folder.path()), ["copy", "open", "pipe"]);
}

#[test]
fn an_html_report_can_go_to_stdout() {
    for name in ["-", "/dev/stdout"] {
        let exit = run(&["--html", name]);
        assert_eq!(exit.code, Some(0), "{exit:#?}");
        assert_eq!((exit.stdout[0].as_str(), exit.stdout.last().unwrap().as_str()), ("<!DOCTYPE html>", "</html>"));
        assert!(exit.stderr[0].starts_with("1 connection to "), "{exit:#?}");
    }
}

#[test]
fn one_file_for_two_outputs_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let [file, link, new] = ["run.json", "link.json", "new.json"].map(|name| within(&folder, name));
    fs::write(&file, "earlier").unwrap();
    symlink("run.json", &link).unwrap();
    let detour = format!("{}/./new.json", folder.path().display());
    for (first, second) in
        [(&file, &file), (&file, &link), (&new, &detour), (&"-".to_owned(), &"/dev/stdout".to_owned())]
    {
        let parts = ["--json and --html", second];
        expect_refusal(Program::client(&["--embedded", "--json", first, "--html", second]), 2, &parts);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "earlier");
    assert_eq!(names(folder.path()), ["link.json", "run.json"]);
    assert_eq!(run(&["--json", "/dev/null", "--html", "/dev/null"]).code, Some(0));
}
