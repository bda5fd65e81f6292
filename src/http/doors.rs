//! Who may go through which route. The router is made from this list, so that no route is missing
//! from it; `tests/it/locks.rs` tries each one as everybody, and `docs/security.md` shows it.

use std::{fmt, sync::Arc};

use axum::{
    Router,
    handler::Handler,
    http::Method,
    routing::{MethodFilter, on},
};

use super::State;

/// Who may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Everybody.
    Nothing,
    /// An intake secret, or a role that posts.
    Secret,
    /// An intake secret, or somebody who reads.
    SecretOrReader,
    /// A reader.
    Reader,
    /// An operator.
    Operator,
    /// An admin.
    Admin,
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nothing => "everybody",
            Self::Secret => "intake secret, or operator by way of a trusted proxy",
            Self::SecretOrReader => "intake secret, or reader",
            Self::Reader => "reader",
            Self::Operator => "operator",
            Self::Admin => "admin",
        })
    }
}

/// One way in.
#[derive(Clone, Debug)]
pub struct Door {
    /// GET is HEAD too.
    pub method: Method,
    /// As the router reads it: `{name}` stands for a part of the path.
    pub path: String,
    /// Who may.
    pub needs: Needs,
}

/// The router under construction, with its list.
pub struct Doors {
    router: Router<Arc<State>>,
    prefix: String,
    list: Vec<Door>,
}

impl Doors {
    /// None yet; `prefix` begins the paths of the API.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        Self { router: Router::new(), prefix, list: Vec::new() }
    }

    /// A route at exactly this path.
    pub fn at<H, T>(&mut self, method: Method, path: &str, needs: Needs, handler: H)
    where
        H: Handler<T, Arc<State>>,
        T: 'static,
    {
        // Every method that is named here has a filter.
        let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
        let router = std::mem::take(&mut self.router);
        self.router = router.route(path, on(filter, handler));
        self.list.push(Door { method, path: path.to_owned(), needs });
    }

    /// A route of the API; a slash at its end changes nothing.
    pub fn api<H, T>(&mut self, method: &Method, path: &str, needs: Needs, handler: H)
    where
        H: Handler<T, Arc<State>>,
        T: 'static,
    {
        let path = format!("{}{path}", self.prefix);
        self.at(method.clone(), &path, needs, handler.clone());
        self.at(method.clone(), &format!("{path}/"), needs, handler);
    }

    /// Takes over the routes of another list, around which something stands besides.
    pub fn join(
        &mut self,
        other: Self,
        around: impl FnOnce(Router<Arc<State>>) -> Router<Arc<State>>,
    ) {
        let router = std::mem::take(&mut self.router);
        self.router = router.merge(around(other.router));
        self.list.extend(other.list);
    }

    /// The router, and the list.
    pub(super) fn done(self) -> (Router<Arc<State>>, Vec<Door>) {
        (self.router, self.list)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use super::*;

    /// A row for each door; those with a slash at their end are the same.
    fn table() -> String {
        let doors = crate::http::doors("mapi");
        let rows = doors.iter().filter(|door| door.path == "/" || !door.path.ends_with('/'));
        let row = |door: &Door| format!("| {} | `{}` | {} |", door.method, door.path, door.needs);
        rows.map(row).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_table_of_the_documents_is_this_one() {
        let docs = include_str!("../../docs/security.md");
        let table = table();
        assert!(docs.contains(&table), "docs/security.md, The doors, should have:\n{table}");
    }

    fn sources(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let below = |path: PathBuf| if path.is_dir() { sources(&path) } else { vec![path] };
        entries.flat_map(below).collect()
    }

    #[test]
    fn no_route_is_made_beside_the_list() {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let ways = [".route(", ".route_service(", ".nest(", ".nest_service(", "Router::new()"];
        let made = sources(&src).into_iter().filter(|path| {
            let is_rust = path.extension().is_some_and(|end| end == "rs");
            is_rust && !path.ends_with("http/doors.rs") && {
                let text = fs::read_to_string(path).unwrap();
                ways.iter().any(|way| text.contains(way))
            }
        });
        assert_eq!(made.collect::<Vec<_>>(), Vec::<PathBuf>::new(), "use Doors there");
    }
}
