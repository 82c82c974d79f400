//! Tests in a private network, with links that they can take down.

use std::env;
use std::io::{Write, stderr};
use std::process::Command;

/// Runs `test`, whose name is `name`, in a new network namespace. That needs the superuser, a user namespace, or sudo
/// without a password, as on continuous integration.
pub fn in_a_private_network(name: &str, test: fn()) {
    if super::is_run_again() {
        return test();
    }
    let mut refusals = Vec::new();
    for words in [
        &["unshare", "--user", "--map-root-user", "--net"][..],
        &["unshare", "--net"],
        &["sudo", "-n", "unshare", "--net"],
    ] {
        let unshare = |script: &str| {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).args(["sh", "-c", script]);
            command
        };
        match unshare("ip link set lo up").output() {
            Ok(output) if output.status.success() => {
                // Set again in the script, because sudo drops the environment.
                let script = format!("ip link set lo up && exec env {}=1 \"$0\" \"$@\"", super::AGAIN);
                super::run_again(name, unshare(&script).arg(env::current_exe().unwrap()));
                return;
            }
            Ok(output) => refusals.push(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => refusals.push(format!("{}: {error}", words[0])),
        }
    }
    // Not with println!, which shows only if a test fails.
    let mut seen = stderr();
    writeln!(seen, "NOT CHECKED: {name}: {}", refusals.join("; ")).unwrap();
}

/// Runs the command `ip`.
pub fn ip(args: &[&str]) {
    assert!(Command::new("ip").args(args).status().unwrap().success(), "{args:?}");
}
