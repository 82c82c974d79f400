//! Faults that the comparison must notice: servers that are slow, that drop ticks, that crash, or that are missing. All
//! of them are one small Python file, known only by their manifests.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use threadcast_compare::experiment::{Experiment, Kind};
use threadcast_compare::figures;
use threadcast_compare::results::Results;

const CLIENTS: usize = 20;
const PUSHES: usize = 20;
/// Runs, until one of them is undisturbed.
const ATTEMPTS: usize = 5;
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/results");

/// Runs the comparison's program in a new directory, which it returns with the output.
fn compare(name: &str, arguments: &[&str]) -> (PathBuf, Output) {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&directory).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_threadcast-compare"))
        .args(["run", "--manifest"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/variants.toml"))
        .arg("--out")
        .arg(&directory)
        .args(["--rounds", "1", "--interval", "200ms"])
        .args(["--sizes", &CLIENTS.to_string()])
        .args(["--pushes", &PUSHES.to_string()])
        .args(arguments)
        .output()
        .expect("the comparison starts");
    (directory, output)
}

/// Pushes to these variants, and returns the results.
fn push(name: &str, variants: &str) -> Results {
    let (directory, output) = compare(name, &["--experiments", "push", "--only", variants]);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    Results::read(&directory.join("results.json")).unwrap()
}

fn figure(results: &Results, variant: &str, figure: &str) -> f64 {
    let experiment = Experiment::new(Kind::Push, CLIENTS);
    let found = results.median(variant, experiment, figure);
    found.unwrap_or_else(|| panic!("{variant} has no {figure}: {:?}", results.samples))
}

#[test]
fn a_slowed_variant_comes_out_slower() {
    let results = push("slowed", "one-file,slowed");
    for (name, least) in [(figures::CPU_MS, 8.0), (figures::SPREAD_MS, 8.0)] {
        // 500 microseconds more for each of 20 clients are 10 ms more for each round.
        let (plain, slowed) = (figure(&results, "one-file", name), figure(&results, "slowed", name));
        assert!(slowed > plain + least, "{name}: {plain}, slowed {slowed}");
    }
}

#[test]
fn dropped_ticks_are_missed_ticks() {
    let expected = (CLIENTS * PUSHES) as f64;
    // On a machine that stands still for an interval, all variants miss ticks: such a run proves nothing.
    let calm = (0..ATTEMPTS).map(|n| {
        let results = push(&format!("dropping-{n}"), "one-file,dropping,skipping");
        assert_eq!(figure(&results, "one-file", figures::EXPECTED), expected);
        // Every tenth tick, and whole rounds: of 20 that come, at least 2 follow one that did not.
        let missed = |variant| figure(&results, variant, figures::MISSED);
        let [none, dropped, skipped] = ["one-file", "dropping", "skipping"].map(missed);
        println!("missed: {none}, {dropped} of {expected}, {skipped}");
        none == 0.0 && dropped == expected / 10.0 && skipped >= 2.0 * CLIENTS as f64
    });
    assert!(calm.into_iter().any(|as_expected| as_expected), "in none of {ATTEMPTS} runs");
}

#[test]
fn a_crash_is_reported_as_a_crash() {
    let results = push("crashing", "crashing,one-file");
    let sample = |name| results.samples.iter().find(|sample| sample.variant == name);
    let failed = sample("crashing").unwrap().failed.clone().unwrap();
    assert!(failed.starts_with("crashed: signal: 6"), "{failed}");
    assert!(failed.ends_with("told to crash"), "{failed}");
    assert_eq!(sample("one-file").unwrap().failed, None);
}

#[test]
fn servers_that_are_played_side_by_side_fail_one_by_one() {
    let arguments = ["--experiments", "stalled", "--quick", "--only", "crashing,one-file"];
    let (directory, output) = compare("side-by-side", &arguments);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let results = Results::read(&directory.join("results.json")).unwrap();
    let [one, other] = results.samples.as_slice() else {
        panic!("a sample of each: {:?}", results.samples);
    };
    assert_eq!((one.variant.as_str(), other.variant.as_str()), ("one-file", "crashing"));
    assert_eq!(one.failed, None);
    assert!(one.figures.contains_key(figures::GROWTH_MIB));
    let failed = other.failed.as_deref().unwrap_or_default();
    assert!(failed.starts_with("crashed: signal: 6"), "{failed}");
}

#[test]
fn a_foreign_server_takes_part_by_its_manifest_alone() {
    let experiments = ["--experiments", "push,echo,blocked,stalled", "--quick", "--only", "one-file,absent"];
    let (directory, output) = compare("foreign", &experiments);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("all tables and charts"), "{printed}");

    let results = Results::read(&directory.join("results.json")).unwrap();
    for sample in &results.samples {
        assert_eq!(sample.failed, None, "{}", sample.experiment);
    }
    let gap = results.median("one-file", Experiment::new(Kind::Blocked, 50), figures::SLEEP_GAP_MS);
    assert!(gap.unwrap() < 450.0, "others wait for a sleeping thread");
    assert!(results.median("one-file", Experiment::new(Kind::Echo, 50), figures::RATE) > Some(0.0));
    for chart in ["cpu.svg", "spread.svg", "echo.svg", "memory.svg", "blocked.svg"] {
        let svg = std::fs::read_to_string(directory.join(chart)).unwrap();
        assert!(svg.contains("one-file"), "{chart}");
    }
    let page = std::fs::read_to_string(directory.join("README.md")).unwrap();
    for wanted in ["](cpu.svg)", "| one-file |", "not measured: `fetch it"] {
        assert!(page.contains(wanted), "{wanted} in:\n{page}");
    }
}

