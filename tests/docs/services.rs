//! Each built-in service is complete: it has a name on the command line, a row in docs/server.md, and a test of the real
//! program.

use super::root;
use super::support::Program;
use std::fs;
use std::path::Path;

/// Types that serve connections and have no name on the command line of their own.
const NOT_NAMED: [&str; 4] = [
    // Serves the admin listener.
    "HttpService",
    // Made by functions such as `daytime`.
    "OneShot",
    // Made by --upstream.
    "Proxy",
    // Serves the connections of `Proxy`.
    "Tunnel",
];

/// The names of `--service`, from `--help`.
fn names() -> Vec<String> {
    let help = Program::server(&["--help"]).await_exit().stdout;
    let services = help.iter().skip_while(|line| !line.contains("--service <NAME>")).skip(2);
    let names: Vec<_> = services.map_while(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    assert!(names.iter().any(|name| name == "echo"), "{names:?}");
    names
}

/// The source files of a directory and those below, without files of unit tests.
fn sources(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            found.push(fs::read_to_string(path).unwrap());
        }
    }
    found
}

/// The types of `source` that implement `Service`, without those of its tests and those that only forward calls.
fn service_types(source: &str) -> impl Iterator<Item = &str> {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let heads =
        code.lines().filter(|line| line.starts_with("impl")).filter_map(|line| line.split_once(" Service for "));
    heads.filter_map(|(_, name)| name.split([' ', '<']).next()).filter(|name| *name != "Box")
}

/// Whether `text` contains `name` as a whole word.
fn mentions(text: &str, name: &str) -> bool {
    text.split(|character: char| !character.is_alphanumeric() && character != '_').any(|word| word == name)
}

#[test]
fn every_service_has_a_name() {
    let names = fs::read_to_string(root().join("src/cli/server/services.rs")).unwrap();
    let sources = sources(&root().join("src/service"));
    let types: Vec<&str> = sources.iter().flat_map(|source| service_types(source)).collect();
    assert!(types.contains(&"Echo") && types.contains(&"Delayed") && types.contains(&"Search"), "{types:?}");
    let forgotten = |name: &&&str| !mentions(&names, name) && !NOT_NAMED.contains(*name);
    let missing: Vec<_> = types.iter().filter(forgotten).collect();
    assert!(missing.is_empty(), "no --service of src/cli/server/services.rs makes {missing:?}");
    let source = "impl<S: Service> Service for Box<S> {}\nimpl Service for New {}\n#[cfg(test)]\nmod tests {\nimpl Service for Fake {}";
    assert_eq!(service_types(source).collect::<Vec<_>>(), ["New"]);
    assert!(mentions("a New<R>", "New") && !mentions("a NewOne", "New"));
}

#[test]
fn every_service_is_documented() {
    let page = fs::read_to_string(root().join("docs/server.md")).unwrap();
    let missing: Vec<_> = names().into_iter().filter(|name| !page.contains(&format!("\n| `{name}`"))).collect();
    assert!(missing.is_empty(), "docs/server.md has no row for {missing:?}");
}

#[test]
fn every_service_is_tested() {
    let tests = sources(&root().join("tests/server")).concat();
    let is_tested = |name: &str| {
        let calls = [format!("\"--service\", \"{name}\""), format!("serving(\"{name}\""), format!("said(\"{name}\"")];
        // Nearly all tests use the default service.
        name == "echo" || calls.iter().any(|call| tests.contains(call))
    };
    let missing: Vec<_> = names().into_iter().filter(|name| !is_tested(name)).collect();
    assert!(missing.is_empty(), "no test in tests/server/ of {missing:?}");
    assert!(!is_tested("no-such-service"));
}
