//! Options that are in the environment or in a file, and what `--check` says of them. The binary, from outside.

use crate::support;

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use support::{Directory, Program};

const LOOPBACK: [&str; 4] = ["--port", "0", "--address", "127.0.0.1"];

/// Returns its output on both streams, and its exit code. `variables` are `NAME=value`.
fn run(args: &[&str], variables: &[&str]) -> (Option<i32>, String, String) {
    let variables = variables.iter().map(|variable| variable.split_once('=').expect("NAME=value"));
    let output = Program::command().args(args).envs(variables).output().expect("starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("is UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The lines of a check that say something of these options.
fn checked<'a>(output: &'a str, options: &[&str]) -> Vec<&'a str> {
    let is_one = |line: &&str| {
        let name = line.trim_start_matches("# ").split(' ').next().unwrap_or_default();
        options.contains(&name)
    };
    output.lines().filter(is_one).collect()
}

#[test]
fn the_line_is_before_the_environment_and_that_is_before_the_file() {
    let directory = Directory::new("configuration");
    directory.write(
        "a.toml",
        "# what is here\nmax-clients = 11\nmax-backlog = \"2MiB\"\ninterval = '250ms'\nping-interval = \"\"\n\
         allow-origin = [\"https://a.test\", \"https://b.test\"]\nhost = \"a.test\"\ntls-self-signed = true\n",
    );
    let file = format!("{}/a.toml", directory.path());
    let variables = [
        &format!("THREADCAST_CONFIG={file}")[..],
        "THREADCAST_MAX_CLIENTS=12",
        "THREADCAST_MAX_BACKLOG=3MiB",
        "THREADCAST_HOST=b.test, c.test",
        "THREADCAST_LOGGING=",
        "THREADCAST_TLS_SELF_SIGNED=no",
    ];
    let args = [&LOOPBACK[..], &["--check", "--max-clients", "13"]].concat();
    let (code, output, errors) = run(&args, &variables);
    assert_eq!((code, &errors[..]), (Some(0), ""), "{output}");
    let of = |options: &[&str]| checked(&output, options).join("\n");
    let line = |assignment: &str, source: &str| format!("{assignment:<40} # {source}");
    assert_eq!(of(&["max-clients"]), line("max-clients = 13", "command line"));
    assert_eq!(of(&["max-backlog"]), line("max-backlog = \"3MiB\"", "THREADCAST_MAX_BACKLOG"));
    assert_eq!(of(&["interval"]), line("interval = \"250ms\"", &format!("{file}:4")));
    assert_eq!(of(&["ping-interval"]), line("ping-interval = \"20s\"", "default"));
    assert_eq!(of(&["host"]), line("host = [\"b.test\", \"c.test\"]", "THREADCAST_HOST"));
    assert_eq!(of(&["logging"]), line("logging = \"info\"", "default"));
    assert_eq!(of(&["tls-self-signed"]), line("tls-self-signed = false", "THREADCAST_TLS_SELF_SIGNED"));
    let origins = "allow-origin = [\"https://a.test\", \"https://b.test\"]";
    assert_eq!(of(&["allow-origin"]), line(origins, &format!("{file}:6")));
    assert_eq!(of(&["config"]), line(&format!("# config = \"{file}\""), "THREADCAST_CONFIG"));
    assert_eq!(of(&["www"]), line("# www", "not set"));
    assert!(output.ends_with("\n# up to 13 clients (as chosen)\n"), "{output}");
    // Its output is a valid file for --config.
    directory.write("b.toml", &output);
    let again = format!("{}/b.toml", directory.path());
    let (code, second, errors) = run(&["--check", "--config", &again], &[]);
    assert_eq!((code, &errors[..]), (Some(0), ""), "{second}");
    let values = |output: &str| -> Vec<String> {
        let lines = output.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split(" # ").next().unwrap_or_default().trim_end().to_owned()).collect()
    };
    assert_eq!(values(&second), values(&output));
}

