//! The manifests of `scripts/kubernetes/`: their schemas, and what they say about each other and about the programs.

use super::support::{Program, connect, connect_narrow, more_than_fits, push_until_blocked, skipped, works};
use super::{expect_success, repository, run};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const FILES: [&str; 3] = ["server.yaml", "load.yaml", "monitoring.yaml"];

/// The objects of a manifest. None without a parser of YAML; a line then says that `what` is skipped.
pub(super) fn objects(file: &str, what: &str) -> Option<Vec<Value>> {
    if !works(Command::new("python3").args(["-c", "import yaml"])) {
        skipped(what, "there is no python3 with yaml here");
        return None;
    }
    let script = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let path = repository("scripts/kubernetes").join(file);
    let text = expect_success(Command::new("python3").args(["-c", script]).arg(path));
    Some(serde_json::from_str(&text).unwrap())
}

/// The object of this kind and name.
#[track_caller]
pub(super) fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// A list of strings, such as the arguments of a container.
pub(super) fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// The value after an option.
#[track_caller]
fn option<'a>(arguments: &'a [String], name: &str) -> &'a str {
    let position = arguments.iter().position(|argument| argument == name);
    &arguments[position.unwrap_or_else(|| panic!("no {name} in {arguments:?}")) + 1]
}

#[test]
fn manifests_match_their_schemas() {
    if !works(Command::new("python3").args(["-c", "import kubernetes_validate"])) {
        return skipped("the schemas of the manifests", "there is no python3 with kubernetes_validate here");
    }
    let validate =
        |paths: &[PathBuf]| run(Command::new("python3").args(["-m", "kubernetes_validate", "--strict"]).args(paths));
    let paths = FILES.map(|file| repository("scripts/kubernetes").join(file));
    let output = validate(&paths);
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{text}");
    for object in ["deployment/", "service/", "poddisruptionbudget/", "job/"] {
        assert!(text.contains(&format!("passed for resource {object}")), "{object}: {text}");
    }
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.yaml");
    let manifest = fs::read_to_string(&paths[0]).unwrap();
    fs::write(&wrong, manifest.replace("terminationGracePeriodSeconds", "terminationGraceSeconds")).unwrap();
    assert!(!validate(&[wrong]).status.success(), "a fault would have been found");
}

