//! The unit of a shard in `scripts/systemd/`: systemd's own check of it, and its command.

use super::support::{PATIENCE, Program};
use super::{has, repository, run};
use multiconn::results::{RunResults, Timestamp};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

fn unit() -> String {
    fs::read_to_string(repository("scripts/systemd/multiconn-client@.service")).unwrap()
}

#[test]
fn systemd_finds_no_fault_with_the_unit_of_a_shard() {
    if !has("systemd-analyze", "the unit of a shard") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("multiconn-client@.service");
    let client = Program::client_command().get_program().to_str().unwrap().to_owned();
    // systemd only warns of unknown directives, and ignores them.
    let messages = |text: &str| {
        fs::write(&path, text.replace("ExecStart=/usr/bin/multiconn-client", &format!("ExecStart={client}"))).unwrap();
        let output = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        text.lines().filter(|line| line.contains("multiconn")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(messages(&unit()), [""; 0]);
    assert_eq!(messages(&unit().replace("StateDirectory=", "StateFolder=")).len(), 1, "a fault would have been found");
}

/// The variables in the comment of the unit, and its command for one shard.
fn shard(number: usize, address: &str, start: &str, state: &Path) -> Command {
    let unit = unit();
    let mut command = Program::client_command();
    let variables = unit.lines().filter_map(|line| line.strip_prefix("#   ")?.split_once('='));
    for (name, value) in variables.filter(|(name, _)| name.starts_with("MULTICONN_CLIENT_")) {
        let value = match name {
            "MULTICONN_CLIENT_HOST" => address,
            "MULTICONN_CLIENT_CONNECTIONS" => "16",
            "MULTICONN_CLIENT_RATE" => "400",
            "MULTICONN_CLIENT_DURATION" => "1s",
            "MULTICONN_CLIENT_START_AT" => start,
            _ => value,
        };
        command.env(name, value);
    }
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/multiconn-client ")).unwrap();
    let line = line.replace("%i", &number.to_string()).replace("${SHARDS}", "2").replace("%S", state.to_str().unwrap());
    command.args(line.split(' '));
    command
}

#[test]
fn shards_of_the_unit_are_merged() {
    let server = Program::server(&["127.0.0.1", "0"]);
    let address = server.address().to_string();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("multiconn")).unwrap();
    let start = Timestamp::after_1970(SystemTime::UNIX_EPOCH.elapsed().unwrap() + Duration::from_secs(10)).to_string();
    let start_shard = |number| Program::spawn(&mut shard(number, &address, &start, folder.path()));
    let shards: Vec<_> = (0..2).map(start_shard).collect();
    for mut shard in shards {
        let exit = shard.await_exit_within(2 * PATIENCE);
        assert_eq!(exit.code, Some(0), "{exit:#?}");
    }
    let mut merge = Program::report_command();
    merge.args(["merge", "multiconn/0.json", "multiconn/1.json", "--shards", "2"]).current_dir(&folder);
    let exit = Program::spawn(&mut merge).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let merged = RunResults::from_json(&exit.stdout.join("\n")).unwrap();
    assert_eq!((merged.connections.opened, merged.messages.answered, merged.runs), (16, 400, 2));
}