#[test]
fn each_option_but_those_of_the_lab_is_a_variable_and_a_key() {
    let (_, help, _) = run(&["--help"], &[]);
    let serving = help.split("\nInstead of serving:").next().expect("a part of --help");
    let serving = serving.split("\nLab:").next().expect("a part of --help");
    let options: Vec<_> =
        serving.lines().filter_map(|line| line.trim_start().strip_prefix("--")?.split(' ').next()).collect();
    assert!(options.len() > 25, "{options:?}");
    let directory = Directory::new("each-option");
    for option in options {
        let variable = format!("THREADCAST_{}", option.to_uppercase().replace('-', "_"));
        // Wrong for most options. The check goes on to say where it is from, or says that in the error.
        let (_, output, errors) = run(&["--check"], &[&format!("{variable}=\u{1}")]);
        // An option that needs another one is an error that names the other one.
        let needs = errors.contains("were not provided");
        assert!(needs || format!("{output}{errors}").contains(&variable), "{option}: {output}{errors}");
        assert!(!errors.contains("sets no option"), "{errors}");
        directory.write("one.toml", format!("\n{option} = '''/'''\n"));
        let file = format!("{}/one.toml", directory.path());
        let (_, output, errors) = run(&["--check", "--config", &file], &[]);
        if option != "config" && !errors.contains("were not provided") {
            assert!(format!("{output}{errors}").contains(&format!("{file}:2")), "{option}: {output}{errors}");
        }
    }
}

#[test]
fn what_is_wrong_in_the_file_is_said_with_its_line() {
    let directory = Directory::new("wrong-file");
    let file = format!("{}/wrong.toml", directory.path());
    for (text, expected) in [
        ("max-cleints = 1", "FILE:1: unknown key max-cleints; did you mean max-clients?"),
        ("\nqqqq = 1", "FILE:2: unknown key qqqq"),
        ("'' = 1", "FILE:1: unknown key \"\""),
        (
            "port = \"x\"",
            "invalid value 'x' for 'port (FILE:1)': expected a number from 0 to 65535; 0 lets the system choose",
        ),
        (
            "port = 99999",
            "invalid value '99999' for 'port (FILE:1)': expected a number from 0 to 65535; 0 lets the system choose",
        ),
        ("port = [1, 2]", "port (FILE:1) takes one value, not several"),
        ("lab = true", "FILE:1: lab works on the command line only"),
        ("check = true", "FILE:1: check works on the command line only"),
        ("config = \"a\"", "FILE:1: config works on the command line only"),
        ("tls-self-signed = 2", "tls-self-signed (FILE:1) 2: write true or false"),
        ("tls-self-signed = \"\"\nport = \"\"\nport = 1", "FILE:3: not TOML: duplicate key"),
        ("[tls]\ncert = \"a\"", "FILE:1: tls is a table; write key = value, without tables"),
        ("tls.cert = \"a\"", "FILE:1: tls is a table; write key = value, without tables"),
        ("host = [[\"a\"]]", "FILE:1: host is an array in an array; write key = value, without tables"),
        (
            "interval = 1.5",
            "invalid value '1.5' for 'interval (FILE:1)': expected a whole number with ms, s, m or h, such as 250ms or 1s",
        ),
        (
            "host = [\"a\", \"b c\"]",
            "invalid value 'b c' for 'host (FILE:1)': expected a name or an address without a port, such as example.com",
        ),
        (
            "tls-cert = \"a\"\ntls-self-signed = true\ntls-key = \"b\"",
            "the argument 'tls-cert (FILE:1)' cannot be used with 'tls-self-signed (FILE:2)'",
        ),
        (
            "logging = \"loud\"",
            "invalid value 'loud' for 'logging (FILE:1)' [possible values: debug, info, warning, error, none]",
        ),
    ] {
        directory.write("wrong.toml", text);
        let (code, output, errors) = run(&["--config", &file], &[]);
        let expected =
            format!("threadcast: {} (--help shows the options)\n", expected.replace("FILE", &file));
        assert_eq!((code, output.as_str(), errors), (Some(2), "", expected), "{text}");
    }
    for (path, expected) in [
        (format!("{file}.not"), "No such file or directory"),
        (directory.path().to_owned(), "Is a directory"),
        ("/dev/zero".to_owned(), "it has more than 1 MiB"),
    ] {
        let (code, _, errors) = run(&["--config", &path], &[]);
        let expected = format!(
            "threadcast: cannot read the --config file {path}: {expected} (--help shows the options)\n"
        );
        assert_eq!((code, errors), (Some(2), expected));
    }
    // Help is there for somebody whose file is wrong.
    assert_eq!(run(&["--help", "--config", "/not/there"], &[]).0, Some(0));
}