/// What the schema of the Prometheus operator finds wrong with ServiceMonitors.
fn faults(monitors: &Value) -> Vec<String> {
    let mut command = Command::new("node");
    command.arg(repository("tests/deployment/service_monitor.js")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(monitors.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn service_monitors_match_their_schema() {
    let what = "the schema of the ServiceMonitors";
    if !works(
        Command::new("node").args(["-e", "require.resolve('@kubernetes-models/prometheus-operator/package.json')"]),
    ) {
        return skipped(what, "there is no node with @kubernetes-models/prometheus-operator in NODE_PATH here");
    }
    let Some(monitors) = objects("monitoring.yaml", what) else { return };
    assert_eq!(monitors.iter().filter(|monitor| monitor["kind"] == "ServiceMonitor").count(), 2);
    let mut monitors = Value::from(monitors);
    assert_eq!(faults(&monitors), [""; 0]);
    monitors[0]["spec"]["endpoints"][0]["interval"] = "often".into();
    monitors[1]["spec"]["endpoints"][0]["scrapeTimout"] = "1s".into();
    let expected = ["/spec/endpoints/0/interval: pattern", "/spec/endpoints/0/scrapeTimout: unknown"];
    assert_eq!(faults(&monitors), expected);
}

#[test]
fn manifests_agree_with_each_other_and_with_the_programs() {
    let Some(objects) = FILES
        .iter()
        .map(|file| objects(file, "the contents of the manifests"))
        .collect::<Option<Vec<_>>>()
        .map(|files| files.concat())
    else {
        return;
    };
    let (deployment, job) = (object(&objects, "Deployment", "multiconn-server"), object(&objects, "Job", "load"));
    for (workload, service) in [(deployment, "multiconn-server"), (job, "multiconn-client")] {
        let pod = &workload["spec"]["template"];
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["image"], format!("multiconn:{}", env!("CARGO_PKG_VERSION")));
        let service = object(&objects, "Service", service);
        for (label, value) in service["spec"]["selector"].as_object().unwrap() {
            assert_eq!(&pod["metadata"]["labels"][label], value, "{label}");
        }
        let ports: Vec<_> = container["ports"].as_array().unwrap().iter().map(|port| &port["name"]).collect();
        for port in service["spec"]["ports"].as_array().unwrap() {
            assert!(ports.contains(&&port["targetPort"]), "{port}");
        }
        let monitor = object(&objects, "ServiceMonitor", service["metadata"]["name"].as_str().unwrap());
        assert_eq!(monitor["apiVersion"], "monitoring.coreos.com/v1");
        for (label, value) in monitor["spec"]["selector"]["matchLabels"].as_object().unwrap() {
            assert_eq!(&service["metadata"]["labels"][label], value, "{label}");
        }
        let endpoint = &monitor["spec"]["endpoints"][0]["port"];
        assert!(service["spec"]["ports"].as_array().unwrap().iter().any(|port| port["name"] == *endpoint));
    }
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let arguments = strings(&container["args"]);
    let drain: u64 = option(&arguments, "--drain-timeout").trim_end_matches('s').parse().unwrap();
    let pause = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() >= pause + drain + 5, "time to drain");
    let budget = object(&objects, "PodDisruptionBudget", "multiconn-server");
    assert_eq!(budget["spec"]["selector"], deployment["spec"]["selector"]);
    assert!(deployment["spec"]["replicas"].as_u64() > budget["spec"]["minAvailable"].as_u64(), "a node can be drained");
    let arguments = strings(&job["spec"]["template"]["spec"]["containers"][0]["args"]);
    let shards = job["spec"]["completions"].as_u64().unwrap();
    assert_eq!(option(&arguments, "--shard"), format!("auto/{shards}"));
    assert_eq!(job["spec"]["parallelism"], shards, "all shards run at the same time");
    let collector = fs::read_to_string(repository("scripts/kubernetes/run-load")).unwrap();
    assert!(collector.contains(&format!("--shards {shards} ")) && collector.contains("job-name=load"), "{collector}");
}

/// The commands of the probes and of a rollout, as the kubelet performs them.
#[test]
fn a_server_of_the_deployment_drains_on_sigterm() {
    let Some(objects) = objects("server.yaml", "the server of the Deployment") else { return };
    let container = &object(&objects, "Deployment", "multiconn-server")["spec"]["template"]["spec"]["containers"][0];
    let arguments = strings(&container["args"]);
    let free = arguments.iter().map(|argument| match argument.as_str() {
        "65432" => "0",
        ":9464" => "127.0.0.1:0",
        other => other,
    });
    let mut server = Program::server(&free.collect::<Vec<_>>());
    let pages = server.address_of(", metrics)");
    let ask = |probe: &str| {
        let path = container[probe]["httpGet"]["path"].as_str().unwrap();
        let mut stream = connect(pages);
        write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        String::from_utf8(status.to_vec()).unwrap()
    };
    assert_eq!([ask("readinessProbe"), ask("livenessProbe")], ["HTTP/1.1 200"; 2]);
    // A connection whose reply is still on its way keeps the server alive.
    let peer = [connect_narrow((Ipv4Addr::LOCALHOST, server.address().port()).into())];
    push_until_blocked(&peer, &more_than_fits());
    server.signal(Signal::TERM);
    server.await_stderr("shutting down: draining 1 connection");
    assert_eq!([ask("readinessProbe"), ask("livenessProbe")], ["HTTP/1.1 503", "HTTP/1.1 200"]);
    drop(peer);
    assert_eq!(server.await_exit().code, Some(0));
}
