//! The manual's commands work as it says, and the README fits on a page.
//!
//! A block of commands has a mark: `sh run` ends on its own, beside a running program; `sh serve` starts the program.
//! The section of any other block has the date on which somebody tried it by hand.

use crate::support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use support::Program;

/// The mark of a section that was tried.
const BY_HAND: &str = "by hand on 20";

/// A block between fences, and the section of the page that it is in.
struct Block {
    /// The text after the first fence.
    mark: String,
    text: String,
    section: String,
}

/// The blocks of a section.
fn blocks_of(section: &str) -> Vec<Block> {
    let parts: Vec<_> = section.split("```").collect();
    assert!(parts.len() % 2 == 1, "a block without an end:\n{section}");
    let blocks = parts.iter().skip(1).step_by(2).map(|block| {
        let (mark, text) = block.split_once('\n').expect("a line behind the fence");
        Block { mark: mark.to_owned(), text: text.to_owned(), section: section.to_owned() }
    });
    blocks.collect()
}

/// All blocks of the manual. A section begins with a line `# `, which would be a comment within a block: no block has
/// one.
fn blocks() -> Vec<Block> {
    let pages = fs::read_dir("src/guide").unwrap().map(|entry| entry.unwrap().path());
    let pages: Vec<_> = pages.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    let listed = fs::read_to_string("src/guide/mod.rs").unwrap();
    for page in &pages {
        let name = page.file_name().unwrap().to_str().unwrap();
        assert!(listed.contains(&format!("include_str!(\"{name}\")")), "{name} is not a page");
    }
    let texts: Vec<_> = pages.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    texts.iter().flat_map(|text| text.split("\n# ")).flat_map(blocks_of).collect()
}

/// Blocks with this mark, at least one.
fn marked(mark: &str) -> Vec<Block> {
    let blocks: Vec<_> = blocks().into_iter().filter(|block| block.mark == mark).collect();
    assert!(!blocks.is_empty(), "no block is marked {mark:?}");
    blocks
}

/// A directory for the PATH: `threadcast` is this one, and `pgrep` finds the process `pid`.
fn commands(name: &str, pid: u32) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    symlink(env!("CARGO_BIN_EXE_threadcast"), directory.join("threadcast")).unwrap();
    let pgrep = directory.join("pgrep");
    fs::write(&pgrep, format!("#!/bin/sh\necho {pid}\n")).unwrap();
    fs::set_permissions(&pgrep, fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// A shell that runs `text`, with `directory` first on its PATH.
fn shell(text: &str, directory: &Path) -> Command {
    let mut command = Command::new("bash");
    let path = std::env::var("PATH").unwrap();
    command.args(["-euo", "pipefail", "-c", text]).current_dir(directory);
    command.env("PATH", format!("{}:{path}", directory.display()));
    command
}

#[test]
fn the_readme_is_short_and_its_links_lead_somewhere() {
    let readme = fs::read_to_string("README.md").unwrap();
    assert!(readme.lines().count() <= 200, "{} lines", readme.lines().count());
    let ends = [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"')];
    let links = ends
        .iter()
        .flat_map(|(begin, end)| readme.split(begin).skip(1).filter_map(|rest| rest.split(*end).next()));
    let is_file = |link: &&str| !link.starts_with("https://") && !link.starts_with('#');
    let files: Vec<_> = links.filter(is_file).collect();
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        assert!(Path::new(file).exists(), "{file} is not here");
    }
}

#[test]
fn each_block_runs_in_a_test_or_says_when_it_was_tried_by_hand() {
    for Block { mark, text, section } in blocks() {
        let known = match mark.as_str() {
            "sh run" | "sh serve" | "no_run" | "python" => true,
            // In proxies.rs and prometheus.rs.
            "nginx" | "haproxy" | "yaml prometheus" | "yaml rules" | "json grafana" => true,
            "sh" | "ini" | "text" => section.contains(BY_HAND),
            _ => false,
        };
        assert!(known, "nobody has tried this, or its mark {mark:?} is unknown:\n{text}");
    }
}

#[test]
fn commands_beside_a_running_program_succeed() {
    let program = Program::start(&[]);
    let directory = commands("guide-run", program.pid());
    let port = program.addr().port().to_string();
    for Block { text, .. } in marked("sh run") {
        let output = shell(&text.replace("8888", &port), &directory).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{text}{errors}{}", output.status);
    }
    program.wait_for_line("\"slow_consumers\":0");
}

#[test]
fn commands_that_start_the_program_do() {
    let directory = commands("guide-serve", 0);
    for Block { text, .. } in marked("sh serve") {
        let words: Vec<_> = text.split_whitespace().collect();
        let port =
            words.iter().position(|word| *word == "--port").expect("a port, which is another one here");
        let text = text.replace(&format!("--port {}", words[port + 1]), "--port 0");
        let mut program = Program::spawn(&mut shell(&text, &directory));
        program.wait_for_line("threadcast is at http");
        program.signal(Signal::TERM);
        assert_eq!(program.wait().code(), Some(0), "{text}");
    }
}
