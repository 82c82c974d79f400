//! The Makefile on machines that lack something: it names it, in one line, and installs nothing else.
//!
//! A machine is a directory for the PATH. Its programs are links to real ones, or shims.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

/// The tools that the Makefile's own lines call.
const TOOLS: [&str; 13] =
    ["make", "bash", "sh", "sed", "awk", "sort", "cut", "true", "date", "env", "grep", "mkdir", "rm"];

/// The user who runs `make`, and the tools in addition to [`TOOLS`].
struct Machine {
    path: PathBuf,
    log: PathBuf,
}

/// The result of a run of `make`.
struct Run {
    succeeded: bool,
    printed: String,
    /// The errors, without make's own lines.
    errors: Vec<String>,
    /// The shims that were called, with their arguments.
    calls: Vec<String>,
}

impl Machine {
    /// A new one, with cargo and rustc of this version.
    fn new(name: &str, user: u32, version: &str) -> Machine {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("make").join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        let machine = Machine { log: path.join("log"), path };
        for tool in TOOLS {
            machine.link(tool);
        }
        machine.shim("id", &format!("echo {user}"));
        for tool in ["cargo", "rustc"] {
            let version =
                format!("[ \"$1\" != --version ] || {{ echo {tool} {version} '(of a test)'; exit; }}");
            machine.shim(tool, &format!("{version}\n{}", machine.logs(tool)));
        }
        machine
    }

    fn link(&self, tool: &str) {
        let path = std::env::var("PATH").unwrap();
        let real = path.split(':').map(|place| Path::new(place).join(tool)).find(|file| file.exists());
        symlink(real.unwrap_or_else(|| panic!("{tool} is not here")), self.path.join(tool)).unwrap();
    }

    fn shim(&self, tool: &str, script: &str) {
        let file = self.path.join(tool);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A shim's line that writes its call to the log.
    fn logs(&self, tool: &str) -> String {
        format!("echo {tool} \"$@\" >> '{}'", self.log.display())
    }

    fn with_apt_get(self) -> Machine {
        self.shim(
            "apt-get",
            &format!("echo \"$DEBIAN_FRONTEND\" apt-get \"$@\" >> '{}'", self.log.display()),
        );
        self
    }

    fn with_sudo(self, works: bool) -> Machine {
        self.shim("sudo", if works { "exec \"$@\"" } else { "exit 1" });
        self
    }

    fn with(self, tools: &[&str]) -> Machine {
        tools.iter().for_each(|tool| self.shim(tool, &self.logs(tool)));
        self
    }

    /// Runs a target.
    fn make(&self, target: &str) -> Run {
        let mut command = Command::new(self.path.join("make"));
        command.args([target, "SBIN="]).current_dir(env!("CARGO_MANIFEST_DIR")).env_clear();
        let output = command.env("PATH", &self.path).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        let errors = errors.lines().filter(|line| !line.starts_with("make"));
        let calls = fs::read_to_string(&self.log).unwrap_or_default();
        Run {
            succeeded: output.status.success(),
            printed: String::from_utf8(output.stdout).unwrap(),
            errors: errors.map(str::to_owned).collect(),
            calls: calls.lines().map(str::to_owned).collect(),
        }
    }
}

const NOW: &str = "1.99.0";

#[test]
fn a_missing_tool_is_named_in_one_line_and_nothing_runs() {
    let everything = "build-essential curl openssl chromium python3 python3-venv iproute2 util-linux redis-server \
                      haproxy nginx caddy apache2-bin prometheus systemd";
    let old = |tool: &str, found: &str| {
        format!("threadcast needs Rust 1.88 or later; {tool} here: {found}. See https://rustup.rs")
    };
    let no_cargo = Machine::new("no-cargo", 0, NOW);
    fs::remove_file(no_cargo.path.join("cargo")).unwrap();
    let old_rustc = Machine::new("old-rustc", 0, NOW);
    old_rustc.shim("rustc", "echo rustc 1.9.0");
    for (case, machine, target, expected) in [
        (
            "a user without sudo",
            Machine::new("no-sudo", 1000, NOW).with_apt_get(),
            "run",
            "please install as root: apt-get install build-essential".to_owned(),
        ),
        (
            "a user without sudo, and two packages",
            Machine::new("no-sudo-fleet", 1000, NOW).with_apt_get(),
            "fleet",
            "please install as root: apt-get install build-essential redis-server haproxy".to_owned(),
        ),
        (
            "a sudo that refuses",
            Machine::new("sudo-refuses", 1000, NOW).with_apt_get().with_sudo(false),
            "run",
            "please install as root: apt-get install build-essential".to_owned(),
        ),
        (
            "root without apt-get",
            Machine::new("no-apt-get", 0, NOW),
            "run",
            "please install what Debian calls: build-essential".to_owned(),
        ),
        (
            "all that the check of each change needs",
            Machine::new("bare-check", 1000, NOW).with_apt_get(),
            "check",
            "please install as root: apt-get install build-essential".to_owned(),
        ),
        (
            "all that the tests need",
            Machine::new("bare", 1000, NOW).with_apt_get(),
            "test",
            format!("please install as root: apt-get install {everything}"),
        ),
        (
            "a cargo that is too old",
            Machine::new("old-cargo", 0, "1.65.0").with(&["cc"]),
            "run",
            old("cargo", "1.65.0"),
        ),
        ("a rustc that is too old", old_rustc.with(&["cc"]), "run", old("rustc", "1.9.0")),
        ("no cargo", no_cargo.with(&["cc"]), "run", old("cargo", "none")),
        ("the same for the tests", Machine::new("old-tests", 0, "1.87.0"), "test", old("cargo", "1.87.0")),
    ] {
        let run = machine.make(target);
        assert!(!run.succeeded, "{case}");
        assert_eq!(run.errors, [expected], "{case}");
        assert_eq!(run.calls, [] as [&str; 0], "{case}");
    }
}

#[test]
fn only_missing_tools_are_installed() {
    for (name, user) in [("installs-as-root", 0), ("installs-with-sudo", 1000)] {
        let machine = Machine::new(name, user, NOW).with_apt_get().with_sudo(true);
        let run = machine.make("run");
        assert!(run.succeeded, "{name}: {:?}", run.errors);
        let expected = [
            " apt-get update",
            "noninteractive apt-get install -y build-essential",
            "cargo run --locked --features program --release --bin threadcast --",
        ];
        assert_eq!(run.calls, expected, "{name}");
        assert!(run.printed.contains("installing build-essential\n"), "{name}: {}", run.printed);
    }
    let run = Machine::new("has-all", 1000, NOW).with(&["cc"]).make("run");
    assert_eq!(run.calls, ["cargo run --locked --features program --release --bin threadcast --"]);
}

#[test]
fn make_alone_lists_every_target() {
    let printed = Machine::new("list", 1000, NOW).make("help").printed;
    let wide: Vec<_> = printed.lines().filter(|line| line.chars().count() > 120).collect();
    assert_eq!(wide, [""; 0]);
    let listed: HashSet<_> = printed.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    let makefile = fs::read_to_string("Makefile").unwrap();
    let phony = makefile.lines().filter_map(|line| line.strip_prefix(".PHONY: "));
    let targets: HashSet<_> = phony.flat_map(str::split_whitespace).collect();
    assert!(targets.len() > 10, "{targets:?}");
    assert_eq!(listed, targets);
}
