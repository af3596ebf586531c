//! A cluster that strangers must not join, from `phalanx cluster keys` to a fit on it.

use std::{fs, net::TcpStream, os::unix::fs::PermissionsExt, path::Path};

use crate::support::{Program, folder, listing, phalanx, run, said, succeed, text};

/// A small job, and the options that let it join.
fn fit<'a>(url: &'a str, options: &[&'a str]) -> Vec<&'a str> {
    let job = ["fit", "glm", "datasets/data/default.csv", "--target", "default", "--family", "binomial", "--json"];
    [&job[..], &["--cluster", url], options].concat()
}

/// The options of a role with a set of keys.
fn flags(keys: &Path, role: &str) -> Vec<String> {
    let file = |name: &str| text(&keys.join(name));
    let pair = |end: &str| file(&format!("{role}{end}.pem"));
    let flags = [
        "--token-file",
        &file("token"),
        "--tls-ca",
        &file("ca.pem"),
        "--tls-cert",
        &pair(""),
        "--tls-key",
        &pair("-key"),
    ];
    flags.map(str::to_owned).into()
}

fn refused(args: &[&str]) -> String {
    let (code, stdout, stderr) = run(args);
    assert_eq!((code, stdout.as_str(), stderr.lines().count()), (1, "", 1), "{stderr}");
    stderr.trim_end().strip_prefix("error: ").expect("an error").to_owned()
}

#[test]
fn keys_are_made_for_their_owner_alone_and_never_overwritten() {
    let place = folder();
    let keys = place.path().join("keys");
    let printed = succeed(["cluster", "keys", &text(&keys), "--host", "head.example.org"]);
    assert!(
        printed.starts_with(&format!("8 files in {}, good for 365 days:\n  scheduler ", keys.display())),
        "{printed}"
    );
    let files = [
        "ca.pem",
        "client-key.pem",
        "client.pem",
        "scheduler-key.pem",
        "scheduler.pem",
        "token",
        "worker-key.pem",
        "worker.pem",
    ];
    assert_eq!(listing(&keys), files);
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&keys), 0o700);
    assert!(files.iter().all(|file| mode(&keys.join(file)) == 0o600));
    let before: Vec<_> = files.iter().map(|file| fs::read(keys.join(file)).expect("a file")).collect();
    let there =
        format!("{} is there already and is not overwritten; name an empty folder", keys.join("ca.pem").display());
    assert_eq!(refused(&["cluster", "keys", &text(&keys)]), there);
    assert_eq!(files.iter().map(|file| fs::read(keys.join(file)).expect("a file")).collect::<Vec<_>>(), before);
    let (code, _, stderr) = run(["cluster", "keys", "more", "--host", "head:8786"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("expected a host name or an IP address without a port"), "{stderr}");
}

#[test]
fn with_keys_a_job_runs_and_nobody_joins_without() {
    let place = folder();
    let keys = place.path().join("keys");
    succeed(["cluster", "keys", &text(&keys)]);
    let expected = succeed(fit("local", &[]));
    let role = |role: &str| flags(&keys, role);
    let start = |args: &[&str], more: Vec<String>| {
        Program::start(args.iter().map(|arg| (*arg).to_owned()).chain(more).collect::<Vec<_>>())
    };
    let mut scheduler = start(&["scheduler", "--listen", "127.0.0.1:0"], role("scheduler"));
    let url = scheduler.line().strip_prefix("scheduler at ").expect("an address").to_owned();
    let mut worker = start(&["worker", &url, "--threads", "1", "--listen", "127.0.0.1"], role("worker"));
    assert!(worker.line().starts_with("worker at tcp://127.0.0.1:"));

    let client = role("client");
    let all: Vec<&str> = client.iter().map(String::as_str).collect();
    let coefficients = |printed: &str| {
        let value: serde_json::Value = serde_json::from_str(printed).expect("JSON");
        value["coefficients"].clone()
    };
    assert_eq!(coefficients(&succeed(fit(&url, &all))), coefficients(&expected));

    let no_tls = refused(&fit(&url, &all[..2]));
    assert!(no_tls.contains("the other end speaks TLS and this one does not; give --tls-cert"), "{no_tls}");
    let no_token = refused(&fit(&url, &all[2..]));
    assert!(
        no_token.contains("it asks for the cluster's token; give --token-file FILE or set PHALANX_TOKEN"),
        "{no_token}"
    );
    let (code, _, stderr) = run(fit(&url, &all[..4]));
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("--tls-cert <FILE>"), "{stderr}");
}

