//! The links of the pages that a reader meets: each one leads somewhere, on GitHub and in rustdoc.
//!
//! rustdoc reads `src/guide/links.md` before each page of the manual, and takes the first definition of a name. GitHub
//! takes the one at the page's end. So a page names what it links to, and both know where that is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const PAGES: [&str; 9] = [
    "README.md",
    "CHANGELOG.md",
    ".github/CONTRIBUTING.md",
    ".github/RELEASING.md",
    ".github/SECURITY.md",
    "tests/BEHAVIOUR.md",
    "tests/compare/README.md",
    "tests/compare/results/README.md",
    "tests/autobahn/RESULTS.md",
];

/// Words of a page of the manual, without its code and its link definitions: a reader finds one answer in five minutes.
const MOST_WORDS: usize = 1200;

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages of the manual.
fn manual() -> Vec<PathBuf> {
    let files = fs::read_dir("src/guide").unwrap().flatten().map(|entry| entry.path());
    let mut pages: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|end| end == "md") && !path.ends_with("links.md"))
        .collect();
    pages.sort();
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

/// The page without its code.
fn prose(page: &str) -> String {
    let mut is_code = false;
    let mut prose = String::new();
    for line in page.lines() {
        is_code ^= line.trim_start().starts_with("```");
        if !is_code && !line.trim_start().starts_with("```") {
            prose.push_str(line);
        }
        prose.push('\n');
    }
    prose
}

/// The definitions of a page, `[label]: target`.
fn definitions(page: &str) -> BTreeMap<&str, &str> {
    let lines = page.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
    lines.collect()
}

/// Returns the text in parentheses behind each link's text.
fn inline(prose: &str) -> Vec<&str> {
    prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target).collect()
}

/// The labels that the text names, `[text][label]`.
fn labels(prose: &str) -> BTreeSet<&str> {
    prose.split("][").skip(1).filter_map(|rest| rest.split_once(']')).map(|(label, _)| label).collect()
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings =
        page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let keep = |c: &char| c.is_alphanumeric() || *c == ' ' || *c == '-' || *c == '_';
    headings
        .map(|text| text.to_lowercase().chars().filter(keep).collect::<String>().replace(' ', "-"))
        .collect()
}

/// Why a link of the page at `path` leads nowhere.
fn dead(path: &Path, target: &str) -> Option<String> {
    if target.starts_with("https://") || target.starts_with("http://") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = if file.is_empty() { path.to_owned() } else { path.parent().unwrap().join(file) };
    if !file.exists() {
        return Some(format!("{}: {target}: no such file", path.display()));
    }
    if anchor.is_empty() || anchors(&read(&file)).contains(anchor) {
        return None;
    }
    Some(format!("{}: {target}: no such heading", path.display()))
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut seen = 0;
    for path in PAGES.iter().map(PathBuf::from).chain(manual()) {
        let page = read(&path);
        let prose = prose(&page);
        let targets: Vec<_> = inline(&prose).into_iter().chain(definitions(&page).into_values()).collect();
        seen += targets.len();
        let dead: Vec<_> = targets.iter().filter_map(|target| dead(&path, target)).collect();
        assert!(dead.is_empty(), "{dead:#?}");
    }
    assert!(seen > 200, "{seen}");
}

#[test]
fn each_page_of_the_manual_has_fewer_than_1200_words() {
    for path in manual() {
        let page = prose(&read(&path));
        let lines = page.lines().filter(|line| !(line.starts_with('[') && line.contains("]: ")));
        let words = lines.flat_map(str::split_whitespace).count();
        assert!(
            words < MOST_WORDS,
            "{} has {words} words: split it by its readers' questions",
            path.display()
        );
    }
}

#[test]
fn what_a_page_of_the_manual_links_to_is_known_on_github_and_in_rustdoc() {
    let names = read("src/guide/links.md");
    let rustdoc = definitions(&names);
    let mut used = BTreeSet::new();
    for path in manual() {
        let page = read(&path);
        let (prose, github, path) = (prose(&page), definitions(&page), path.display());
        let inside = |target: &&&str| {
            !target.starts_with('#') && !target.starts_with("https://") && !target.starts_with("http://")
        };
        assert_eq!(inline(&prose).iter().find(inside), None, "{path}: name it, and define the name");
        for label in labels(&prose) {
            assert!(github.contains_key(label), "{path} does not define {label}");
            assert!(rustdoc.contains_key(label), "links.md does not define {label}, of {path}");
        }
        for (label, target) in github {
            assert!(prose.contains(&format!("[{label}]")), "{path} does not use {label}");
            used.insert(label.to_owned());
            let Some(item) = rustdoc[label].strip_prefix("crate::") else {
                panic!("{label}: an item or a page")
            };
            let item = item.trim_end_matches("()");
            if let Some(page) = item.strip_prefix("guide::") {
                let (page, anchor) =
                    page.split_once('#').map_or((page, None), |(page, anchor)| (page, Some(anchor)));
                assert_eq!(
                    target,
                    anchor.map_or(format!("{page}.md"), |anchor| format!("{page}.md#{anchor}")),
                    "{path}"
                );
            } else {
                // The file that has the type.
                let parts: Vec<_> =
                    item.split("::").filter(|part| part.starts_with(char::is_uppercase)).collect();
                let name = parts.first().or(item.split("::").last().as_ref()).copied().unwrap();
                let source = read(Path::new("src/guide").join(target));
                let declares = ["struct", "enum", "trait", "fn", "mod"].map(|kind| format!("{kind} {name}"));
                assert!(
                    declares.iter().any(|text| source.contains(text)),
                    "{path}: {target} does not declare {name}"
                );
            }
        }
    }
    let unused: Vec<_> = rustdoc.keys().filter(|label| !used.contains(**label)).collect();
    assert!(unused.is_empty(), "no page uses {unused:?}");
}

#[test]
fn a_dead_link_is_found() {
    let page = Path::new("src/guide/push.md");
    assert_eq!(dead(page, "capacity.md"), None);
    assert!(dead(page, "none.md").is_some() && dead(page, "capacity.md#none").is_some());
    assert!(anchors("# What it is, `now`\n").contains("what-it-is-now"));
    assert_eq!(inline("a [b](c) [d][e]"), ["c"]);
    assert_eq!(labels("a [b](c) [d][e]").into_iter().collect::<Vec<_>>(), ["e"]);
}
