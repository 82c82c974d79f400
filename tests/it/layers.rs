//! The layers: rooms in an order, files in an order within each, imports one way. The test reads both orders from the
//! `mod` lines of `src/lib.rs`, of `src/main.rs`, and of each room's file.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A crate's rooms that are beside each other: none imports from another.
const LIBRARY: [&str; 3] = ["client", "hub", "server"];
const PROGRAM: [&str; 2] = ["clock", "lab"];

/// A file's place in the order: its room, and its place within.
type Place = (usize, usize);

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The modules that a file declares, in order.
fn declared(path: &str) -> Vec<String> {
    let source = read(path);
    let lines = source.lines().map(|line| line.trim_start_matches("pub ").trim_start_matches("pub(crate) "));
    let names = lines.filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned));
    names.collect()
}

/// Every file below a folder of the source.
fn sources(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => files.extend(sources(path)),
            path if path.extension().is_some_and(|end| end == "rs") => files.push(path),
            _ => {}
        }
    }
    files
}

/// The paths that a source names after `crate::`, without its tests: `net::outbox` of `crate::net::outbox::Link`, and
/// of each name in `crate::net::{outbox, closer}`.
fn imports(source: &str) -> Vec<Vec<String>> {
    let without_tests = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let without_tests = without_tests.split("#[cfg(all(test, not(loom)))]\nmod tests {").next().unwrap();
    let code = without_tests.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = code.collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
        let path: Vec<_> =
            rest[..end].split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
        match rest[end..].strip_prefix('{') {
            Some(list) => {
                for name in list.split('}').next().unwrap().split(',') {
                    found.push([&path[..], &[name.trim().to_owned()]].concat());
                }
            }
            None => found.push(path),
        }
    }
    found
}

fn is_beside(beside: &[&str], room: &str, other: &str) -> bool {
    room != other && beside.contains(&room) && beside.contains(&other)
}

/// Checks the imports of all rooms that the root of a crate declares. Returns their number.
fn assert_one_way(root: &str, beside: &[&str]) -> usize {
    let rooms = declared(root);
    assert!(beside.iter().all(|room| rooms.iter().any(|other| other == room)), "{rooms:?}");
    let files: Vec<_> = rooms.iter().map(|room| declared(&format!("src/{room}.rs"))).collect();
    let place = |path: &[String]| -> Option<Place> {
        let room = rooms.iter().position(|room| *room == path[0])?;
        let file = path.get(1).and_then(|name| files[room].iter().position(|file| file == name));
        Some((room, file.unwrap_or(0)))
    };
    let mut seen = 0;
    for (room, name) in rooms.iter().enumerate() {
        let folder = format!("src/{name}");
        let mut paths = if Path::new(&folder).is_dir() { sources(&folder) } else { Vec::new() };
        paths.extend(Some(PathBuf::from(format!("src/{name}.rs"))).filter(|path| path.exists()));
        for path in paths {
            if path.ends_with("tests.rs") || path.ends_with("model.rs") {
                continue;
            }
            // `src/net/outbox/drain.rs` is part of `outbox`.
            let inner = path.strip_prefix(&folder).ok().and_then(|path| path.iter().next());
            let own = inner.map(|file| file.to_string_lossy().trim_end_matches(".rs").to_owned());
            let own =
                own.map_or(Some(files[room].len()), |own| files[room].iter().position(|file| *file == own));
            let own = own.unwrap_or(0);
            for import in imports(&read(&path)) {
                let Some(place) = place(&import) else { continue };
                assert!(
                    !is_beside(beside, name, &import[0]),
                    "{} imports {}",
                    path.display(),
                    import.join("::")
                );
                let within = place.0 == room && (place.1 < own || (place.1 == own && inner.is_some()));
                assert!(place.0 < room || within, "{} imports {}", path.display(), import.join("::"));
                seen += 1;
            }
        }
    }
    seen
}

#[test]
fn in_the_library_imports_run_one_way() {
    let seen = assert_one_way("src/lib.rs", &LIBRARY);
    assert!(seen > 100, "{seen} imports were found");
}

#[test]
fn in_the_program_imports_run_one_way() {
    let seen = assert_one_way("src/main.rs", &PROGRAM);
    assert!(seen > 100, "{seen} imports were found");
}

#[test]
fn an_import_that_runs_back_up_is_found() {
    let source = "//! crate::none::x\nuse crate::net::{outbox, closer};\nuse crate::error::Error;\n\
                  fn f() { crate::ws::frame::close(); }\n#[cfg(test)]\nmod tests {\nuse crate::hub::x;\n}";
    let found: Vec<_> = imports(source).iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["net::outbox", "net::closer", "error::Error", "ws::frame::close"]);
    for (room, other, expected) in [
        ("hub", "client", true),
        ("client", "server", true),
        ("hub", "hub", false),
        ("hub", "connection", false),
        ("connection", "server", false),
    ] {
        assert_eq!(is_beside(&LIBRARY, room, other), expected, "{room} {other}");
    }
}

