//! The load of `scripts/kubernetes/` on one machine: a server and eight shards, each in a network of its own, with the
//! commands of the manifests. `run-load` runs with a stand-in for kubectl.

use super::kubernetes::{object, objects, strings};
use super::repository;
use super::support::{PATIENCE, Program, in_own_network, skipped, works};
use multiconn::results::RunResults;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

const SHARDS: usize = 8;

/// The network of the server: a bridge to the pods.
const BRIDGE: &str = "ip link set lo up && ip link add pods type bridge && ip addr add 10.99.0.1/24 dev pods && \
                      ip link set pods up";

/// Runs the pods of a Job, in the networks whose processes `$PODS` names, and shows their logs. As in a cluster, a log
/// holds stdout and stderr. Runs are shorter than in the manifest.
const KUBECTL: &str = r#"#!/bin/sh
cd "$CLUSTER"
case "$1" in
delete) ;;
apply)
    python3 -c 'import sys, yaml
for found in yaml.safe_load_all(sys.stdin):
    if found["kind"] == "Job":
        container = found["spec"]["template"]["spec"]["containers"][0]
        print("\n".join(container["command"] + container["args"]))' >command
    sed -i 's/^80k$/400/; s/^800$/80/; s/^60s$/2s/; s/^5s$/500ms/' command
    index=0
    for pod in $PODS; do
        (JOB_COMPLETION_INDEX=$index xargs -d '\n' timeout 60 nsenter -t "$pod" --net --mount <command >"$index.log" 2>&1
        echo $? >"$index.status") &
        index=$((index + 1))
    done
    ;;
get) [ "$(cat ?.status 2>/dev/null | wc -l)" -lt 8 ] || echo Complete ;;
logs) cat ?.log ;;
*) exit 1 ;;
esac
"#;

/// A pod: a network with an address of its own, in which names are those of the cluster.
fn pod(number: usize, hosts: &Path) -> Program {
    let script = format!("mount --bind '{}' /etc/hosts && echo ready && exec sleep 300", hosts.display());
    let pod = Program::spawn(Command::new("unshare").args(["--net", "--mount", "sh", "-c", &script]));
    pod.await_stdout("ready");
    let pid = pod.pid().as_raw_nonzero();
    let script = format!(
        "ip link add pod{number} type veth peer name eth0 netns {pid} && ip link set pod{number} master pods up && \
         nsenter -t {pid} --net ip addr add 10.99.0.1{number}/24 dev eth0 && nsenter -t {pid} --net ip link set eth0 up && \
         nsenter -t {pid} --net ip link set lo up"
    );
    super::expect_success(Command::new("sh").args(["-c", &script]));
    pod
}

/// A folder with our programs and the stand-in for kubectl.
fn tools(folder: &Path) {
    for command in [Program::client_command(), Program::report_command()] {
        let path = Path::new(command.get_program());
        symlink(path, folder.join(path.file_name().unwrap())).unwrap();
    }
    let kubectl = folder.join("kubectl");
    fs::write(&kubectl, KUBECTL).unwrap();
    fs::set_permissions(kubectl, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn eight_shards_in_networks_of_their_own_are_one_load() {
    const WHAT: &str = "eight shards in eight networks";
    let Some(objects) = objects("server.yaml", WHAT) else { return };
    if !works(Command::new("unshare").args(["--net", "--mount", "sh", "-c", "command -v nsenter xargs"])) {
        return skipped(WHAT, "it takes the right to make namespaces");
    }
    let container = &object(&objects, "Deployment", "multiconn-server")["spec"]["template"]["spec"]["containers"][0];
    let arguments = strings(&container["args"]);
    in_own_network(WHAT, BRIDGE, || {
        let server = Program::spawn_logging(Program::server_command().args(&arguments));
        server.await_stdout(", metrics)");
        let folder = tempfile::tempdir().unwrap();
        let hosts = folder.path().join("hosts");
        fs::write(&hosts, "127.0.0.1 localhost\n10.99.0.1 multiconn-server\n").unwrap();
        let pods: Vec<_> = (0..SHARDS).map(|number| pod(number, &hosts)).collect();
        let namespaces = pods.iter().fold(String::new(), |mut list, pod| {
            let _ = write!(list, "{} ", pod.pid().as_raw_nonzero());
            list
        });
        tools(folder.path());
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let mut command = Program::clean(Command::new(repository("scripts/kubernetes/run-load")));
        command.args(["--fail-if", "errors>0", "--json", "all.json"]).current_dir(&folder);
        command.env("PATH", path).env("PODS", namespaces).env("CLUSTER", folder.path()).env("START_IN", "12");
        let exit = Program::spawn(&mut command).await_exit_within(4 * PATIENCE);
        let logs = super::run(Command::new("sh").args(["-c", "cat ?.log"]).current_dir(&folder)).stdout;
        assert_eq!(exit.code, Some(0), "{exit:#?}\n{}", String::from_utf8_lossy(&logs));
        for part in ["80 connections to multiconn-server:65432", "800 due, 800 sent, 800 answered", "8 runs merged"] {
            assert!(exit.stdout.iter().any(|line| line.contains(part)), "{part}: {exit:#?}");
        }
        let merged = RunResults::from_json(&fs::read_to_string(folder.path().join("all.json")).unwrap()).unwrap();
        assert_eq!((merged.runs, merged.load.rate, merged.connections.opened), (8, Some(400.0), 80));
        for number in 0..SHARDS {
            let accepted = format!("Accepted connection from ('10.99.0.1{number}', ");
            let count = server.stderr().iter().filter(|line| line.contains(&accepted)).count();
            assert_eq!(count, 10, "connections of shard {number}");
        }
    });
}
