//! The lab's starter: it tells threadcast which servers are beside it, and ends all that it has started. A script plays
//! threadcast.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(60);

/// Starts the lab with `script` for threadcast, in a new directory.
fn start(name: &str, script: &str) -> (PathBuf, Child) {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    let program = directory.join("threadcast");
    fs::write(&program, format!("#!/bin/sh\ncd {}\n{script}", directory.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_threadcast-compare"))
        .args(["lab", "--manifest"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/variants.toml"))
        .arg("--bin")
        .arg(&directory)
        .args(["--only", "one-file,absent", "--", "--port", "9000"])
        .stderr(Stdio::piped())
        .spawn();
    (directory, child.expect("the lab starts"))
}

fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < deadline, "waited for: {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn it_tells_who_stands_beside_and_ends_them_all() {
    let script = "trap 'echo ended > end; exit 0' TERM\nprintf '%s\\n' \"$@\" > starting\nmv starting args\nwhile :; do sleep 0.05; done\n";
    let (directory, mut lab) = start("lab", script);
    eventually("threadcast to be started", || directory.join("args").exists());
    let args = fs::read_to_string(directory.join("args")).unwrap();
    let args: Vec<_> = args.lines().collect();
    assert!(args.contains(&"--lab") && args.ends_with(&["--port", "9000"]), "{args:?}");
    let beside = args.iter().enumerate().filter(|(_, arg)| **arg == "--beside");
    let beside: Vec<Value> = beside.map(|(at, _)| serde_json::from_str(args[at + 1]).unwrap()).collect();
    let [one_file, absent] = beside.as_slice() else { panic!("{beside:?}") };
    assert_eq!(
        (&absent["name"], &absent["install"]),
        (&"absent".into(), &"fetch it from where it is".into())
    );
    assert!(absent["address"].is_null());
    assert!(one_file["address"].as_str().is_some_and(|address| address.starts_with("127.0.0.1:")));
    let process = PathBuf::from(format!("/proc/{}", one_file["pid"]));
    assert!(process.exists());

    kill(Pid::from_raw(i32::try_from(lab.id()).unwrap()), Signal::SIGINT).unwrap();
    eventually("the lab to end", || lab.try_wait().unwrap().is_some());
    assert!(lab.wait().unwrap().success());
    assert!(directory.join("end").exists(), "threadcast was ended in order");
    assert!(!process.exists(), "so were the others");
}

#[test]
fn it_ends_with_threadcast() {
    let (_, lab) = start("lab-fails", "exit 3\n");
    let output = lab.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && complaint.contains("threadcast ended: exit status: 3"),
        "{complaint}"
    );
}
