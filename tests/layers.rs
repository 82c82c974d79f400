//! The order of the layers, which a reader is promised: imports run one way.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The modules that a file imports with `use crate::LAYER::MODULE`, without its tests.
fn imports(path: &Path, layer: &str) -> Vec<String> {
    let source = fs::read_to_string(path).unwrap();
    let start = format!("use crate::{layer}::");
    let uses = source.lines().filter_map(|line| line.strip_prefix(&start));
    uses.map(|rest| rest.split("::").next().unwrap().trim_end_matches(';').to_owned()).collect()
}

fn sources(layer: &str) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(format!("src/{layer}")).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "rs")).collect();
    assert!(files.len() > 2, "src/{layer}");
    files
}

#[test]
fn in_the_framework_a_file_imports_only_what_stands_above_it_in_mod_rs() {
    let order = fs::read_to_string("src/web/mod.rs").unwrap();
    let order: Vec<_> = order.lines().filter_map(|line| line.strip_prefix("pub(crate) mod ")).collect();
    let place = |name: &str| order.iter().position(|other| other.trim_end_matches(';') == name);
    let mut seen = 0;
    for path in sources("web") {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        for import in imports(&path, "web") {
            assert!(place(&import) < place(&name), "{name} imports {import}");
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen} imports were found");
}

#[test]
fn the_framework_knows_nothing_of_the_clock_and_the_lab() {
    for path in sources("web") {
        let source = fs::read_to_string(&path).unwrap();
        assert!(!source.contains("crate::clock") && !source.contains("crate::lab"), "{}", path.display());
    }
    for (layer, other) in [("clock", "lab"), ("lab", "clock")] {
        for path in sources(layer) {
            assert_eq!(imports(&path, other), [] as [&str; 0], "{}", path.display());
        }
    }
}

#[test]
fn no_file_of_the_source_is_over_300_lines() {
    let mut paths: Vec<_> = ["web", "clock", "lab"].into_iter().flat_map(sources).collect();
    // `outbox/tests.rs` and such.
    for folder in fs::read_dir("src/web").unwrap().chain(fs::read_dir("src/clock").unwrap()).flatten() {
        paths.extend(fs::read_dir(folder.path()).into_iter().flatten().flatten().map(|file| file.path()));
    }
    for path in paths.iter().filter(|path| path.is_file()) {
        let lines = fs::read_to_string(path).unwrap().lines().count();
        assert!(lines <= 300, "{} has {lines}: what is it hiding?", path.display());
    }
}

#[test]
fn the_product_depends_on_no_async_runtime() {
    let mut command = Command::new(env!("CARGO"));
    command.args(["tree", "--package", "threadcast", "--edges", "normal", "--prefix", "none"]);
    let tree = command.output().expect("cargo tree runs");
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("tungstenite v"), "{tree}");
    for runtime in ["tokio v", "async-std v", "smol v", "mio v", "futures v"] {
        assert!(!tree.lines().any(|line| line.starts_with(runtime)), "{runtime}");
    }
}
