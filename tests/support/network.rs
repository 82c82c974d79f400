//! Tests in a private network, with links that they can take down, or with private mounts or names of hosts.

use std::env;
use std::process::Command;

/// Runs `test`, whose name is `name`, in a new network namespace. That needs the superuser, a user namespace, or sudo
/// without a password, as on continuous integration.
pub fn in_a_private_network(name: &str, test: fn()) {
    in_a_namespace(name, "--net", "ip link set lo up", test);
}

/// Runs `test` after this script, whose mounts nobody else sees.
pub fn with_mounts(name: &str, script: &str, test: fn()) {
    in_a_namespace(name, "--mount", script, test);
}

/// Runs `test` where `/etc/hosts` has these lines.
pub fn with_hosts(name: &str, lines: &str, test: fn()) {
    let directory = super::Directory::new("hosts");
    directory.write("hosts", lines);
    in_a_namespace(name, "--mount", &format!("mount --bind '{}/hosts' /etc/hosts", directory.path()), test);
}

fn in_a_namespace(name: &str, kind: &str, setup: &str, test: fn()) {
    if super::is_run_again() {
        return test();
    }
    match namespace(kind, setup) {
        Ok(unshare) => {
            // Set again in the script, because sudo drops the environment.
            let script = format!("{setup} && exec env {}=1 \"$0\" \"$@\"", super::AGAIN);
            super::run_again(name, unshare(&script).arg(env::current_exe().unwrap()));
        }
        Err(why) => super::not_checked(name, &why),
    }
}

/// Returns what runs a script in a new namespace of this kind, if `setup` succeeds there; or why nothing does.
pub fn namespace(kind: &str, setup: &str) -> Result<impl Fn(&str) -> Command, String> {
    let mut refusals = Vec::new();
    for words in [
        vec!["unshare", "--user", "--map-root-user", kind],
        vec!["unshare", kind],
        vec!["sudo", "-n", "unshare", kind],
    ] {
        let program = words[0];
        let unshare = move |script: &str| {
            let mut command = Command::new(program);
            command.args(&words[1..]).args(["bash", "-c", script]);
            command
        };
        match unshare(setup).output() {
            Ok(output) if output.status.success() => return Ok(unshare),
            Ok(output) => refusals.push(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => refusals.push(format!("{program}: {error}")),
        }
    }
    Err(refusals.join("; "))
}

/// Runs the command `ip`.
pub fn ip(args: &[&str]) {
    assert!(Command::new("ip").args(args).status().unwrap().success(), "{args:?}");
}
