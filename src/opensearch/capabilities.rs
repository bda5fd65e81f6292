//! What this store can do: product, versions and plugins, asked once and remembered.
//!
//! They change under a process that lives long: a store that is upgraded in place comes back as another
//! version, and of a cluster whose nodes are upgraded one after the other each node may answer. So what is
//! known counts only until a call has no answer, and for a minute at most, and a cluster has the
//! version and the plugins that *every* node has.
//!
//! Who has the plugins' API is not decided here but by asking it ([`super::engine`],
//! [`Error::is_unavailable`]): a user may be let into it and not be told of the nodes. By version alone
//! goes only what no answer tells beforehand: [`Capabilities::acknowledging_jams`].

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use tracing::info;

use super::{
    Client, Error,
    cluster::{self, About, Node},
};

/// For how long an answer is believed.
const BELIEVED: Duration = Duration::from_mins(1);
/// The first version that answers an acknowledgement for a monitor that is gone (3.8.0: 500; seen on
/// 2.19.4, 3.4.0 and 3.8.0, and read in the sources between them).
const ACKNOWLEDGES_SAFELY: (u32, u32) = (3, 8);

/// What monitors and channels need. No version that was looked at (2.19.4, 3.4.0, 3.8.0) needs
/// job-scheduler for them, as the plugins' own descriptors say.
pub const PLUGINS: [&str; 3] =
    ["opensearch-alerting", "opensearch-notifications", "opensearch-notifications-core"];

/// What the store can do.
#[derive(Clone, Debug, Default)]
pub struct Capabilities {
    /// Its product, and the least version of its nodes.
    pub about: About,
    /// Its nodes; empty where they are not told.
    pub nodes: Vec<Node>,
    /// Why they are not told.
    pub untold: Option<Error>,
}

impl Capabilities {
    /// Asks the store: two calls.
    ///
    /// # Errors
    /// [`Error`], where it does not even tell its product.
    async fn probe(client: &Client) -> Result<Self, Error> {
        let about = cluster::about(client).await?;
        Ok(match cluster::nodes(client).await {
            Ok(nodes) => Self::of(about, nodes),
            Err(fault) => Self { about, nodes: Vec::new(), untold: Some(fault) },
        })
    }

    /// The answer of one node counts only where nothing is known of the others. With
    /// `compatibility.override_main_response_version` it is not even true.
    fn of(mut about: About, nodes: Vec<Node>) -> Self {
        let least = nodes.iter().filter_map(|node| Some((node.number()?, &node.version))).min();
        if let Some((_, version)) = least {
            about.version.clone_from(version);
        }
        Self { about, nodes, untold: None }
    }

    /// Whether its nodes are of several versions, as while they are upgraded one after the other.
    #[must_use]
    pub fn is_mixed(&self) -> bool {
        self.nodes.iter().any(|node| node.version != self.about.version)
    }

    /// The plugins that every node has; `None` where they are not told.
    #[must_use]
    pub fn plugins(&self) -> Option<Vec<String>> {
        let (first, others) = self.nodes.split_first()?;
        let is_everywhere = |name: &&String| others.iter().all(|node| node.plugins.contains(name));
        Some(first.plugins.iter().filter(is_everywhere).cloned().collect())
    }

    /// Which nodes lack which of [`PLUGINS`], for people.
    #[must_use]
    pub fn lacking(&self) -> Vec<String> {
        let of = |node: &Node| {
            let has = |plugin: &&str| node.plugins.iter().any(|one| one == plugin);
            let missing: Vec<_> = PLUGINS.into_iter().filter(|plugin| !has(plugin)).collect();
            (!missing.is_empty()).then(|| format!("{} lacks {}", node.name, missing.join(", ")))
        };
        self.nodes.iter().filter_map(of).collect()
    }

    /// Whether an acknowledgement for a monitor that is gone may end all acknowledging on a node. Only
    /// the version tells; one that is not known may.
    #[must_use]
    pub fn acknowledging_jams(&self) -> bool {
        self.about.number().is_none_or(|number| number < ACKNOWLEDGES_SAFELY)
    }
}

impl fmt::Display for Capabilities {
    /// `OpenSearch 3.4.0`, `OpenSearch 3.4.0 on 3 nodes`, `OpenSearch 2.19.4 to 3.4.0 on 3 nodes`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.about)?;
        let newest = self.nodes.iter().max_by_key(|node| node.number());
        if let Some(newest) = newest.filter(|_| self.is_mixed()) {
            write!(f, " to {}", newest.version)?;
        }
        match self.nodes.len() {
            0 | 1 => Ok(()),
            nodes => write!(f, " on {nodes} nodes"),
        }
    }
}

/// What is known, which all copies of a client share.
#[derive(Default)]
pub(super) struct Known(RwLock<Option<Seen>>);

struct Seen {
    what: Arc<Capabilities>,
    /// `None` once it has to be asked again.
    until: Option<Instant>,
}

impl Known {
    /// What was last seen, and whether it still counts.
    fn last(&self, now: Instant) -> Option<(Arc<Capabilities>, bool)> {
        let seen = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.as_ref()?;
        Some((Arc::clone(&seen.what), seen.until.is_some_and(|until| now < until)))
    }

