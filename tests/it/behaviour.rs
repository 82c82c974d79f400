//! `tests/BEHAVIOUR.md` names a test for each row, and each of these tests exists.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../BEHAVIOUR.md");

/// The functions below a `#[test]`.
fn tests_of(source: &str) -> HashSet<String> {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let tests = lines.iter().enumerate().filter(|(_, line)| **line == "#[test]");
    let functions = tests.filter_map(|(n, _)| lines[n..].iter().find_map(|line| line.strip_prefix("fn ")));
    functions.filter_map(|function| function.split('(').next()).map(str::to_owned).collect()
}

/// The unit tests in every file below `folder`.
fn unit_tests(folder: &Path) -> HashSet<String> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let tests = paths.map(|path| match path.extension().and_then(|end| end.to_str()) {
        _ if path.is_dir() => unit_tests(&path),
        Some("rs") => tests_of(&fs::read_to_string(&path).unwrap()),
        _ => HashSet::new(),
    });
    tests.flatten().collect()
}

/// `tests/it/close.rs::name` is a test of that file, `net::outbox::tests::name` one of the source.
fn exists(test: &str, units: &HashSet<String>) -> bool {
    let Some((place, name)) = test.rsplit_once("::") else { return false };
    if place.starts_with("tests/") {
        fs::read_to_string(place).is_ok_and(|source| tests_of(&source).contains(name))
    } else {
        units.contains(name)
    }
}

/// The rows of all tables: the text of each, and the tests that its last cell names.
fn rows(page: &str) -> Vec<(&str, Vec<&str>)> {
    let mut rows = Vec::new();
    let mut in_body = false;
    for line in page.lines() {
        if in_body && line.starts_with('|') {
            let cell = line.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or_default();
            rows.push((line, cell.split('`').skip(1).step_by(2).collect()));
        } else {
            in_body = line.starts_with("|---");
        }
    }
    rows
}

/// The faults of a page, a line each.
fn faults(page: &str) -> Vec<String> {
    let units = unit_tests(Path::new("src"));
    let faults = rows(page).into_iter().flat_map(|(row, tests)| {
        let unnamed = tests.is_empty().then(|| format!("no test: {row}"));
        let missing = tests.into_iter().filter(|test| !exists(test, &units));
        let missing: Vec<_> = missing.map(|test| format!("no such test: {test}")).collect();
        unnamed.into_iter().chain(missing)
    });
    faults.collect()
}

#[test]
fn each_row_names_its_test_and_the_test_exists() {
    assert!(rows(PAGE).len() > 100, "{} rows were found", rows(PAGE).len());
    assert_eq!(faults(PAGE), [] as [&str; 0]);
}

#[test]
fn a_row_without_a_test_and_a_test_that_is_gone_are_found() {
    let page = "\
| When | Then | Test |
|---|---|---|
| `code` here | names no test | |
| a | b | `tests/it/close.rs::gone`, `tests/gone.rs::fin_rst_and_half_close_leave_no_code` |
| c | d | `tests/it/close.rs::fin_rst_and_half_close_leave_no_code`, `a::tests::a_death_wakes_the_reader` |
| e | f | `net::outbox::tests::gone`, `written` |
";
    let expected = [
        "no test: | `code` here | names no test | |",
        "no such test: tests/it/close.rs::gone",
        "no such test: tests/gone.rs::fin_rst_and_half_close_leave_no_code",
        "no such test: net::outbox::tests::gone",
        "no such test: written",
    ];
    assert_eq!(faults(page), expected);
}