/// A copy of the results in the repository, in a new directory, and a README with old rows.
fn copy_of_results(name: &str) -> (PathBuf, PathBuf) {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let results = directory.join("results");
    std::fs::create_dir_all(&results).unwrap();
    std::fs::copy(format!("{RESULTS}/results.json"), results.join("results.json")).unwrap();
    let readme = directory.join("README.md");
    std::fs::write(&readme, "before\n<!-- compare:begin -->\nold\n<!-- compare:end -->\nafter\n").unwrap();
    (results, readme)
}

fn report(results: &Path, readme: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_threadcast-compare"));
    command.args(["report", "--out"]).arg(results).arg("--readme").arg(readme);
    let lesson = readme.with_file_name("lesson.md");
    if lesson.exists() {
        command.arg("--lesson").arg(lesson);
    }
    command.output().expect("the comparison starts")
}

#[test]
fn the_readme_gets_five_rows_and_a_chart_between_its_markers() {
    let (results, readme) = copy_of_results("five-rows");
    let output = report(&results, &readme);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(&readme).unwrap();
    assert!(text.starts_with("before\n<!-- compare:begin -->\n\nMeasured on 20"), "{text}");
    assert!(text.ends_with("(results/cpu.svg)\n\n<!-- compare:end -->\nafter\n"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("| ")).count(), 1 + 5, "{text}");
    assert_eq!(text.matches("svg").count(), 1, "{text}");

    std::fs::write(&readme, "no markers").unwrap();
    let output = report(&results, &readme);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && complaint.contains("it lacks <!-- compare:begin -->"), "{complaint}");
    assert_eq!(std::fs::read_to_string(&readme).unwrap(), "no markers");
}

#[test]
fn the_pages_in_the_repository_are_those_of_its_results() {
    let (results, readme) = copy_of_results("pages");
    let own = std::fs::read_to_string(format!("{ROOT}/README.md")).unwrap();
    std::fs::write(&readme, &own).unwrap();
    let lesson = readme.with_file_name("lesson.md");
    let own_lesson = std::fs::read_to_string(format!("{ROOT}/src/guide/lesson.md")).unwrap();
    std::fs::write(&lesson, &own_lesson).unwrap();
    assert!(report(&results, &readme).status.success());
    // Relative to this README the charts are in another directory.
    let rendered = std::fs::read_to_string(&readme).unwrap();
    let rendered = rendered.replace("](results/", "](tests/compare/results/");
    let page = |directory: &Path| std::fs::read_to_string(directory.join("README.md")).unwrap();
    for (file, same) in [
        ("README.md", rendered == own),
        ("results/README.md", page(&results) == page(Path::new(RESULTS))),
        ("lesson.md", std::fs::read_to_string(&lesson).unwrap() == own_lesson),
    ] {
        assert!(same, "{file} is not of results.json: `make -C tests/compare report` writes it");
    }
}

#[test]
fn the_results_in_the_repository_are_small() {
    let bytes = std::fs::metadata(format!("{RESULTS}/results.json")).unwrap().len();
    assert!(bytes < 300_000, "results.json has {bytes} bytes");
}

