//! [`Router`]: finds the route of a path. Filled before the server starts, then read by every thread.
//!
//! `matchit` finds it. A route that could never match, or that would match other paths than it says, panics when it is
//! added: the mistake shows when the program starts.

/// Routes by path, whose whole segments may be parameters, and by prefix.
pub(crate) struct Router<R> {
    places: matchit::Router<usize>,
    routes: Vec<(String, R)>,
    /// The longest prefix first.
    below: Vec<Below<R>>,
}

/// A route for everything below a prefix.
struct Below<R> {
    /// Ends with a slash.
    prefix: String,
    /// Whether the prefix without its last slash belongs to it too.
    is_bare: bool,
    route: R,
}

/// A route, and why it matched.
pub(crate) struct Found<'r, R> {
    pub(crate) route: &'r R,
    /// The path or the prefix with which it was added.
    pub(crate) path: &'r str,
    /// Names and values of the parameters, the values still percent-encoded.
    pub(crate) arguments: Vec<(&'r str, String)>,
}

impl<R> Router<R> {
    /// Starts without a route.
    pub(crate) fn new() -> Router<R> {
        Router { places: matchit::Router::new(), routes: Vec::new(), below: Vec::new() }
    }

    /// Returns the route at `path`; inserts an empty one for a new path.
    ///
    /// # Panics
    /// If `path` is invalid, or conflicts with another one.
    #[track_caller]
    pub(crate) fn entry(&mut self, path: &str) -> &mut R
    where
        R: Default,
    {
        if let Some(at) = self.routes.iter().position(|(other, _)| other == path) {
            return &mut self.routes[at].1;
        }
        check_path(path);
        match self.places.insert(path, self.routes.len()) {
            Ok(()) => {}
            Err(matchit::InsertError::Conflict { with }) => {
                panic!("the path {path} conflicts with {with}: they match the same requests")
            }
            Err(error) => panic!("invalid route path {path}: {error}"),
        }
        self.routes.push((path.to_owned(), R::default()));
        &mut self.routes.last_mut().expect("was just added").1
    }

    /// Returns the route for everything below `prefix`, an empty one if it is new. If it `is_bare`, the prefix without
    /// its last slash belongs to it too.
    ///
    /// # Panics
    /// If `prefix` is invalid.
    #[track_caller]
    pub(crate) fn entry_below(&mut self, prefix: &str, is_bare: bool) -> &mut R
    where
        R: Default,
    {
        check_path(prefix);
        assert!(
            prefix.ends_with('/'),
            "a path of static_files ends with a slash: {prefix}/ instead of {prefix}"
        );
        assert!(!prefix.contains('{'), "the prefix {prefix} cannot have parameters");
        if self.below.iter().all(|below| below.prefix != prefix) {
            self.below.push(Below { prefix: prefix.to_owned(), is_bare, route: R::default() });
            self.below.sort_by_key(|below| std::cmp::Reverse(below.prefix.len()));
        }
        let below = self.below.iter_mut().find(|below| below.prefix == prefix).expect("is there by now");
        below.is_bare |= is_bare;
        &mut below.route
    }

    /// Returns the route of `path`: exact paths first, then parameters, then prefixes.
    #[inline(never)]
    pub(crate) fn find(&self, path: &str) -> Option<Found<'_, R>> {
        if let Ok(found) = self.places.at(path) {
            let (pattern, route) = &self.routes[*found.value];
            let arguments = found.params.iter().map(|(name, value)| (name, value.to_owned())).collect();
            return Some(Found { route, path: pattern, arguments });
        }
        let below = self.below.iter().find(|below| below.has(path))?;
        Some(Found { route: &below.route, path: &below.prefix, arguments: Vec::new() })
    }
}

impl<R> Below<R> {
    fn has(&self, path: &str) -> bool {
        path.starts_with(&self.prefix) || (self.is_bare && self.prefix.strip_suffix('/') == Some(path))
    }
}

