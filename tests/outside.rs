//! A crate that depends on `phalanx` alone, outside of the workspace: its own tasks, on workers of its own program.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

#[test]
fn a_program_of_a_user_runs_its_own_tasks_on_processes_of_itself() {
    let output = run("outside");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*stderr), (Some(0), ""));
    // The sum of the squares, computed by processes that are not the one that asked.
    assert_eq!(String::from_utf8_lossy(&output.stdout), "338350 from 2 workers\n");
}

#[test]
fn a_program_that_forgets_init_is_told_so_and_never_forks_without_end() {
    let output = run("forgetful");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("must begin with phalanx::init()"), "{stderr}");
}

#[test]
fn a_program_with_two_tasks_of_one_name_stops_at_its_start() {
    let output = run("twins");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{stderr}");
    // Which of the two is found first is the linker's choice.
    let places = ["twins::left::area", "twins::right::area"];
    assert!(stderr.starts_with("error: two task functions are named twins.area: "), "{stderr}");
    assert!(places.iter().all(|place| stderr.contains(place)), "{stderr}");
    assert!(stderr.contains("give one another name with #[task(name = "), "{stderr}");
}

fn run(program: &str) -> Output {
    Command::new(built().join(program)).output().expect("it runs")
}

/// The folder with the crate's programs, built once.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
        // A copy, so that nothing is written among the sources; with the workspace's lock file, so that nothing has
        // to be downloaded; into the workspace's target folder, so that dependencies are not built again.
        let folder = tmp.join("outside");
        copy(&root.join("tests/outside"), &folder);
        fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).expect("a lock file");
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
        let here = format!("path = {:?}", root.to_str().expect("a plain path"));
        fs::write(folder.join("Cargo.toml"), manifest.replace("path = \"../..\"", &here)).expect("a manifest");
        let target = tmp.parent().expect("the target folder");
        let output = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--offline", "--manifest-path"])
            .arg(folder.join("Cargo.toml"))
            .env("CARGO_TARGET_DIR", target)
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        target.join("debug")
    })
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name");
        if path.is_dir() {
            if name != "target" {
                copy(&path, &to.join(name));
            }
        } else {
            fs::copy(&path, to.join(name)).expect("copied");
        }
    }
}
