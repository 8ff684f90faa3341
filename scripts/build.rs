//! Sets the build details for `--version`: commit, target and features. With `MULTICONN_FALLBACKS` in the environment,
//! the build uses the fallbacks for systems that lack features of Linux; with `MULTICONN_SIMULATED`, a simulated kernel.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=scripts/build.rs");
    set_if_wanted("MULTICONN_FALLBACKS", "multiconn_fallbacks");
    set_if_wanted("MULTICONN_SIMULATED", "multiconn_simulated");
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let is_debug = variable("PROFILE") == "debug";
    let commit = packaged_commit().or_else(|| checked_out_commit(is_debug)).unwrap_or_else(|| "unknown".to_owned());
    let profile = if is_debug { ", debug build" } else { "" };
    println!("cargo::rustc-env=MULTICONN_BUILD=commit {commit}, {}{profile}, {}", variable("TARGET"), features());
}

/// Sets the configuration option `option` if the environment has `variable`.
fn set_if_wanted(variable: &str, option: &str) {
    println!("cargo::rerun-if-env-changed={variable}");
    println!("cargo::rustc-check-cfg=cfg({option})");
    if env::var_os(variable).is_some() {
        println!("cargo::rustc-cfg={option}");
    }
}

/// The commit recorded by `cargo package`.
fn packaged_commit() -> Option<String> {
    let text = std::fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, rest) = text.split_once("\"sha1\"")?;
    rest.split('"').nth(1)?.get(..12).map(str::to_owned)
}

/// The commit of the repository rooted in this directory; none for sources within another repository.
fn checked_out_commit(is_debug: bool) -> Option<String> {
    let is_own = Path::new(&git(&["rev-parse", "--show-toplevel"])?).canonicalize().ok()? == env::current_dir().ok()?;
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).filter(|_| is_own)?;
    // Debug builds are not recompiled after each commit.
    if is_debug {
        return Some(format!("{commit} or later"));
    }
    // Every commit and checkout appends a line to this file.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
    Some(commit)
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}

fn features() -> String {
    let of_variable =
        |name: String| name.strip_prefix("CARGO_FEATURE_").map(|name| name.to_lowercase().replace('_', "-"));
    let mut names: Vec<String> = env::vars_os().filter_map(|(name, _)| of_variable(name.into_string().ok()?)).collect();
    names.sort();
    if names.is_empty() { "no features".to_owned() } else { format!("features: {}", names.join(" ")) }
}