/// Panics with a message if no request can have this path.
#[track_caller]
fn check_path(path: &str) {
    assert!(path.starts_with('/'), "a path begins with a slash: /{path} instead of {path}");
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#');
    assert!(
        !path.contains(odd),
        "no request has the path {path:?}: leave out the query, and write a space as %20"
    );
    let mut names = Vec::new();
    for segment in path.split('/').filter(|segment| segment.contains(['{', '}'])) {
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
        assert!(
            !name.starts_with('*'),
            "the path {path} has {segment}, but a parameter is one segment: use static_files for files below a path"
        );
        assert!(
            !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_'),
            "the path {path} has {segment}, but a parameter is a whole segment, such as {{name}}"
        );
        assert!(!names.contains(&name), "the path {path} has two parameters {name}");
        names.push(name);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_as_a_table() {
        let mut router = Router::<&str>::new();
        *router.entry_below("/static/", false) = "files";
        *router.entry_below("/static/img/", false) = "images";
        *router.entry_below("/deep/", true) = "deep";
        for (path, name) in [
            ("/", "page"),
            ("/static/a", "exact"),
            ("/room/{name}", "room"),
            ("/room/lobby", "lobby"),
            ("/room/{name}/{day}/log", "log"),
        ] {
            *router.entry(path) = name;
        }
        for (path, found) in [
            ("/", Some(("page", "/", ""))),
            ("/static/a", Some(("exact", "/static/a", ""))),
            ("/static/b/c", Some(("files", "/static/", ""))),
            ("/static/img/c", Some(("images", "/static/img/", ""))),
            ("/static/", Some(("files", "/static/", ""))),
            ("/static", None),
            ("/deep", Some(("deep", "/deep/", ""))),
            ("/deep/", Some(("deep", "/deep/", ""))),
            ("/deep/a/b", Some(("deep", "/deep/", ""))),
            ("/deepest", None),
            ("/none", None),
            ("", None),
            ("/room/lobby", Some(("lobby", "/room/lobby", ""))),
            ("/room/lobb", Some(("room", "/room/{name}", "name=lobb"))),
            ("/room/a%2Fb", Some(("room", "/room/{name}", "name=a%2Fb"))),
            ("/room/{name}", Some(("room", "/room/{name}", "name={name}"))),
            ("/room/a/7/log", Some(("log", "/room/{name}/{day}/log", "name=a day=7"))),
            ("/room/lobby/7/log", Some(("log", "/room/{name}/{day}/log", "name=lobby day=7"))),
            ("/room/", None),
            ("/room//7/log", None),
            ("/room/a/", None),
            ("/room/a/b", None),
            ("/Room/a", None),
        ] {
            let shown = router.find(path).map(|found| {
                let arguments: Vec<_> =
                    found.arguments.iter().map(|(name, value)| format!("{name}={value}")).collect();
                (*found.route, found.path, arguments.join(" "))
            });
            let found = found.map(|(route, path, arguments)| (route, path, arguments.to_owned()));
            assert_eq!(shown, found, "{path}");
        }
    }

    #[test]
    fn a_path_that_cannot_match_is_a_panic_with_a_sentence() {
        for (path, expected) in [
            ("echo", "a path begins with a slash: /echo instead of echo"),
            ("", "a path begins with a slash"),
            ("/a?b", "leave out the query"),
            ("/a b", "write a space as %20"),
            ("/img{id}.png", "has img{id}.png, but a parameter is a whole segment"),
            ("/{a}{b}", "a parameter is a whole segment"),
            ("/{}", "a parameter is a whole segment"),
            ("/a}", "a parameter is a whole segment"),
            ("/{{a}}", "a parameter is a whole segment"),
            ("/{*rest}", "a parameter is one segment"),
            ("/{a}/{a}", "has two parameters a"),
            ("/room/{id}", "the path /room/{id} conflicts with /room/{name}"),
        ] {
            let mut router = Router::<u8>::new();
            router.entry("/room/{name}");
            let panic = catch_unwind(AssertUnwindSafe(|| *router.entry(path) = 1)).unwrap_err();
            let text = panic.downcast_ref::<String>().unwrap();
            assert!(text.contains(expected), "{path}: {text}");
        }
    }

    #[test]
    fn a_prefix_that_cannot_match_is_a_panic_with_a_sentence() {
        for (prefix, expected) in [
            ("/static", "/static/ instead of /static"),
            ("static/", "/static/ instead of static/"),
            ("/{a}/", "cannot have parameters"),
        ] {
            let mut router = Router::<u8>::new();
            let add = || *router.entry_below(prefix, false) = 1;
            let panic = catch_unwind(AssertUnwindSafe(add)).unwrap_err();
            let text = panic.downcast_ref::<String>().unwrap();
            assert!(text.contains(expected), "{prefix}: {text}");
        }
    }

    proptest! {
        #[test]
        fn any_segment_is_one_argument(segment in "[^/]{1,20}") {
            let mut router = Router::<u8>::new();
            router.entry("/a/{name}/b");
            let path = format!("/a/{segment}/b");
            prop_assert_eq!(router.find(&path).unwrap().arguments, [("name", segment)]);
        }
    }
}
