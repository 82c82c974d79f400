//! A program that executes itself again keeps its process and arguments, does it once, and continues without it if it
//! cannot.

use crate::support;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use support::{Program, Raw, eventually, network};

/// SIGBUS and SIGSEGV in a mask of signals.
const FAULTS: u64 = 1 << 6 | 1 << 10;
const CACHE: &str = "glibc.malloc.tcache_count=0";

/// The program in `tests/begin_again/`.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| support::examples(&["--example", "begin_again"]).join("begin_again"))
}

/// Runs it to its end, with an environment without the variables that it reads.
fn run(command: &mut Command) -> Output {
    let clean = ["THREADCAST_BEGUN", "THREADCAST_KEEP_SIGNAL_STACKS", "GLIBC_TUNABLES", "MALLOC_ARENA_MAX"];
    let set: Vec<_> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
    for name in clean.iter().filter(|name| !set.iter().any(|set| set == **name)) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).output().expect("it starts")
}

/// Its answer about itself.
fn said(output: &Output, what: &str) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix(what)).map(|rest| rest.trim().to_owned());
    line.unwrap_or_else(|| panic!("{what}: {output:?}"))
}

fn ignores_faults(output: &Output) -> bool {
    u64::from_str_radix(&said(output, "ignored"), 16).expect("a mask") & FAULTS == FAULTS
}

#[test]
fn arguments_of_every_kind_survive() {
    let arguments = ["plain", "two words", "", "a'b\"c", "$HOME `id` \\", "line\nend", "-c", "--", "*"];
    let mut arguments: Vec<OsString> = arguments.map(OsString::from).to_vec();
    arguments.push(OsStr::from_bytes(b"\xff\x80 not UTF-8").to_owned());
    arguments.push(OsString::new());
    let output = run(Command::new(program()).args(&arguments));
    assert!(ignores_faults(&output), "{output:?}");
    assert_eq!(said(&output, "arguments"), format!("{arguments:?}"));
}

#[test]
fn it_keeps_its_process_id_and_open_files() {
    let child = Command::new(program()).args(["wait"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("it starts");
    let number = child.id();
    drop(child.stdin.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(said(&output, "pid"), number.to_string());
    assert!(output.status.success() && ignores_faults(&output), "{output:?}");
}

/// Each exec closes the descriptors that are not to be inherited, so the test needs no trace: a second one would show.
#[test]
fn it_begins_again_once_and_its_child_once_more() {
    let output = run(Command::new(program()).arg("child"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.matches("pid ").count(), 2, "{text}");
    let tunables: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("GLIBC_TUNABLES ")).collect();
    if cfg!(target_env = "gnu") {
        assert_eq!(tunables, [CACHE; 2]);
    }
}

#[test]
fn allocator_settings_are_kept_and_missing_ones_added() {
    for (given, has) in [
        ("", CACHE.to_owned()),
        ("glibc.malloc.check=1", format!("glibc.malloc.check=1:{CACHE}")),
        ("glibc.malloc.tcache_count=9", "glibc.malloc.tcache_count=9".to_owned()),
    ] {
        let output = run(Command::new(program()).env("GLIBC_TUNABLES", given).env("MALLOC_ARENA_MAX", "5"));
        assert!(ignores_faults(&output), "{output:?}");
        if cfg!(target_env = "gnu") {
            assert_eq!(said(&output, "GLIBC_TUNABLES"), has);
        }
        assert_eq!(said(&output, "MALLOC_ARENA_MAX"), "5");
    }
}

#[test]
fn signal_stacks_are_kept_on_request_and_an_overflow_then_has_its_message() {
    let kept = run(Command::new(program()).arg("overflow").env("THREADCAST_KEEP_SIGNAL_STACKS", "1"));
    assert!(!ignores_faults(&kept));
    assert_eq!(kept.status.signal(), Some(6), "{kept:?}");
    assert!(String::from_utf8_lossy(&kept.stderr).contains("has overflowed its stack"), "{kept:?}");
    let without = run(Command::new(program()).arg("overflow"));
    assert!(ignores_faults(&without));
    assert_eq!(without.status.signal(), Some(11), "{without:?}");
}

/// Without `/bin/sh` it continues, and still sets up the allocator. Root can hide the shell in a new namespace.
#[test]
fn without_a_shell_it_goes_on() {
    let hidden = "mount --bind /dev/null /bin/sh";
    let unshare = match network::namespace("--mount", hidden) {
        Ok(unshare) => unshare,
        Err(why) => return support::not_checked("a system without a shell", &why),
    };
    let output = run(unshare(&format!("{hidden} && exec \"$0\" \"$@\"")).arg(program()).arg("a b"));
    assert!(output.status.success(), "{output:?}");
    assert!(!ignores_faults(&output));
    assert_eq!(said(&output, "arguments"), "[\"a b\"]");
    if cfg!(target_env = "gnu") {
        assert_eq!(said(&output, "GLIBC_TUNABLES"), CACHE);
    }
}

/// An upgrade replaces or removes its file while it starts.
#[test]
fn a_program_whose_file_has_been_replaced_continues() {
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("begin_again_replaced");
    for replace in ["rm \"$0\"", "rm \"$0\"; echo 'exit 9' > \"$0\"; chmod +x \"$0\""] {
        let _ = fs::remove_file(&copy);
        fs::copy(program(), &copy).expect("copies");
        // The descriptor keeps the file; the shell starts it by its number, like a program whose file is replaced at
        // that moment.
        let script = format!("exec 3<\"$0\"; {replace}; exec /proc/self/fd/3 'x y'");
        let output = run(Command::new("bash").args(["-c", &script]).arg(&copy));
        assert!(output.status.success(), "{replace}: {output:?}");
        assert_eq!(said(&output, "arguments"), "[\"x y\"]", "{replace}");
        assert!(!ignores_faults(&output), "{replace}");
    }
}

#[test]
fn sent_by_others_sigsegv_and_sigbus_are_ignored() {
    let program = Program::start(&[]);
    let mut client = Raw::websocket(program.addr(), "/websocket?Id=A");
    for signal in ["SEGV", "BUS", "SEGV", "BUS"] {
        support::kill(program.pid(), signal);
        assert_eq!(client.frame().first, 0x81, "{signal}");
    }
}

#[test]
fn an_idle_client_takes_two_memory_mappings() {
    const CLIENTS: usize = 200;
    let program = Program::start(&["--logging", "none", "--interval", "1h"]);
    let mappings =
        || fs::read_to_string(format!("/proc/{}/maps", program.pid())).expect("reads").lines().count();
    let crowd = |from: usize| -> Vec<_> {
        let client = |n| Raw::websocket(program.addr(), &format!("/websocket?Id={n}"));
        (from..from + CLIENTS).map(client).collect()
    };
    // With the first ones, the allocator makes its arenas.
    let _first = crowd(0);
    let before = mappings();
    let _second = crowd(CLIENTS);
    eventually("at most 2.1 mappings a client", || {
        let each = (mappings() - before) as f64 / CLIENTS as f64;
        (0.9..=2.1).contains(&each)
    });
}