#[test]
fn what_is_wrong_in_the_environment_is_said_with_the_variable() {
    for (variables, expected) in [
        (
            &["THREADCAST_PORT=x"][..],
            "invalid value 'x' for 'THREADCAST_PORT': expected a number from 0 to 65535; 0 lets the system choose",
        ),
        (&["THREADCAST_TLS_SELF_SIGNED=perhaps"], "THREADCAST_TLS_SELF_SIGNED perhaps: write true or false"),
        (
            &["THREADCAST_TLS_CERT=a", "THREADCAST_TLS_KEY=b", "THREADCAST_TLS_SELF_SIGNED=on"],
            "the argument 'THREADCAST_TLS_CERT' cannot be used with 'THREADCAST_TLS_SELF_SIGNED'",
        ),
        (&["THREADCAST_TLS_KEY=b"], "the following required arguments were not provided: --tls-cert <PEM>"),
    ] {
        let (code, output, errors) = run(&[], variables);
        let expected = format!("threadcast: {expected} (--help shows the options)\n");
        let first = errors.lines().next().map(|line| format!("{line}\n"));
        assert_eq!((code, output.as_str(), first), (Some(2), "", Some(expected)), "{errors}");
    }
    let mut command = Program::command();
    let not_utf8 = std::ffi::OsString::from_vec(b"redis://:SECRET\xff@127.0.0.1".to_vec());
    let output = command.env("THREADCAST_REDIS", not_utf8).output().expect("starts");
    let errors = String::from_utf8(output.stderr).expect("is UTF-8");
    assert_eq!(errors, "threadcast: THREADCAST_REDIS is not UTF-8 (--help shows the options)\n");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_variable_that_is_nearly_an_option_has_a_warning() {
    let (code, _, errors) = run(
        &[&LOOPBACK[..], &["--check"]].concat(),
        &["THREADCAST_MAX_CLIENT=1", "THREADCAST_QQQQ=1", "THREADCAST_LAB=1", "THREADCAST_EMPTY="],
    );
    let expected = "threadcast: warning: THREADCAST_LAB sets no option\n\
        threadcast: warning: THREADCAST_MAX_CLIENT sets no option; did you mean THREADCAST_MAX_CLIENTS?\n\
        threadcast: warning: THREADCAST_QQQQ sets no option\n";
    assert_eq!((code, &errors[..]), (Some(0), expected));
}

/// The names of variables in the code below a directory, without that of its tests.
fn variables_in(directory: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            variables_in(&path, names);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let code = fs::read_to_string(&path).unwrap();
            let code = code.split("#[cfg(test)]").next().unwrap_or_default();
            let rest = code.split("\"THREADCAST_").skip(1).filter_map(|rest| rest.split('"').next());
            names.extend(rest.filter(|name| !name.is_empty()).map(|name| format!("THREADCAST_{name}")));
        }
    }
}

