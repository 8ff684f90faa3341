//! Prometheus reads the metrics of servers and a load client; its tools check the pages, the alert rules and the
//! dashboard.

use super::support::{Program, await_some, await_until, connect, listening_address};
use super::{expect_success, has, repository};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

const TEXT: &str = "text/plain;version=0.0.4";

/// Programs with every kind of metric: a server with TLS and frames, a proxy, a UDP server, and a load client.
struct Observed {
    programs: Vec<Program>,
}

impl Observed {
    fn start() -> Self {
        let server = |arguments: &[&str]| {
            Program::server(&[&["127.0.0.1", "0", "--workers", "1", "--metrics", "127.0.0.1:0"], arguments].concat())
        };
        let framed = server(&["--frame", "lines", "--tls-self-signed"]);
        let target = framed.address_of(" (tls, ").to_string();
        let proxy = server(&["--upstream", &target, "--upstream-tls", "--upstream-tls-insecure"]);
        let udp = server(&["--udp"]);
        let load = ["-c", "4", "--rate", "200", "--duration", "10m", "--frame", "lines", "--message", "hello"];
        let tls = ["--tls", "--tls-insecure", "--metrics", "127.0.0.1:0"];
        let client = Program::client(&[&[&*target], &load[..], &tls].concat());
        let through_proxy = Program::client(&[&proxy.address().to_string(), "2", "--message", "hello\\n"]).await_exit();
        assert_eq!(through_proxy.code, Some(0), "{through_proxy:#?}");
        let programs = vec![framed, proxy, udp, client];
        let observed = Self { programs };
        await_until("the first second of the load", || {
            observed.pages()[3].contains("\nmulticonn_client_messages_total{outcome=\"answered\"} 1")
        });
        observed
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.programs.iter().map(|program| program.address_of(", metrics)")).collect()
    }

    /// The pages in the text format.
    fn pages(&self) -> Vec<String> {
        self.addresses().into_iter().map(|address| get(address, "/metrics", TEXT)).collect()
    }

    /// The names of all families in the text format.
    fn families(&self) -> BTreeSet<String> {
        let pages = self.pages().concat();
        let names = pages.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        names.map(str::to_owned).collect()
    }
}

/// The body of a page.
#[track_caller]
fn get(address: SocketAddr, path: &str, accept: &str) -> String {
    let mut stream = connect(address);
    write!(stream, "GET {path} HTTP/1.0\r\nHost: test\r\nAccept: {accept}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{answer}");
    body.to_owned()
}

/// The names of our metrics in a text, without the suffix of a histogram's buckets.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    let names = words.filter(|word| word.starts_with("multiconn_"));
    names.map(|name| name.strip_suffix("_bucket").unwrap_or(name).to_owned()).collect()
}

/// The expressions of the dashboard, with values for its variables.
fn dashboard_expressions() -> Vec<String> {
    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(repository("scripts/observability/dashboard.json")).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let expressions = targets.map(|target| target["expr"].as_str().unwrap());
    expressions.map(|text| text.replace("$instance", ".*").replace("$__rate_interval", "10s")).collect()
}

#[test]
fn promtool_finds_no_fault_with_the_pages() {
    if !has("promtool", "a check of the metrics pages") {
        return;
    }
    for page in Observed::start().pages() {
        let mut command = Command::new("promtool");
        command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        assert!(output.status.success() && text.is_empty(), "{}\n{page}", String::from_utf8_lossy(&text));
    }
}

#[test]
fn alert_rules_and_dashboard_name_existing_metrics() {
    let families = Observed::start().families();
    for file in ["alerts.yml", "alerts_test.yml", "dashboard.json"] {
        let text = fs::read_to_string(repository("scripts/observability").join(file)).unwrap();
        let names = metrics_in(&text);
        let unknown: Vec<_> = names.difference(&families).collect();
        assert!(names.len() > 10 && unknown.is_empty(), "{file}: {unknown:?}");
    }
}

#[test]
fn promtool_tests_the_alert_rules() {
    if !has("promtool", "tests of the alert rules") {
        return;
    }
    let folder = repository("scripts/observability");
    for arguments in [["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]] {
        expect_success(Command::new("promtool").args(arguments).current_dir(&folder));
    }
    let rules = fs::read_to_string(folder.join("alerts.yml")).unwrap();
    let tests = fs::read_to_string(folder.join("alerts_test.yml")).unwrap();
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(&format!("- alertname: {alert}\n")), "{alert} is never raised in a test");
    }
}

