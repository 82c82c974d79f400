//! [`Router`]: which route a path belongs to. Filled before the server starts, then read by every thread.

/// Routes of any kind, by exact path or by prefix.
pub(crate) struct Router<R> {
    exact: Vec<(String, R)>,
    below: Vec<(String, R)>,
}

impl<R> Router<R> {
    /// Starts without a route.
    pub(crate) fn new() -> Router<R> {
        Router { exact: Vec::new(), below: Vec::new() }
    }

    /// Adds a route at exactly `path`.
    pub(crate) fn add(&mut self, path: &str, route: R) {
        self.exact.push((path.to_owned(), route));
    }

    /// Adds a route for everything below `prefix`.
    pub(crate) fn add_below(&mut self, prefix: &str, route: R) {
        self.below.push((prefix.to_owned(), route));
    }

    /// Returns the route of `path`, and what follows a prefix: the first that matches, exact paths first.
    pub(crate) fn find<'a>(&self, path: &'a str) -> Option<(&R, &'a str)> {
        let exact = self.exact.iter().find(|(at, _)| at == path).map(|(_, route)| (route, ""));
        exact.or_else(|| {
            self.below.iter().find_map(|(at, route)| Some((route, path.strip_prefix(at.as_str())?)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_as_a_table() {
        let mut router = Router::new();
        router.add_below("/static/", "files");
        router.add("/", "page");
        router.add("/static/a", "exact");
        router.add("/", "never");
        for (path, found) in [
            ("/", Some(("page", ""))),
            ("/static/a", Some(("exact", ""))),
            ("/static/b/c", Some(("files", "b/c"))),
            ("/static/", Some(("files", ""))),
            ("/static", None),
            ("/none", None),
            ("", None),
        ] {
            assert_eq!(router.find(path).map(|(route, rest)| (*route, rest)), found, "{path}");
        }
    }
}
