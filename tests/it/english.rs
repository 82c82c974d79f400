//! Constructions that make a page read like a translation, see *English* in `.github/CONTRIBUTING.md`. Each file that has
//! some has a ceiling in `tests/it/english.txt`, which may only fall: `THREADCAST_LOWER_ENGLISH=1 cargo it english::`
//! writes lower ones, and never a higher one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

const CEILINGS: &str = "tests/it/english.txt";
/// Files and folders that people read.
const ROOTS: [&str; 9] =
    ["src", "www", "tests", ".github", "README.md", "CHANGELOG.md", "Makefile", "Cargo.toml", ".cargo"];
/// What is not written by hand, or is about the constructions.
const NOT: [&str; 8] = [
    "tests/it/english.rs",
    "tests/it/english.txt",
    "tests/it/api.txt",
    "tests/compare/results",
    "tests/compare/variants/.venv",
    "tests/compare/variants/node_modules",
    "tests/corpus",
    ".github/CONTRIBUTING.md",
];
const ENDS: [&str; 12] = ["rs", "md", "toml", "html", "js", "css", "py", "sh", "yml", "Makefile", "ts", "go"];

/// Words that stand for a noun or a plainer word, wherever they are.
const PHRASES: [&str; 27] = [
    "is no",
    "are no",
    "was no",
    "is none",
    "are none",
    "that are none",
    "does the same",
    "the same with",
    "the same without",
    "as much as there",
    "than there",
    "elsewhere",
    "of its own",
    "of one s own",
    "of their own",
    "of his own",
    "by itself",
    "anew",
    "as ever",
    "besides",
    "meanwhile",
    "beforehand",
    "wish",
    "wishes",
    "shall",
    "so many",
    "whoever",
];
/// "is no longer" and "is no more" are plain, and so are questions of a shell.
const PLAIN: [&str; 5] = ["is no longer", "are no longer", "is no more", "are no more", "was no longer"];

/// The comment or prose of a line: what its reader reads.
fn prose(line: &str) -> &str {
    line.trim_start().trim_start_matches(['/', '!', '#', '*', '-', '|', '>', '<', ' '])
}

/// Whether a line is a heading: `# What it costs` is a title, and not a sentence.
fn is_heading(line: &str) -> bool {
    line.trim_start().trim_start_matches(['/', '!']).trim_start().starts_with('#')
        && line.ends_with(|c: char| c.is_alphanumeric() || c == '`')
}

/// The constructions of a line: its phrases, and each sentence that begins with a headless `Who` or `What`.
fn constructions(line: &str) -> Vec<&'static str> {
    let lower = line.to_lowercase().replace(|c: char| !c.is_alphanumeric() && c != '_', " ");
    let spaced = format!(" {} ", lower.split_whitespace().collect::<Vec<_>>().join(" "));
    let plain = PLAIN.iter().fold(spaced, |text, phrase| text.replace(phrase, ""));
    let mut found = Vec::new();
    for phrase in PHRASES {
        found.extend(plain.match_indices(&format!(" {phrase} ")).map(|_| phrase));
    }
    for sentence in prose(line).split_inclusive(['.', '?', ':']) {
        let begins = ["Who ", "What "].iter().find(|word| sentence.trim_start().starts_with(*word));
        let is_plain = sentence.contains('?') || is_heading(line);
        if let Some(word) = begins.filter(|_| !is_plain) {
            found.push(if *word == "Who " { "Who ..." } else { "What ..." });
        }
    }
    found
}

fn files(path: &Path, into: &mut Vec<PathBuf>) {
    if NOT.iter().any(|not| path == Path::new(not)) || path.ends_with("__pycache__") {
        return;
    }
    if path.is_dir() {
        fs::read_dir(path).unwrap().flatten().for_each(|entry| files(&entry.path(), into));
    } else if let Some(name) = path.file_name().and_then(|name| name.to_str())
        && ENDS.contains(&name.rsplit('.').next().unwrap_or(name))
    {
        into.push(path.to_owned());
    }
}

/// How many constructions each file has, and where.
fn counts() -> BTreeMap<String, Vec<String>> {
    let mut paths = Vec::new();
    ROOTS.iter().for_each(|root| files(Path::new(root), &mut paths));
    assert!(paths.len() > 200, "{}", paths.len());
    let mut counts = BTreeMap::new();
    for path in paths {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let lines = text.lines().enumerate();
        let found: Vec<_> = lines
            .flat_map(|(number, line)| {
                constructions(line).into_iter().map(move |what| format!("{}: {what}", number + 1))
            })
            .collect();
        if !found.is_empty() {
            counts.insert(path.to_str().unwrap().to_owned(), found);
        }
    }
    counts
}

/// The ceilings: path, number, and why it stays where it does.
fn ceilings(text: &str) -> BTreeMap<&str, (usize, &str)> {
    let rows = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let rows = rows.map(|line| {
        let mut parts = line.splitn(3, ' ');
        let (path, number) = (parts.next().unwrap(), parts.next().expect("a number"));
        (path, (number.parse().expect("a number"), parts.next().unwrap_or("")))
    });
    rows.collect()
}

#[test]
fn the_constructions_of_a_translation_become_fewer() {
    let text = fs::read_to_string(CEILINGS).unwrap();
    let (counts, ceilings) = (counts(), ceilings(&text));
    let most = |path: &str| ceilings.get(path).map_or(0, |ceiling| ceiling.0);
    let above: Vec<_> = counts.iter().filter(|(path, found)| found.len() > most(path)).collect();
    assert!(above.is_empty(), "say it plainly: {above:#?}");
    let count = |path: &str| counts.get(path).map_or(0, Vec::len);
    let below: Vec<_> = ceilings.iter().filter(|(path, ceiling)| count(path) < ceiling.0).collect();
    if env::var_os("THREADCAST_LOWER_ENGLISH").is_some() {
        let head = text.lines().take_while(|line| line.starts_with('#')).map(|line| format!("{line}\n"));
        let rows = counts.iter().map(|(path, found)| {
            let why = ceilings[path.as_str()].1;
            format!("{path} {} {why}", found.len()).trim_end().to_owned() + "\n"
        });
        fs::write(CEILINGS, head.chain(rows).collect::<String>()).unwrap();
        return;
    }
    assert!(below.is_empty(), "lower them, see the head of this file: {below:#?}");
}

#[test]
fn each_construction_is_found_and_plain_english_is_not() {
    for (line, found) in [
        ("/// Who has left does not wait for it.", &["Who ..."][..]),
        (
            "//! Does the same with a capacity of one's own.",
            &["does the same", "the same with", "of one s own"],
        ),
        ("this is no URL of a Redis", &["is no"]),
        ("It is told. What inflates is in a pool.", &["What ..."]),
        ("# What does a client cost?", &[]),
        ("# What it costs", &[]),
        ("//! # Who may ask", &[]),
        ("# What a user gets: its dependencies.", &["What ..."]),
        ("the client is no longer there", &[]),
        ("A client that has left returns the same number.", &[]),
        ("let wishes = swish(anewt);", &["wishes"]),
    ] {
        assert_eq!(constructions(line), found, "{line}");
    }
}
