//! The machine behind the figures, so that readers can compare them with their own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::program::proc;
use crate::report::numbers::{number, thousands};

/// Kernel limits that decide how many clients fit.
const LIMITS: [(&str, &str); 5] = [
    ("vm.max_map_count", "/proc/sys/vm/max_map_count"),
    ("kernel.threads-max", "/proc/sys/kernel/threads-max"),
    ("kernel.pid_max", "/proc/sys/kernel/pid_max"),
    ("net.core.somaxconn", "/proc/sys/net/core/somaxconn"),
    ("ports", "/proc/sys/net/ipv4/ip_local_port_range"),
];
/// The interpreter of Python's variants, relative to the manifest's directory.
const PYTHON: &str = "variants/.venv/bin/python";
/// Crates whose versions matter to a variant.
const CRATES: [&str; 3] = ["tokio", "tokio-tungstenite", "tungstenite"];

/// A machine.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Machine {
    /// Model of the processor.
    pub processor: String,
    /// Usable cores.
    pub cores: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Name and release of the kernel.
    pub kernel: String,
    /// Limits by name, including descriptors.
    pub limits: BTreeMap<String, String>,
    /// The compiler, Python, crates by name, and the commit.
    pub versions: BTreeMap<String, String>,
}

impl Machine {
    /// This machine. The search for Cargo.lock starts at `here`.
    pub fn look(here: &Path, descriptors: u64) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let mut limits: BTreeMap<_, _> =
            LIMITS.iter().map(|(name, path)| ((*name).to_owned(), read(path).replace('\t', "-"))).collect();
        limits.insert("descriptors".into(), descriptors.to_string());
        let mut versions = locked_versions(here).unwrap_or_default();
        versions.insert("rustc".into(), rustc_version());
        let python = said_by(Command::new(here.join(PYTHON)).arg("--version"));
        let commit = said_by(Command::new("git").current_dir(here).args(["rev-parse", "--short", "HEAD"]));
        versions
            .extend(python.and_then(|line| Some(("Python".into(), line.strip_prefix("Python ")?.into()))));
        versions.extend(commit.map(|commit| ("commit".into(), commit)));
        let memory_kib = proc::number(&read("/proc/meminfo"), "MemTotal:").unwrap_or(0);
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory_kib / 1024,
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease")),
            limits,
            versions,
        }
    }

    /// The machine in one sentence.
    pub fn sentence(&self) -> String {
        let memory = number(self.memory_mib as f64 / 1024.0);
        format!("{} cores ({}), {memory} GiB, {}", self.cores, self.processor, self.kernel)
    }

    /// A limit that is a number.
    pub fn limit(&self, name: &str) -> Option<i64> {
        self.limits.get(name)?.parse().ok()
    }

    /// Its versions, and the limits that decide how many clients fit: a line of each.
    pub fn details(&self) -> String {
        let show = |value: &String| value.parse().map_or_else(|_| value.clone(), thousands);
        let versions: Vec<_> =
            self.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        let limits: Vec<_> =
            self.limits.iter().map(|(name, value)| format!("{name} {}", show(value))).collect();
        format!("Versions: {}.\n\nLimits: {}.\n", versions.join(", "), limits.join(", "))
    }
}

/// The text after `name` and a colon.
fn field(text: &str, name: &str) -> String {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let found = lines.into_iter().find(|(key, _)| key.trim() == name);
    found.map_or_else(String::new, |(_, value)| value.trim().to_owned())
}

fn rustc_version() -> String {
    let text = said_by(Command::new("rustc").arg("--version")).unwrap_or_default();
    text.split(' ').nth(1).unwrap_or("unknown").to_owned()
}

/// A program's stdout, if it exists and succeeds.
fn said_by(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Versions in the nearest Cargo.lock, upwards from `here`.
fn locked_versions(here: &Path) -> Option<BTreeMap<String, String>> {
    let lock = here.ancestors().map(|directory| directory.join("Cargo.lock"));
    let text = lock.into_iter().find_map(|path| fs::read_to_string(path).ok())?;
    let lock: toml::Table = text.parse().ok()?;
    let packages = lock.get("package")?.as_array()?;
    let pairs = packages.iter().filter_map(|package| {
        let name = package.get("name")?.as_str()?;
        let version = package.get("version")?.as_str()?;
        CRATES.contains(&name).then(|| (name.to_owned(), version.to_owned()))
    });
    Some(pairs.collect())
}