/// A running Prometheus.
struct Prometheus {
    address: SocketAddr,
    _program: Program,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Scrapes `targets`, and evaluates the alert rules.
    fn scraping(targets: &[SocketAddr]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = repository("scripts/observability/alerts.yml");
        let config = format!(
            "global: {{scrape_interval: 500ms, evaluation_interval: 500ms}}\nrule_files: ['{}']\n\
             scrape_configs: [{{job_name: multiconn-server, static_configs: [{{targets: {:?}}}]}}]\n",
            rules.display(),
            targets.iter().map(ToString::to_string).collect::<Vec<_>>()
        );
        fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        let mut command = Command::new("prometheus");
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:0"]);
        let program = Program::spawn(command.current_dir(&folder));
        let line = program.await_stderr("msg=\"Listening on\" address=");
        let (_, address) = line.rsplit_once('=').unwrap();
        program.await_stderr("msg=\"Server is ready to receive web requests.\"");
        Self { address: listening_address(&format!("Listening on {address} ")), _program: program, _folder: folder }
    }

    /// What the HTTP API answers.
    #[track_caller]
    fn ask(&self, path: &str) -> Value {
        let answer: Value = serde_json::from_str(&get(self.address, path, "*/*")).unwrap();
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// The series of an expression with their values.
    #[track_caller]
    fn query(&self, expression: &str) -> Vec<Value> {
        let encoded = expression.bytes().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "%{byte:02X}");
            text
        });
        self.ask(&format!("/api/v1/query?query={encoded}"))["result"].as_array().unwrap().clone()
    }
}

#[test]
fn prometheus_scrapes_servers_and_clients() {
    if !has("prometheus", "metrics read by Prometheus") {
        return;
    }
    let observed = Observed::start();
    let prometheus = Prometheus::scraping(&observed.addresses());
    // On a busy machine a single scrape may fail, because it is late.
    await_until("a scrape of every program", || {
        let targets = prometheus.ask("/api/v1/targets")["activeTargets"].as_array().unwrap().clone();
        prometheus.query("up == 1").len() == observed.programs.len()
            && targets.iter().all(|target| target["lastError"] == "")
    });
    for (series, label, value) in [
        ("multiconn_build_info", "__name__", "multiconn_build_info"),
        ("multiconn_tls_handshakes_total > 3", "result", "completed"),
        ("multiconn_outgoing_tls_handshakes_total == 2", "result", "completed"),
        ("multiconn_upstream_opened_total == 2", "__name__", "multiconn_upstream_opened_total"),
        ("multiconn_connections_closed_total > 0", "reason", "peer_closed"),
        ("multiconn_client_tls_handshakes_total == 4", "result", "completed"),
        ("rate(multiconn_messages_received_total[10s]) > 0", "worker", "0"),
        ("rate(multiconn_client_response_time_seconds_count[10s]) > 0", "job", "multiconn-server"),
    ] {
        await_some(series, || prometheus.query(series).iter().find(|found| found["metric"][label] == value).cloned());
    }
    // The type and the help of each family.
    let metadata = prometheus.ask("/api/v1/metadata");
    for name in ["multiconn_messages_received_total", "multiconn_client_messages_total", "multiconn_loop_round_seconds"]
    {
        let family = metadata.get(name).or_else(|| metadata.get(name.trim_end_matches("_total")));
        assert!(family.is_some_and(|family| family[0]["help"] != ""), "{name}: {metadata}");
    }
    for expression in dashboard_expressions() {
        // Series of errors begin with the first error.
        let is_of_errors = expression.contains("_errors_total");
        await_until(&format!("data for a panel: {expression}"), || {
            let found = prometheus.query(&expression);
            is_of_errors || found.iter().any(|series| series["value"][1] != "NaN")
        });
    }
    // Each rule has been evaluated.
    let rules = await_some("an evaluation of the rules", || {
        let rules = prometheus.ask("/api/v1/rules")["groups"].as_array().unwrap().clone();
        let rules: Vec<_> = rules.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect();
        rules.iter().all(|rule| rule["health"] != "unknown").then_some(rules)
    });
    assert!(rules.len() > 10 && rules.iter().all(|rule| rule["health"] == "ok"), "{rules:#?}");
}