#[test]
fn a_quick_run_stays_below_target() {
    for (quick, wanted, absent) in [
        ("QUICK=1", "--quick --out target/compare", "README.md"),
        ("QUICK=", "--out tests/compare/results --readme README.md --lesson src/guide/lesson.md", "--quick"),
    ] {
        let output = Command::new("make").args(["--dry-run", "compare", quick]).current_dir(ROOT).output();
        let recipe = String::from_utf8(output.expect("make starts").stdout).unwrap();
        let run = recipe.lines().find(|line| line.contains("threadcast-compare run")).expect("it runs");
        assert!(run.contains(wanted) && !run.contains(absent), "{quick}: {run}");
    }
    let readme = format!("{ROOT}/README.md");
    let (_, output) = compare("quick", &["--quick", "--readme", &readme]);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success()
            && complaint.contains("the argument '--quick' cannot be used with '--readme <README>'"),
        "{complaint}"
    );
}

#[test]
fn wrong_names_are_one_clear_line() {
    let (_, output) = compare("wrong", &["--only", "nobody"]);
    assert!(!output.status.success());
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(complaint, "the manifest has no variant `nobody`\n");
}

#[test]
fn what_is_wrong_with_a_command_line_is_one_line_that_says_what_to_write() {
    const COMPARE: &str = env!("CARGO_BIN_EXE_threadcast-compare");
    let load = ["load", "--address", "127.0.0.1:1", "--pid", "1"];
    let of_load = |more: &[&'static str]| [&load[..], more].concat();
    let hint = " (--help shows the options)";
    for (program, args, code, expected) in [
        (
            COMPARE,
            vec!["run", "--rounds", "x"],
            2,
            "invalid value 'x' for '--rounds <ROUNDS>': expected a number from 1 to 1000000",
        ),
        (
            COMPARE,
            vec!["run", "--sizes", "1,-2"],
            2,
            "invalid value '-2' for '--sizes <SIZES>': expected a number from 1 to 1000000",
        ),
        (COMPARE, vec!["rum"], 2, "unrecognized subcommand 'rum'; tip: a similar subcommand exists: 'run'"),
        (COMPARE, vec!["agree"], 2, "the following required arguments were not provided: <FIRST> <SECOND>"),
        (
            COMPARE,
            vec!["run", "--experiments", "9"],
            2,
            "invalid value '9' for '--experiments <EXPERIMENTS>' [possible values: push, json, echo, blocked, stalled, hold, idle, storm, churn]",
        ),
        (
            COMPARE,
            of_load(&["echo", "--clients", "1", "--time", "5"]),
            2,
            "invalid value '5' for '--time <TIME>': expected a whole number with ms, s, m or h, such as 250ms or 1s",
        ),
        (
            COMPARE,
            of_load(&["--rate", "0", "hold"]),
            2,
            "invalid value '0' for '--rate <RATE>': expected a number from 0.001 to 1000000",
        ),
        (
            COMPARE,
            vec!["load", "--pid", "1", "--address", "localhost", "hold"],
            2,
            "invalid value 'localhost' for '--address <ADDRESS>': expected an address with a port, such as 127.0.0.1:8888 or [::1]:8888",
        ),
        (
            env!("CARGO_BIN_EXE_compare-floor"),
            vec!["--port", "65536"],
            2,
            "invalid value '65536' for '--port <PORT>': expected a number from 0 to 65535",
        ),
        (
            env!("CARGO_BIN_EXE_compare-tokio"),
            vec!["--port", "0", "--pad=-1"],
            2,
            "invalid value '-1' for '--pad <PAD>': expected a number from 0 to 1073741824",
        ),
        (COMPARE, vec!["agree", "nowhere", "nowhere"], 1, "read nowhere: No such file or directory"),
        (
            COMPARE,
            vec!["run", "--manifest", "README.md"],
            1,
            "read README.md: line 3: key with no value, expected `=`",
        ),
    ] {
        let mut command = Command::new(program);
        let output = command.args(&args).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("it starts");
        let complaint = String::from_utf8(output.stderr).unwrap();
        let name = Path::new(program).file_name().unwrap().to_str().unwrap();
        let expected =
            if code == 2 { format!("{name}: {expected}{hint}\n") } else { format!("{expected}\n") };
        assert_eq!((complaint, output.status.code()), (expected, Some(code)), "{args:?}");
    }
}