#[test]
fn a_token_comes_from_a_file_or_the_environment_and_never_from_an_argument() {
    let place = folder();
    let keys = place.path().join("keys");
    succeed(["cluster", "keys", &text(&keys)]);
    let file = text(&keys.join("token"));
    let token = fs::read_to_string(&file).expect("a token");
    let with_token = |args: &[&str]| {
        let mut command = phalanx(args);
        command.env("PHALANX_TOKEN", token.trim());
        command
    };
    let mut scheduler = Program::spawn(with_token(&["scheduler", "--listen", "127.0.0.1:0"]));
    let url = scheduler.line().strip_prefix("scheduler at ").expect("an address").to_owned();
    let mut worker = Program::start(["worker", &url, "--threads", "1", "--token-file", &file]);
    assert!(worker.line().starts_with("worker at "));
    succeed(fit(&url, &["--token-file", &file]));
    let (code, _, stderr) = said(with_token(&fit(&url, &[])).output().expect("it runs"));
    assert_eq!((code, stderr.as_str()), (0, ""));
    // A local cluster of processes is not the one that the token is of.
    let (code, _, stderr) = said(with_token(&fit("processes:1", &[])).output().expect("it runs"));
    assert_eq!((code, stderr.as_str()), (0, ""));

    let wrong = place.path().join("wrong");
    fs::write(&wrong, "x".repeat(40)).expect("written");
    let refusal = refused(&fit(&url, &["--token-file", &text(&wrong)]));
    let expected =
        format!("cannot join {url}: refused: the token is not that of the cluster, or it is no phalanx scheduler");
    assert_eq!(refusal, expected);
    fs::write(&wrong, "short").expect("written");
    let short = format!("cannot use the token in {}: it has 5 bytes, expected 32 to 1024", wrong.display());
    assert!(refused(&fit(&url, &["--token-file", &text(&wrong)])).starts_with(&short));
    let (code, _, stderr) = run(["scheduler", "--token", token.trim()]);
    assert_eq!(code, 2);
    assert!(stderr.contains("unexpected argument '--token'"), "{stderr}");
}

/// The largest resident memory of a process so far, in KiB.
fn peak(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it lives");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn strangers_do_not_make_the_scheduler_allocate() {
    use std::io::Write;
    let place = folder();
    let keys = place.path().join("keys");
    succeed(["cluster", "keys", &text(&keys)]);
    let file = text(&keys.join("token"));
    let mut scheduler = Program::start(["scheduler", "--listen", "127.0.0.1:0", "--token-file", &file]);
    let url = scheduler.line().strip_prefix("scheduler at ").expect("an address").to_owned();
    let address = url.strip_prefix("tcp://").expect("an address");
    let hostile = [
        // An opening, and after it what would be a frame of 4 GiB.
        [&b"PHALANX\n\x01\x01\x01\0\0\0\0\0"[..], &[7; 32], &[0xFF; 60_000]].concat(),
        vec![0xFF; 60_000],
        b"PHALANX\n\x01\x01\x01".to_vec(),
    ];
    let visit = |n: usize| {
        let mut open = std::collections::VecDeque::new();
        for round in 0..n {
            let mut stream = TcpStream::connect(address).expect("the scheduler listens");
            // It may hang up on us at the first byte.
            let _ = stream.write_all(&hostile[round % hostile.len()]);
            open.push_back(stream);
            if open.len() > 300 {
                open.pop_front();
            }
        }
    };
    // The first visits show what a full door costs; thousands more cost nothing.
    visit(600);
    let before = peak(scheduler.id());
    visit(4_000);
    let after = peak(scheduler.id());
    assert!(after < before + 2_048, "from {before} to {after} KiB");
}
