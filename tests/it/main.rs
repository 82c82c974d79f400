//! The tests that can share a process, a file each: one crate links once, and cargo runs the tests of all files side by
//! side. A test that counts the threads, descriptors or memory of its process, sets a limit or collects the log is
//! a separate crate beside this directory.

#[path = "../support/mod.rs"]
mod support;

// The files beside this one.
mod admin;
mod api;
mod arguments_and_cookies;
mod back_pressure;
mod begin_again;
mod behaviour;
mod bodies;
mod client;
mod choices;
mod clock;
mod close;
mod compression;
mod dialing;
mod configuration;
mod drain;
mod english;
mod examples;
mod fleet;
mod fleet_links;
mod fleet_program;
mod foreign;
mod guide;
mod handshake;
mod health;
mod http;
mod hub;
mod interop;
mod interop_client;
mod lab;
mod lab_page;
mod latest;
mod layers;
mod links;
mod log_format;
mod make;
mod messages;
mod metrics;
mod page;
mod protocols;
mod printed;
mod prometheus;
mod proxies;
mod proxy;
mod proxy_protocol;
mod publish;
mod rates;
mod reconnecting;
mod reload;
mod responses;
mod restarts;
mod server;
mod signals;
mod slow_clients;
mod small_stack;
mod straight;
mod supervisor;
mod tls;
mod tls_attacks;
mod tls_config;
mod tls_page;
mod tls_program;
mod tutorial;
mod workflows;

use std::collections::BTreeSet;
use std::fs;

/// The most test crates: cargo links and runs each of them separately.
const MOST_CRATES: usize = 16;

/// The names of the Rust files in a directory, without their extension.
fn names(directory: &str) -> BTreeSet<String> {
    let files =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    files.filter_map(|file| file.strip_suffix(".rs").map(str::to_owned)).collect()
}

#[test]
fn each_file_of_this_crate_is_one_of_its_modules() {
    let modules =
        include_str!("main.rs").lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    let modules: BTreeSet<_> = modules.filter(|name| *name != "support").map(str::to_owned).collect();
    let mut files = names("tests/it");
    assert!(files.remove("main"));
    assert_eq!(modules, files);
}

#[test]
fn there_are_few_test_crates_and_each_asks_for_the_program() {
    let mut crates = names("tests");
    crates.insert("it".to_owned());
    assert!(crates.len() <= MOST_CRATES, "{} test crates: {crates:?}", crates.len());
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    for name in crates {
        let entry = format!("[[test]]\nname = \"{name}\"\nrequired-features = [\"program\"]\n");
        assert!(manifest.contains(&entry), "Cargo.toml has to say of {name}:\n{entry}");
    }
}

/// A file with one of these names needs more than Rust and a C compiler.
const MORE: [&str; 12] = [
    "support::browser",
    "support::fleet",
    "support::network",
    "support::openssl",
    "support::python",
    "python::run",
    "\"npm\"",
    "\"openssl\"",
    "/usr/sbin",
    "redis-server",
    "promtool",
    "systemd-analyze",
];

#[test]
fn make_check_leaves_out_the_files_that_need_more_than_rust_and_a_c_compiler() {
    let makefile = fs::read_to_string("Makefile").unwrap().replace("\\\n", "");
    let list =
        makefile.lines().find_map(|line| line.strip_prefix("NEED_MORE := ")).expect("the Makefile's list");
    let listed: BTreeSet<_> = list.split_whitespace().map(str::to_owned).collect();
    let mut found = names("tests/it");
    found.retain(|name| {
        let source = fs::read_to_string(format!("tests/it/{name}.rs")).unwrap();
        !["main", "make"].contains(&name.as_str()) && MORE.iter().any(|word| source.contains(word))
    });
    assert_eq!(listed, found);
}
