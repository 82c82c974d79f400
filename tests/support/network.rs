//! Tests in a network of their own, with links that they can take down.

use std::env;
use std::io::{Write, stderr};
use std::process::Command;

/// Runs `test`, whose name is `name`, in a network of its own, which only the superuser may have, or who is one in a
/// namespace of users, or who may become one without a password, as where continuous integration runs.
pub fn in_a_network_of_its_own(name: &str, test: fn()) {
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
                // Said once more in the script, since sudo passes on no environment.
                let script = format!("ip link set lo up && exec env {}=1 \"$0\" \"$@\"", super::AGAIN);
                super::run_again(name, unshare(&script).arg(env::current_exe().unwrap()));
                return;
            }
            Ok(output) => refusals.push(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => refusals.push(format!("{}: {error}", words[0])),
        }
    }
    // Not with println!, which is shown only where a test fails.
    let mut seen = stderr();
    writeln!(seen, "NOT CHECKED: {name}: {}", refusals.join("; ")).unwrap();
}

/// Runs the command `ip`.
pub fn ip(args: &[&str]) {
    assert!(Command::new("ip").args(args).status().unwrap().success(), "{args:?}");
}
