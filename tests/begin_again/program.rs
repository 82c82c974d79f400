//! The program that `tests/it/begin_again.rs` starts: it executes itself again, prints its state, and obeys its first
//! argument.

use std::io::{Read, stdin};
use std::process::Command;
use std::{env, fs, hint};

fn main() {
    threadcast::begin_again();
    println!("pid {}", std::process::id());
    let status = fs::read_to_string("/proc/self/status").expect("reads");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("a mask");
    println!("ignored {}", ignored.trim());
    for variable in ["GLIBC_TUNABLES", "MALLOC_ARENA_MAX"] {
        println!("{variable} {}", env::var(variable).unwrap_or_default());
    }
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    println!("arguments {arguments:?}");
    match arguments.first().and_then(|first| first.to_str()) {
        Some("overflow") => println!("{}", deeper(1)),
        Some("child") => {
            let own = env::current_exe().expect("a path");
            assert!(Command::new(own).status().expect("starts").success());
        }
        Some("wait") => {
            println!("waits");
            let _ = stdin().read(&mut [0]);
        }
        _ => {}
    }
}

/// Calls itself until the stack is used up.
fn deeper(depth: u64) -> u64 {
    hint::black_box([depth; 64])[0] + hint::black_box(deeper as fn(u64) -> u64)(depth + 1)
}