#[test]
fn a_variable_that_the_program_reads_or_sets_has_no_warning() {
    let mut names = BTreeSet::new();
    variables_in(Path::new("src"), &mut names);
    for name in ["PREDECESSOR", "BEGUN", "KEEP_SIGNAL_STACKS", "PUBLISH_TOKEN", "ADMIN_TOKEN"] {
        assert!(names.contains(&format!("THREADCAST_{name}")), "{name} in {names:?}");
    }
    for name in names {
        let (_, _, errors) = run(&[&LOOPBACK[..], &["--check"]].concat(), &[&format!("{name}=1")]);
        assert!(!errors.contains("sets no option"), "{errors}");
        let typo = format!("{name}S");
        let (_, _, errors) = run(&[&LOOPBACK[..], &["--check"]].concat(), &[&format!("{typo}=1")]);
        assert!(errors.contains(&format!("warning: {typo} sets no option")), "{errors}");
    }
}

#[test]
fn what_kubernetes_sets_for_a_service_called_threadcast_is_none_of_it() {
    let (code, output, errors) = run(
        &["--check", "--address", "127.0.0.1"],
        &[
            "THREADCAST_PORT=tcp://10.0.0.1:8888",
            "THREADCAST_PORT_8888_TCP=tcp://10.0.0.1:8888",
            "THREADCAST_PORT_8888_TCP_ADDR=10.0.0.1",
            "THREADCAST_PORT_8888_TCP_PORT=8888",
            "THREADCAST_PORT_8888_TCP_PROTO=tcp",
            "THREADCAST_SERVICE_HOST=10.0.0.1",
            "THREADCAST_SERVICE_PORT=8888",
            "THREADCAST_SERVICE_PORT_HTTP=8888",
        ],
    );
    assert!(code == Some(0) || errors.contains("127.0.0.1:8888: Address already in use"), "{errors}");
    assert_eq!(checked(&output, &["port"]), [format!("{:<40} # default", "port = 8888")]);
    assert!(!errors.contains("THREADCAST_"), "{errors}");
}

#[test]
fn a_check_tries_files_port_and_limits_and_leaves_nothing_behind() {
    let directory = Directory::new("check");
    directory.write("short-token", "short");
    fs::set_permissions(directory.0.join("short-token"), fs::Permissions::from_mode(0o600)).unwrap();
    directory.write("cert.pem", "no PEM");
    fs::create_dir(directory.0.join("www")).unwrap();
    let path = |name: &str| format!("{}/{name}", directory.path());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (args, expected) in [
        (vec!["--publish-token-file", &path("short-token")], "not a valid token"),
        (vec!["--publish-token-file", "/not/there"], "cannot read the token"),
        (vec!["--tls-cert", &path("cert.pem"), "--tls-key", &path("cert.pem")], "cert.pem"),
        (vec!["--www", &path("www")], "it has no index.html"),
        (vec!["--log-file", &path("not/there.log")], "cannot write the log file"),
        (vec!["--log-file", &path("www")], "cannot write the log file"),
        (vec!["--redis", "http://127.0.0.1"], "--redis: "),
        (vec!["--lab", "--beside", "x"], "--beside: "),
        (vec!["--max-clients", "4194304"], "--max-clients 4194304 is more than is safe here"),
        (
            vec!["--tls-self-signed", "--http-port", &port],
            "choose another with --http-port, such as --http-port ",
        ),
    ] {
        let (code, output, errors) = run(&[&LOOPBACK[..], &["--check"], &args].concat(), &[]);
        assert_eq!((code, errors.lines().count()), (Some(1), 1), "{args:?} {errors}");
        assert!(errors.starts_with("threadcast: ") && errors.contains(expected), "{args:?} {errors}");
        assert!(output.starts_with("port = 0 "), "{output}");
    }
    // Where the port is from is where another one is written.
    directory.write("port.toml", format!("port = {port}"));
    let next = port.parse::<u16>().unwrap().checked_add(1).unwrap_or(8888);
    let file = path("port.toml");
    for (args, variable, expected) in [
        (vec!["--port", &port], "A=b", format!("choose another with --port, such as --port {next}")),
        (
            vec![],
            &format!("THREADCAST_PORT={port}")[..],
            format!("choose another with THREADCAST_PORT, such as THREADCAST_PORT={next}"),
        ),
        (
            vec!["--config", &file],
            "A=b",
            format!("choose another with port ({file}:1), such as port = {next}"),
        ),
    ] {
        let args = [&["--check", "--address", "127.0.0.1"][..], &args].concat();
        let (code, _, errors) = run(&args, &[variable]);
        assert_eq!((code, errors.lines().count()), (Some(1), 1), "{errors}");
        assert!(errors.ends_with(&format!("{expected}\n")), "{errors}");
    }
    // A Redis that is away is not a mistake: the check does not connect to it.
    let log = path("new.log");
    let good = ["--check", "--redis", "redis://127.0.0.1:1", "--log-file", &log];
    assert_eq!(run(&[&LOOPBACK[..], &good].concat(), &[]).0, Some(0));
    assert!(!fs::exists(&log).unwrap(), "a check makes no log file");
}

