//! The image of `scripts/container/Containerfile`, built and run by podman: its user, its health check, and its end.
//!
//! The build stage needs an image from a registry, and minutes. The programs of the tests stand in for its output; as
//! they are linked dynamically, they come with their libraries.

use super::support::{Program, await_until, skipped, works};
use super::{expect_success, repository, run};
use rustix::process::geteuid;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const WHAT: &str = "the container image";

/// Podman with storage of its own.
struct Podman {
    folder: tempfile::TempDir,
}

impl Podman {
    /// None where podman does not work; a line says so.
    fn new() -> Option<Self> {
        let podman = Self { folder: tempfile::tempdir().unwrap() };
        let is_installed = works(Command::new("runc").arg("--version")) && works(podman.command().arg("info"));
        if is_installed && geteuid().is_root() {
            return Some(podman);
        }
        skipped(WHAT, "it takes podman, runc, and root");
        None
    }

    fn command(&self) -> Command {
        let mut command = Command::new("podman");
        for (option, folder) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(self.folder.path().join(folder));
        }
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--runtime", "runc"]);
        command
    }

    /// Builds the last stage of the Containerfile.
    fn build(&self) {
        let context = self.folder.path().join("context");
        for program in [Program::server_command(), Program::client_command(), Program::report_command()] {
            let program = Path::new(program.get_program());
            install(program, &context.join("image/usr/local/bin").join(program.file_name().unwrap()));
            for library in libraries(program) {
                install(&library, &context.join("image").join(library.strip_prefix("/").unwrap()));
            }
        }
        let text = fs::read_to_string(repository("scripts/container/Containerfile")).unwrap();
        let last_stage = &text[text.find("FROM scratch").unwrap()..];
        fs::write(self.folder.path().join("Containerfile"), last_stage).unwrap();
        let mut command = self.command();
        command.args(["build", "--format", "docker", "--isolation", "chroot", "-t", "multiconn", "-f"]);
        command.arg(self.folder.path().join("Containerfile"));
        command.arg(format!("--build-context=build={}", context.display()));
        expect_success(command.arg(&context));
    }

    /// What `podman inspect` says about an object.
    fn inspect(&self, object: &str, format: &str) -> String {
        expect_success(self.command().args(["inspect", "--format", format, object])).trim_end().to_owned()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = run(self.command().args(["rm", "--all", "--force", "--time", "0"]));
    }
}

fn install(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap();
}

/// The libraries of a program, and their loader.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let text = expect_success(Command::new("ldd").arg(program));
    text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

#[test]
fn the_image_runs_healthy_without_rights_and_drains_on_stop() {
    let Some(podman) = Podman::new() else { return };
    podman.build();
    assert_eq!(podman.inspect("multiconn", "{{.Config.User}} {{.Config.StopSignal}}"), "65532:65532 SIGTERM");
    let mut start = podman.command();
    start.args(["run", "--detach", "--name", "server", "--network", "none", "--read-only", "--cap-drop", "all"]);
    let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=512:512"];
    let output = run(start.args(limits).args(["multiconn", "--service", "upper", "--workers", "1"]));
    if !output.status.success() {
        return skipped(WHAT, &format!("podman cannot run one: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let logs = || {
        let output = run(podman.command().args(["logs", "server"]));
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    await_until("the server", || logs().contains(":9464 (tcp, metrics)"));
    assert!(logs().contains(":65432 (tcp, upper)"), "{}", logs());
    // Its time is short for a busy machine.
    await_until("a healthy server", || run(podman.command().args(["healthcheck", "run", "server"])).status.success());
    let status = fs::read_to_string(format!("/proc/{}/status", podman.inspect("server", "{{.State.Pid}}"))).unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(field("Uid:"), ["65532"; 4].join("\t"));
    assert!(field("NSpid:").ends_with("\t1"), "PID 1: {status}");
    assert_eq!(field("CapEff:").trim_start_matches('0'), "", "{status}");
    // Nothing but the programs: no shell.
    assert!(!run(podman.command().args(["exec", "server", "/bin/sh", "-c", "true"])).status.success());
    expect_success(podman.command().args([
        "exec",
        "server",
        "multiconn-client",
        "127.0.0.1",
        "65432",
        "--message",
        "A",
    ]));
    expect_success(podman.command().args(["stop", "--time", "20", "server"]));
    assert_eq!(podman.inspect("server", "{{.State.ExitCode}}"), "0", "{}", logs());
    assert!(logs().contains("shutting down") && logs().contains("Served "), "{}", logs());
}
