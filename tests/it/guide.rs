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
use threadcast::{CloseCode, DisconnectReason};

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

/// The sections of a page. In a block `# ` begins a comment, or a line that rustdoc hides.
fn sections(page: &str) -> Vec<String> {
    let (mut sections, mut is_code) = (vec![String::new()], false);
    for line in page.lines() {
        is_code ^= line.trim_start().starts_with("```");
        if line.starts_with("# ") && !is_code {
            sections.push(String::new());
        }
        let section = sections.last_mut().expect("there is one");
        *section += line;
        section.push('\n');
    }
    sections
}

/// All blocks of the manual. A section begins with a line `# `, which would be a comment within a block: no block has
/// one.
fn blocks() -> Vec<Block> {
    let pages = fs::read_dir("src/guide").unwrap().map(|entry| entry.unwrap().path());
    let pages: Vec<_> = pages.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    let listed = fs::read_to_string("src/guide.rs").unwrap();
    for page in &pages {
        let name = page.file_name().unwrap().to_str().unwrap();
        assert!(listed.contains(&format!("include_str!(\"guide/{name}\")")), "{name} is not a page");
    }
    let texts: Vec<_> = pages.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    texts.iter().flat_map(|text| sections(text)).flat_map(|section| blocks_of(&section)).collect()
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
    assert!(readme.lines().count() <= 170, "{} lines", readme.lines().count());
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
            // `cargo test --doc` runs it.
            "rust" => true,
            // In configuration.rs beside this file.
            "toml" => true,
            // In proxies.rs and prometheus.rs.
            "nginx" | "haproxy" | "caddy" | "apache" | "yaml prometheus" | "yaml rules" | "json grafana" => {
                true
            }
            // In tests/it/supervisor.rs.
            "ini threadcast.socket" | "ini threadcast.service" => true,
            // In tutorial.rs.
            "sh tutorial" | "rs echo" | "rs rooms" | "rs fleet" => true,
            "sh" | "ini" | "text" => section.contains(BY_HAND),
            _ => false,
        };
        assert!(known, "nobody has tried this, or its mark {mark:?} is unknown:\n{text}");
    }
}

#[test]
fn commands_beside_a_running_program_succeed() {
    if Command::new("curl").arg("--version").output().is_err() {
        return support::not_checked("the manual's commands beside a running program", "curl is missing");
    }
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

#[test]
fn the_manual_has_each_close_code_and_each_reason_of_an_end() {
    let page = fs::read_to_string("src/guide/client.md").unwrap();
    let table = page.split_once("| code | reason | come back |\n|---|---|---|\n").expect("the table").1;
    let rows: Vec<_> = table.lines().take_while(|line| line.starts_with('|')).map(str::to_owned).collect();
    let row = |close: &CloseCode| {
        let comes_back = if close.comes_back { "yes" } else { "no" };
        format!("| {} | {} | {comes_back} |", close.code, close.reason)
    };
    assert_eq!(rows, CloseCode::ALL.iter().map(row).collect::<Vec<_>>());
    let page = fs::read_to_string("src/guide/metrics.md").unwrap();
    let listed = page.split_once("\n`disconnects` has ").expect("the list").1.split("\n#").next().unwrap();
    for reason in DisconnectReason::ALL {
        assert!(listed.contains(&format!("`{}`", reason.name())), "{reason:?} is not in {listed}");
    }
}

/// An option as `--help` prints it: its name, what its value is called, and its default.
struct HelpOption {
    name: String,
    value: Option<String>,
    default: Option<String>,
}

fn options_of_help() -> Vec<HelpOption> {
    let help = Command::new(env!("CARGO_BIN_EXE_threadcast")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let mut blocks: Vec<String> = Vec::new();
    for line in help.lines().map(str::trim) {
        match blocks.last_mut() {
            _ if line.starts_with("--") || line.starts_with("-h, ") || line.starts_with("-V, ") => {
                blocks.push(line.trim_start_matches("-h, ").trim_start_matches("-V, ").to_owned());
            }
            Some(block) if !line.is_empty() && !line.ends_with(':') => *block += &format!(" {line}"),
            _ => {}
        }
    }
    let option = |block: &String| {
        let (name, rest) = block.split_once(' ').unwrap_or((block, ""));
        let value = rest.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let default = block.split_once("[default: ").and_then(|(_, rest)| rest.split_once(']'));
        HelpOption {
            name: name.to_owned(),
            value: value.map(|(value, _)| value.to_owned()),
            default: default.map(|(default, _)| default.to_owned()),
        }
    };
    blocks.iter().map(option).collect()
}

/// The options that a cell of a table names: `` `--port PORT` `` is `--port` and `PORT`.
fn options_of_cell(cell: &str) -> Vec<(&str, Option<&str>)> {
    let quoted = cell.split('`').skip(1).step_by(2).filter(|text| text.starts_with("--"));
    quoted
        .map(|text| text.split_once(' ').map_or((text, None), |(name, value)| (name, Some(value))))
        .collect()
}

#[test]
fn the_tables_of_options_in_readme_and_manual_are_those_of_help() {
    let help = options_of_help();
    assert!(help.iter().any(|option| option.name == "--port" && option.default.as_deref() == Some("8888")));
    let pages = fs::read_dir("src/guide").unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let mut listed = Vec::new();
    for page in pages.chain([Path::new("README.md").to_owned()]) {
        let (text, mut is_of_options, mut has_default) = (fs::read_to_string(&page).unwrap(), false, false);
        for line in text.lines() {
            let mut cells = line.split('|').skip(1).map(str::trim);
            let Some(first) = cells.next() else {
                is_of_options = false;
                continue;
            };
            let second = cells.next().unwrap_or_default();
            if first == "option" {
                (is_of_options, has_default) = (true, second == "default");
            }
            let options = if is_of_options { options_of_cell(first) } else { Vec::new() };
            for (name, value) in &options {
                let of_help = help.iter().find(|option| option.name == *name);
                let of_help =
                    of_help.unwrap_or_else(|| panic!("{name} of {} is not an option", page.display()));
                assert_eq!(*value, of_help.value.as_deref(), "{name} in {}", page.display());
                let exact = of_help.default.as_deref().filter(|default| !default.contains(' '));
                if has_default && options.len() == 1 && exact.is_some() {
                    assert_eq!(Some(second.trim_matches('`')), exact, "{name} in {}", page.display());
                }
                if page.ends_with("operating.md") {
                    listed.push((*name).to_owned());
                }
            }
        }
    }
    for HelpOption { name, .. } in
        help.iter().filter(|option| !["--help", "--version"].contains(&&*option.name))
    {
        assert!(listed.contains(name), "{name} is not in the tables of src/guide/operating.md");
    }
}