#[test]
fn a_password_is_not_printed_and_may_be_in_a_file_that_is_not_everybodys() {
    let directory = Directory::new("password");
    directory.write("redis.toml", "redis = \"redis://:SECRET@127.0.0.1:1\"");
    let file = format!("{}/redis.toml", directory.path());
    for (mode, warned) in [(0o600, false), (0o644, true)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let (code, output, errors) = run(&[&LOOPBACK[..], &["--check", "--config", &file]].concat(), &[]);
        assert_eq!((code, errors.contains("chmod o= ")), (Some(0), warned), "{errors}");
        assert!(!output.contains("SECRET") && !errors.contains("SECRET"), "{output}{errors}");
        assert_eq!(checked(&output, &["redis"]), [format!("{:<40} # {file}:1", "# redis = (not shown)")]);
    }
    let (code, output, errors) = run(&["--check", "--redis", "redis://:SECRET@127.0.0.1"], &[]);
    assert_eq!((code, &output[..]), (Some(2), ""));
    assert!(errors.contains("put a URL with a password into THREADCAST_REDIS") && !errors.contains("SECRET"));
}

#[test]
fn the_manuals_file_and_the_packages_are_accepted() {
    let page = fs::read_to_string("src/guide/configuration.md").unwrap();
    let block = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a file");
    let package = fs::read_to_string("tests/package/threadcast.toml").unwrap();
    // Each comment there becomes a key with a valid value, too; only the token's file is missing here.
    let all = package
        .lines()
        .map(|line| line.strip_prefix('#').filter(|key| !key.starts_with(' ')).unwrap_or(line));
    let all: Vec<_> = all.filter(|line| !line.starts_with("publish-token-file")).collect();
    let directory = Directory::new("manual");
    let file = format!("{}/a.toml", directory.path());
    for text in [block, &package, &all.join("\n")] {
        directory.write("a.toml", text);
        let args = [&LOOPBACK[..], &["--check", "--config", &file, "--max-clients", "10"]].concat();
        let (code, output, errors) = run(&args, &[]);
        assert_eq!((code, &errors[..]), (Some(0), ""), "{text}{output}");
    }
}

#[test]
fn it_serves_as_the_file_says() {
    let directory = Directory::new("served");
    directory.write("served.toml", "port = 0\naddress = \"127.0.0.1\"\nmax-clients = 7\n");
    let file = format!("{}/served.toml", directory.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_threadcast"));
    let program = Program::spawn(command.args(["--config", &file]).env("THREADCAST_MAX_CLIENTS", "8"));
    let line = program.wait_for_line("threadcast is at http://127.0.0.1:");
    assert!(line.contains("for up to 8 clients"), "{line}");
}
