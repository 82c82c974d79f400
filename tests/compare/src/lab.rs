//! `threadcast-compare lab`: threadcast's lab, with other servers beside it, until Ctrl-C.
//!
//! Each variant is a separate process, as in the comparison, and so is the threadcast that serves the page: none
//! of the columns pays for the lab. A server that is not installed is passed on as missing.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::experiment::{Setup, in_ms};
use crate::failure::{Failure, While};
use crate::manifest::{Manifest, Variant};
use crate::server::Server;

/// The default columns beside the lab.
pub const COLUMNS: [&str; 6] =
    ["threadcast", "threadcast-handoff", "tokio-1", "axum", "goroutines", "tornado"];

/// Where the lab's page is, unless its arguments say otherwise.
const DEFAULT_PORT: &str = "8888";

/// Starts the manifest's variants at this interval and `lab`, which is threadcast's program, with these
/// arguments; ends them all when a signal comes, or when the program has ended.
pub fn run(manifest: &Manifest, lab: &Path, interval: Duration, arguments: &[String]) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGCHLD]).doing("wait for signals")?;
    let setup = Setup { interval, pad: 0 };
    let mut servers = Vec::new();
    let mut command = Command::new(lab);
    command.args(["--lab", "--logging", "warning"]);
    if !arguments.iter().any(|argument| argument.starts_with("--interval")) {
        command.arg("--interval").arg(in_ms(interval));
    }
    for variant in &manifest.variants {
        let column = match manifest.installed(variant) {
            Ok(version) => {
                let server = Server::start(manifest, &welcoming(variant, arguments), &setup)?;
                let column = running(variant, &version, &server);
                servers.push(server);
                column
            }
            Err(install) => {
                eprintln!("{} is not installed: {install}", variant.name);
                json!({ "name": variant.name, "kind": variant.kind, "install": install })
            }
        };
        command.arg("--beside").arg(column.to_string());
    }
    // In its own process group: Ctrl-C comes to this process alone, which ends the others in their order.
    command.args(arguments).stdin(Stdio::null()).process_group(0);
    let mut program = command.spawn().doing(format!("start {}", lab.display()))?;
    let status = wait(&mut program, &mut signals)?;
    match status {
        Some(status) if !status.success() => Err(Failure::new(format!("threadcast ended: {status}"))),
        _ => Ok(()),
    }
}

/// Returns a variant that lets the lab's page connect, if it is a threadcast, whose lab accepts its own pages only.
fn welcoming(variant: &Variant, arguments: &[String]) -> Variant {
    let mut variant = variant.clone();
    if variant.command.iter().any(|argument| argument == "--lab") {
        let behind = |at: usize| arguments.get(at + 1).cloned();
        let port = arguments.iter().position(|argument| argument == "--port").and_then(behind);
        let port = port.or_else(|| {
            arguments.iter().find_map(|argument| argument.strip_prefix("--port=").map(str::to_owned))
        });
        let port = port.unwrap_or_else(|| DEFAULT_PORT.to_owned());
        for page in
            ["http://localhost", "http://127.0.0.1", "http://[::1]", "https://localhost", "https://127.0.0.1"]
        {
            variant.command.extend(["--allow-origin".to_owned(), format!("{page}:{port}")]);
        }
    }
    variant
}

fn running(variant: &Variant, version: &str, server: &Server) -> Value {
    json!({
        "name": variant.name,
        "kind": variant.kind,
        "version": version,
        "address": server.address.to_string(),
        "pid": server.pid(),
    })
}

/// Blocks until the program ends or a signal comes. Returns the exit status in the first case.
fn wait(program: &mut Child, signals: &mut Signals) -> Result<Option<ExitStatus>, Failure> {
    for signal in signals.forever() {
        if signal == SIGCHLD {
            // A variant that ends is shown on the page, and no reason to end the lab.
            if let Some(status) = program.try_wait().doing("wait for threadcast")? {
                return Ok(Some(status));
            }
            continue;
        }
        let pid = Pid::from_raw(i32::try_from(program.id()).doing("end threadcast")?);
        kill(pid, Signal::SIGTERM).doing("end threadcast")?;
        program.wait().doing("wait for threadcast")?;
        break;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threadcast_beside_lets_the_labs_page_connect() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/variants.toml");
        let manifest = Manifest::read(Path::new(path), Path::new("bin")).unwrap();
        let variant = |name: &str| manifest.variants.iter().find(|variant| variant.name == name).unwrap();
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (arguments, port) in [("", "8888"), ("--port 9000", "9000"), ("--pad 1KiB --port=9000", "9000")] {
            let command = welcoming(variant("threadcast"), &words(arguments)).command;
            assert!(command.contains(&format!("http://localhost:{port}")), "{arguments}: {command:?}");
        }
        assert_eq!(welcoming(variant("tokio-1"), &[]).command, variant("tokio-1").command);
    }
}