#[test]
fn the_programs_two_parts_do_not_know_each_other_nor_the_inside_of_the_library() {
    for part in PROGRAM {
        for path in sources(format!("src/{part}")) {
            for import in imports(&read(&path)) {
                assert_eq!(import[0], part, "{} imports {}", path.display(), import.join("::"));
            }
        }
    }
}

/// The style of most modules when this was written: 34 of 47. Only `tests/support` has a `mod.rs`, since cargo would
/// take `tests/support.rs` for a crate of tests.
#[test]
fn a_module_with_files_of_its_own_is_a_file_beside_their_folder() {
    let found = sources("src").into_iter().chain(sources("tests")).filter(|path| path.ends_with("mod.rs"));
    assert_eq!(found.collect::<Vec<_>>(), [Path::new("tests/support/mod.rs")]);
}

#[test]
fn no_file_of_the_source_is_over_300_lines() {
    let paths = sources("src");
    assert!(paths.len() > 50, "{}", paths.len());
    for path in paths {
        let lines = read(&path).lines().count();
        assert!(lines <= 300, "{} has {lines}: what is it hiding?", path.display());
    }
}

/// The types that a source declares; not the associated types of traits.
fn types(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in source.lines() {
        let code = line.trim_start().trim_start_matches("pub ");
        let code =
            code.strip_prefix("pub(").and_then(|rest| rest.split_once(") ")).map_or(code, |(_, rest)| rest);
        let (kind, rest) = code.split_once(' ').unwrap_or_default();
        if ["struct", "enum", "trait", "union"].contains(&kind) || (kind == "type" && !line.starts_with(' '))
        {
            found.extend(rest.split(|c: char| !c.is_alphanumeric()).next());
        }
    }
    found
}

/// The functions that a file shows to other rooms; not methods.
fn shown_functions(source: &str) -> Vec<&str> {
    let shown = source.lines().filter_map(|line| {
        let code = line.strip_prefix("pub(crate) ").or_else(|| line.strip_prefix("pub "))?;
        code.trim_start_matches("const ").strip_prefix("fn ")
    });
    shown.filter_map(|rest| rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next()).collect()
}

/// Checks that no two files declare the same name. Returns the number of names.
fn assert_once(declared: fn(&str) -> Vec<&str>, in_two_builds: Option<&str>) -> usize {
    let mut first: HashMap<String, PathBuf> = HashMap::new();
    for path in sources("src") {
        for name in declared(&read(&path)) {
            let before = first.insert(name.to_owned(), path.clone());
            let before = before.filter(|_| Some(name) != in_two_builds);
            assert_eq!(before, None, "{name} is in {}, too", path.display());
        }
    }
    first.len()
}

#[test]
fn a_types_name_is_found_once_in_the_tree() {
    // Loom's build has a second Channel.
    let names = assert_once(types, Some("Channel"));
    assert!(names > 100, "{names}");
    let source = "pub struct A<T>;\n  pub(crate) enum B {\n  type Transport = A;\ntype C = A;\npub(super) trait D: E {}";
    assert_eq!(types(source), ["A", "B", "C", "D"]);
}

#[test]
fn the_name_of_a_function_that_a_room_shows_is_found_once_in_the_tree() {
    let names = assert_once(shown_functions, None);
    assert!(names > 100, "{names}");
    let source = "pub fn a(\npub(crate) fn b_2<T>(\npub(crate) const fn c(\nfn d(\npub(super) fn e(\n    pub fn f(&self)";
    assert_eq!(shown_functions(source), ["a", "b_2", "c"]);
}

/// The crates that a user of the library compiles, with these features.
fn tree(features: &[&str]) -> Vec<String> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["tree", "--package", "threadcast", "--edges", "normal", "--prefix", "none"]).args(features);
    let output = command.output().expect("cargo tree runs");
    let mut crates: Vec<_> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| line.split(" (").next().unwrap().trim().to_owned())
        .collect();
    crates.sort_unstable();
    crates.dedup();
    assert!(crates.iter().any(|line| line.starts_with("tungstenite v")), "{crates:?}");
    crates
}

#[test]
fn the_product_depends_on_no_async_runtime() {
    let crates = tree(&["--all-features"]);
    for runtime in ["tokio v", "async-std v", "smol v", "mio v", "futures v"] {
        assert!(!crates.iter().any(|line| line.starts_with(runtime)), "{runtime}");
    }
}

#[test]
fn a_user_of_the_library_compiles_at_most_52_crates() {
    let crates = tree(&[]);
    assert!(crates.len() <= 52, "{}: {crates:#?}", crates.len());
}