    /// From now on it has to be asked again.
    pub(super) fn forget(&self) {
        if let Some(seen) = &mut *self.0.write().unwrap_or_else(PoisonError::into_inner) {
            seen.until = None;
        }
    }

    /// Gives what was known before, where that was another version.
    fn learn(&self, what: &Arc<Capabilities>, now: Instant) -> Option<String> {
        let until = Some(now + BELIEVED);
        let seen = Seen { what: Arc::clone(what), until };
        let before = self.0.write().unwrap_or_else(PoisonError::into_inner).replace(seen);
        before.map(|before| before.what.to_string()).filter(|before| *before != what.to_string())
    }
}

impl Client {
    /// What the store can do, as it was told a short while ago, or else as it tells now.
    ///
    /// # Errors
    /// [`Error`], where it does not even tell its product.
    pub async fn capabilities(&self) -> Result<Arc<Capabilities>, Error> {
        if let Some((what, true)) = self.known.last(Instant::now()) {
            return Ok(what);
        }
        self.capabilities_now().await
    }

    /// The same as it tells now, for who compares what two versions show.
    ///
    /// # Errors
    /// As [`Self::capabilities`].
    pub async fn capabilities_now(&self) -> Result<Arc<Capabilities>, Error> {
        let what = Arc::new(Capabilities::probe(self).await?);
        let before = self.known.learn(&what, Instant::now());
        if let Some(before) = before.filter(|_| self.access.follower.is_some()) {
            info!(store = %what, before, "the store is another than before");
        }
        Ok(what)
    }

    /// What was told last, whether the store is there now or not; `None` where it never was. Asks nobody.
    #[must_use]
    pub fn last_capabilities(&self) -> Option<Arc<Capabilities>> {
        self.known.last(Instant::now()).map(|(what, _)| what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, version: &str, plugins: &[&str]) -> Node {
        Node {
            name: name.to_owned(),
            version: version.to_owned(),
            plugins: plugins.iter().map(|one| (*one).to_owned()).collect(),
        }
    }

    fn opensearch(version: &str) -> About {
        About { is_opensearch: true, version: version.to_owned() }
    }

    #[test]
    fn a_cluster_can_do_what_all_of_its_nodes_can() {
        for (answered, versions, least, shown, jams) in [
            ("3.4.0", vec!["3.4.0"], "3.4.0", "OpenSearch 3.4.0", true),
            ("3.8.0", vec!["3.8.0"; 3], "3.8.0", "OpenSearch 3.8.0 on 3 nodes", false),
            (
                "3.8.0",
                vec!["3.8.0", "3.10.0", "2.19.4"],
                "2.19.4",
                "OpenSearch 2.19.4 to 3.10.0 on 3 nodes",
                true,
            ),
            ("3.10.0-SNAPSHOT", vec![], "3.10.0-SNAPSHOT", "OpenSearch 3.10.0-SNAPSHOT", false),
            ("7.10.2", vec!["2.19.4"], "2.19.4", "OpenSearch 2.19.4", true),
            ("odd", vec![], "odd", "OpenSearch odd", true),
        ] {
            let nodes: Vec<_> = versions.iter().map(|version| node("n", version, &[])).collect();
            let what = Capabilities::of(opensearch(answered), nodes);
            assert_eq!(what.about.version, least);
            assert_eq!(what.to_string(), shown);
            assert_eq!(what.acknowledging_jams(), jams, "{shown}");
            assert_eq!(what.is_mixed(), shown.contains(" to "), "{shown}");
        }
    }

    #[test]
    fn a_node_that_lacks_a_plugin_is_named() {
        let (whole, part) =
            (node("a", "3.4.0", &PLUGINS), node("b", "3.4.0", &[PLUGINS[1], "other"]));
        let all = |nodes: Vec<Node>| Capabilities::of(opensearch("3.4.0"), nodes);
        assert_eq!(all(vec![whole.clone()]).lacking(), [""; 0]);
        let both = all(vec![whole, part]);
        assert_eq!(both.lacking(), ["b lacks opensearch-alerting, opensearch-notifications-core"]);
        assert_eq!(both.plugins().unwrap(), [PLUGINS[1]]);
        assert_eq!(all(Vec::new()).plugins(), None);
    }

    #[test]
    fn what_is_known_counts_until_the_store_was_away_and_a_minute_at_most() {
        let (known, now) = (Known::default(), Instant::now());
        let what = |version| Arc::new(Capabilities::of(opensearch(version), Vec::new()));
        let counts =
            |now| known.last(now).map(|(what, counts)| (what.about.version.clone(), counts));
        assert_eq!(counts(now), None);
        assert_eq!(known.learn(&what("2.19.4"), now), None);
        assert_eq!(counts(now), Some(("2.19.4".to_owned(), true)));
        assert_eq!(counts(now + BELIEVED), Some(("2.19.4".to_owned(), false)));
        known.forget();
        assert_eq!(counts(now), Some(("2.19.4".to_owned(), false)));
        assert_eq!(known.learn(&what("3.4.0"), now).as_deref(), Some("OpenSearch 2.19.4"));
        assert_eq!(known.learn(&what("3.4.0"), now), None, "the same again is no news");
        assert_eq!(counts(now), Some(("3.4.0".to_owned(), true)));
    }
}
