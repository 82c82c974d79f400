//! The public items of the library, as rustdoc lists them, equal `api.txt`, so that a change of the API shows. With
//! `THREADCAST_WRITE_API=1` the test writes the list.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::support;

const LIST: &str = "tests/it/api.txt";
/// Where the page of a type begins with the traits that it implements, and with those that the compiler adds.
const TRAITS: &str = "id=\"trait-implementations\"";
const FOUND: [&str; 2] = ["id=\"synthetic-implementations\"", "id=\"blanket-implementations\""];

/// Builds the manual with all features. Returns its path.
fn manual() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("is below target");
    let mut cargo = support::cargo();
    cargo.args(["doc", "--quiet", "--locked", "--no-deps", "--lib", "--all-features", "--target-dir"]);
    let output = cargo.arg(target).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join("doc/threadcast")
}

/// The text of a piece of HTML, in one line.
fn text(html: &str) -> String {
    let pieces = html.split('<').enumerate();
    let pieces = pieces
        .map(|(n, piece)| if n == 0 { piece } else { piece.split_once('>').map_or("", |(_, rest)| rest) });
    let text: String = pieces.collect();
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    text.replace("&amp;", "&").replace("&nbsp;", " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text between the first `begin` and the next `end`.
fn between<'a>(html: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    Some(html.split_once(begin)?.1.split_once(end)?.0)
}

/// The declarations on the page of an item: the item, if it is a function, its methods, fields and variants, and the
/// traits that it implements.
fn members(page: &str) -> Vec<String> {
    let page = FOUND.iter().filter_map(|mark| page.find(mark)).min().map_or(page, |end| &page[..end]);
    let (own, traits) = page.split_once(TRAITS).unwrap_or((page, ""));
    let mut found = Vec::new();
    if let Some(declared) = between(page, "<pre class=\"rust item-decl\"><code>", "</code></pre>").map(text)
        && (declared.contains("fn ") && !declared.contains('{') || declared.starts_with("pub type"))
    {
        found.push(declared);
    }
    for rest in own.split(" id=\"").skip(1) {
        let (id, rest) = rest.split_once('"').unwrap_or_default();
        let kind = id.split('.').next().unwrap_or_default();
        match kind {
            "method" | "tymethod" | "associatedconstant" => {
                found.extend(between(rest, "<h4 class=\"code-header\">", "</h4>").map(text));
            }
            "variant" => found.extend(between(rest, "<h3 class=\"code-header\">", "</h3>").map(text)),
            "structfield" => found.extend(between(rest, "<code>", "</code>").map(text)),
            _ => {}
        }
    }
    let traits = traits.split(" id=\"impl-").skip(1);
    found.extend(traits.filter_map(|rest| between(rest, "<h3 class=\"code-header\">", "</h3>")).map(text));
    found
}

/// A line for each public item and each of its members.
fn items(manual: &Path) -> BTreeSet<String> {
    let all = fs::read_to_string(manual.join("all.html")).expect("the list of items");
    let mut lines = BTreeSet::new();
    // The other links of this form lead to places on this page.
    let links = all.split("<li><a href=\"").skip(1).filter(|link| !link.starts_with('#'));
    for page in links.filter_map(|link| link.split('"').next()) {
        let path = page.trim_end_matches(".html").replace('/', "::");
        let html = fs::read_to_string(manual.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        lines.extend(members(&html).into_iter().map(|member| format!("{path}: {member}")));
        lines.insert(path);
    }
    lines
}

#[test]
fn the_public_items_are_those_of_the_list() {
    let items = items(&manual());
    for known in
        ["struct.Server", "fn.broadcast", "client::struct.Builder", "struct.TlsConfig", "struct.Fleet"]
    {
        assert!(items.contains(known), "{known} is not in {items:#?}");
    }
    if env::var_os("THREADCAST_WRITE_API").is_some() {
        let lines: String = items.iter().map(|item| format!("{item}\n")).collect();
        return fs::write(LIST, lines).unwrap();
    }
    let list = fs::read_to_string(LIST).unwrap();
    let listed: BTreeSet<_> = list.lines().map(str::to_owned).collect();
    let (more, gone): (Vec<_>, Vec<_>) =
        (items.difference(&listed).collect(), listed.difference(&items).collect());
    assert!(
        more.is_empty() && gone.is_empty(),
        "the API has changed: new {more:#?}, gone {gone:#?}. If that is meant, write the list with \
         THREADCAST_WRITE_API=1 cargo it api::"
    );
}

#[test]
fn each_kind_of_member_is_read_from_a_page() {
    let page = "<pre class=\"rust item-decl\"><code>pub struct A { <span id=\"a\">..</span> }</code></pre>\
        <span id=\"structfield.b\" class=\"x\"><a>§</a><code>b: <a href=\"y\">u8</a></code></span>\
        <section id=\"variant.C\"><h3 class=\"code-header\">C(<a>D</a>)</h3></section>\
        <section id=\"method.e\"><h4 class=\"code-header\">pub fn <a>e</a>(&amp;self)\n  -&gt; F&lt;'_&gt;</h4></section>\
        <h2 id=\"trait-implementations\"></h2><section id=\"impl-G-for-A\"><h3 class=\"code-header\">impl G for A</h3></section>\
        <section id=\"method.g\"><h4 class=\"code-header\">fn g()</h4></section>\
        <h2 id=\"blanket-implementations\"></h2><section id=\"impl-H-for-A\"><h3 class=\"code-header\">impl H for A</h3></section>";
    assert_eq!(members(page), ["b: u8", "C(D)", "pub fn e(&self) -> F<'_>", "impl G for A"]);
    let function = "<pre class=\"rust item-decl\"><code>pub fn <a>h</a>()</code></pre>";
    assert_eq!(members(function), ["pub fn h()"]);
}
