//! The house's own rules, checked on its own sources: what each crate must never know, and how files begin.
//!
//! A rule that only a document knows is forgotten; these fail with the place that breaks them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A crate and those of the house that it may depend on: arrows go down only.
const ARROWS: [(&str, &[&str]); 9] = [
    ("engine", &["macros"]),
    ("runtime", &["engine"]),
    ("array", &["engine"]),
    ("datasets", &["engine", "array"]),
    ("learn", &["engine", "runtime", "array"]),
    ("glm", &["engine", "runtime", "array", "learn"]),
    ("search", &["engine", "runtime", "array", "learn"]),
    ("cli", &["engine", "runtime", "array", "learn", "datasets", "glm", "search"]),
    (".", &["engine", "runtime", "array", "learn", "datasets", "glm", "search", "cli"]),
];

/// Crates below the command line: libraries, which leave it to their caller what is printed.
const SILENT: [&str; 7] = ["engine", "runtime", "array", "datasets", "learn", "glm", "search"];

#[test]
fn arrows_go_down_only() {
    let mut wrong = Vec::new();
    for (name, allowed) in ARROWS {
        let manifest = read(&root().join(name).join("Cargo.toml"));
        let dependencies = section(&manifest, "[dependencies]");
        for line in dependencies.iter().filter(|line| line.starts_with("phalanx-")) {
            let used = line["phalanx-".len()..].split(['.', ' ', '=']).next().expect("a name");
            if !allowed.contains(&used) {
                wrong.push(format!("{name} depends on {used}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn the_engine_is_pure() {
    let banned = [
        "tokio",
        "Instant::now",
        "SystemTime",
        "std::net",
        "std::fs",
        "std::thread",
        "thread::spawn",
        "std::process",
        "std::env",
        "rand::",
        "println!",
        "async fn",
    ];
    let mut wrong = Vec::new();
    for file in sources("engine") {
        wrong.extend(hits(&file, &banned));
    }
    for line in section(&read(&root().join("engine/Cargo.toml")), "[dependencies]") {
        if ["tokio", "rand", "ndarray", "socket", "mio"].iter().any(|banned| line.starts_with(banned)) {
            wrong.push(format!("engine/Cargo.toml: {line}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn nothing_below_the_command_line_prints() {
    let banned = ["println!(", "print!(", "eprintln!(", "eprint!(", "dbg!(", "stdout().", "stderr()."];
    let wrong: Vec<String> =
        SILENT.iter().flat_map(|name| sources(name)).flat_map(|file| hits(&file, &banned)).collect();
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn wire_messages_stay_between_engine_and_runtime() {
    let wrong: Vec<String> = ["array", "datasets", "learn", "glm", "search", "cli", "."]
        .iter()
        .flat_map(|name| sources(name))
        .flat_map(|file| hits(&file, &["engine::message", "message::{"]))
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn unsafe_is_only_in_kernels_and_says_why() {
    let mut wrong = Vec::new();
    for file in all_sources() {
        let text = read(&file);
        let lines: Vec<&str> = text.lines().collect();
        for (place, line) in lines.iter().enumerate() {
            // A word in quotes is no code: the macro crate names what it refuses.
            let code = code_of(line).replace("\"unsafe\"", "");
            let uses =
                code.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| word == "unsafe");
            if !uses || file.ends_with("tests/tidy.rs") {
                continue;
            }
            let in_kernels = file.starts_with(root().join("array/src"));
            let reason = lines[..place].iter().rev().take(5).any(|line| line.contains("SAFETY:"));
            if !(in_kernels && reason) {
                wrong.push(format!("{}:{}: {}", show(&file), place + 1, line.trim()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_file_opens_with_its_reason() {
    let wrong: Vec<String> = all_sources()
        .into_iter()
        .filter(|file| {
            let text = read(file);
            !(text.starts_with("//! ") || text.starts_with("#![doc = include_str!"))
        })
        .map(|file| show(&file))
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let banned: Vec<String> =
        [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["todo", "!("], ["unimplemented", "!("], ["#[ign", "ore"]]
            .map(|parts| parts.concat())
            .into();
    let mut wrong = Vec::new();
    for file in all_sources() {
        for (place, line) in read(&file).lines().enumerate() {
            if banned.iter().any(|word| line.contains(word)) {
                wrong.push(format!("{}:{}: {}", show(&file), place + 1, line.trim()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_test_that_the_page_of_scenarios_names_is_there() {
    let page = read(&root().join("tests/SCENARIOS.md"));
    let named: BTreeSet<&str> = page.split('`').skip(1).step_by(2).filter(|code| code.contains("::")).collect();
    assert!(named.len() > 100, "{} tests are named", named.len());
    let is_there = |named: &&str| {
        let (file, test) = named.split_once("::").expect("it was looked for");
        let text = fs::read_to_string(root().join(file)).unwrap_or_default();
        // Programs that begin with `init` list their tests by name.
        text.contains(&format!("fn {test}(")) || text.contains(&format!("(\"{test}\""))
    };
    let wrong: Vec<&str> = named.into_iter().filter(|named| !is_there(named)).collect();
    assert_eq!(wrong, Vec::<&str>::new());
}

#[test]
fn no_file_hides_two_ideas() {
    let wrong: Vec<String> = all_sources()
        .into_iter()
        .map(|file| (read(&file).lines().count(), file))
        .filter(|(n_lines, _)| *n_lines > 700)
        .map(|(n_lines, file)| format!("{} has {n_lines} lines", show(&file)))
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_example_is_used_by_a_test() {
    let tests: String =
        files(&root().join("tests")).iter().filter(|file| is(file, "rs")).map(|file| read(file)).collect();
    let unused: Vec<String> = files(&root().join("examples"))
        .into_iter()
        .map(|file| file.file_name().expect("a file").to_string_lossy().into_owned())
        // Cargo itself builds a program here as part of the tests.
        .filter(|name| !name.ends_with(".rs") && !tests.contains(name.as_str()))
        .collect();
    assert_eq!(unused, Vec::<String>::new());
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let deny = read(&root().join("deny.toml"));
    let list = deny.split("allow = [").nth(1).and_then(|rest| rest.split(']').next()).expect("a list of licences");
    let allowed: BTreeSet<&str> = list.split('"').skip(1).step_by(2).collect();
    let mut wrong = Vec::new();
    for (package, licence) in licences() {
        if !licence.as_deref().is_some_and(|licence| Expression::new(licence).meets(&allowed)) {
            wrong.push(format!("{package}: {}", licence.unwrap_or_else(|| "none".to_owned())));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn licence_expressions_are_read_as_spdx_means_them() {
    let allowed = BTreeSet::from(["MIT", "Apache-2.0"]);
    let met = |text: &str| Expression::new(text).meets(&allowed);
    assert!(met("MIT") && met("GPL-3.0 OR MIT") && met("Unlicense/MIT") && met("(MIT OR GPL-2.0) AND Apache-2.0"));
    assert!(met("Apache-2.0 WITH LLVM-exception OR MIT"));
    assert!(!met("GPL-3.0") && !met("MIT AND GPL-2.0") && !met("(MIT OR Apache-2.0) AND GPL-2.0") && !met(""));
}

/// Every package that this platform builds, with its licence.
fn licences() -> BTreeMap<String, Option<String>> {
    let version = output(Command::new(env!("CARGO")).arg("-vV"));
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host").to_owned();
    let metadata = output(Command::new(env!("CARGO")).current_dir(root()).args([
        "metadata",
        "--locked",
        "--format-version=1",
        "--filter-platform",
        &host,
    ]));
    let metadata: serde_json::Value = serde_json::from_str(&metadata).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let name = format!(
                "{} {}",
                package["name"].as_str().expect("a name"),
                package["version"].as_str().expect("a version")
            );
            (name, package["license"].as_str().map(str::to_owned))
        })
        .collect()
}

/// A licence expression as words: `OR` binds less than `AND`, and `/` is an old `OR`.
struct Expression<'a> {
    words: Vec<&'a str>,
    next: usize,
}

impl<'a> Expression<'a> {
    fn new(text: &'a str) -> Self {
        let mut words = Vec::new();
        for part in text.split_whitespace() {
            let mut rest = part;
            while let Some(at) = rest.find(['(', ')', '/']) {
                if at > 0 {
                    words.push(&rest[..at]);
                }
                words.push(&rest[at..=at]);
                rest = &rest[at + 1..];
            }
            if !rest.is_empty() {
                words.push(rest);
            }
        }
        Self { words, next: 0 }
    }

    fn meets(mut self, allowed: &BTreeSet<&str>) -> bool {
        self.any(allowed) && self.next == self.words.len()
    }

    fn any(&mut self, allowed: &BTreeSet<&str>) -> bool {
        let mut met = self.all(allowed);
        while matches!(self.peek(), Some("OR" | "/")) {
            self.next += 1;
            met |= self.all(allowed);
        }
        met
    }

    fn all(&mut self, allowed: &BTreeSet<&str>) -> bool {
        let mut met = self.one(allowed);
        while self.peek() == Some("AND") {
            self.next += 1;
            met &= self.one(allowed);
        }
        met
    }

    fn one(&mut self, allowed: &BTreeSet<&str>) -> bool {
        let Some(word) = self.peek() else { return false };
        self.next += 1;
        if word == "(" {
            let met = self.any(allowed);
            let closed = self.peek() == Some(")");
            self.next += 1;
            return met && closed;
        }
        // An exception grants more, so the licence alone decides.
        if self.peek() == Some("WITH") {
            self.next += 2;
        }
        allowed.contains(word)
    }

    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.next).copied()
    }
}

/// Lines of code, without comments and unit tests, that contain one of the words.
fn hits(file: &Path, banned: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (place, line) in read(file).lines().enumerate() {
        if line.trim_start().starts_with("#[cfg(test)]") {
            break;
        }
        let code = code_of(line);
        if banned.iter().any(|word| code.contains(word)) {
            found.push(format!("{}:{}: {}", show(file), place + 1, line.trim()));
        }
    }
    found
}

/// A line without its comment.
fn code_of(line: &str) -> &str {
    line.split("//").next().unwrap_or(line)
}

/// The lines of a section of a manifest.
fn section<'a>(manifest: &'a str, name: &str) -> Vec<&'a str> {
    manifest.lines().skip_while(|line| *line != name).skip(1).take_while(|line| !line.starts_with('[')).collect()
}

/// The Rust files of a crate's `src`.
fn sources(name: &str) -> Vec<PathBuf> {
    files(&root().join(name).join("src")).into_iter().filter(|file| is(file, "rs")).collect()
}

/// Every Rust file of the house.
fn all_sources() -> Vec<PathBuf> {
    let folders =
        ["engine", "runtime", "array", "datasets", "learn", "glm", "search", "cli", "src", "tests", "examples"];
    folders.iter().flat_map(|name| files(&root().join(name))).filter(|file| is(file, "rs")).collect()
}

/// All files below a folder, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if !path.ends_with("target") {
                all.extend(files(&path));
            }
        } else {
            all.push(path);
        }
    }
    all.sort();
    all
}

fn is(file: &Path, extension: &str) -> bool {
    file.extension().is_some_and(|found| found == extension)
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", show(file)))
}

fn show(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string()
}

fn output(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
