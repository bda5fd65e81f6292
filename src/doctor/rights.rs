//! What the store's user may do. Reading is tried by the other checks; writing is asked for in
//! advance, by calls that change nothing: a dry run of the security plugin, or a change of
//! something that does not exist, which is answered with 404 by who may and 403 by who may not.

use opensearch::http::Method;
use serde_json::{Value, json};

use super::{Report, Setup, report::mend_of};
use crate::{
    lease::document::INDEX as LEASES,
    opensearch::{
        Client, Error, cluster,
        security::{self, Leave, User},
    },
    writer::lives::INDEX as SERIES,
};

/// An id that nothing has.
const NOBODY: &str = "alertloop-doctor";

/// What a permission is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    /// Without it alerts stay in the spool.
    Records,
    /// Without it alerts whose messages do not tell when they began stay in the spool.
    Series,
    /// Without it records are not kept equal to their alerts.
    Reconciling,
    /// Without it provisioning stops.
    Provisioning,
    /// Without it the built-in engine cannot keep or run monitors.
    Monitors,
}

/// A question that the store answers without changing anything.
struct Question {
    is_for: For,
    /// The permission that is asked for.
    permission: &'static str,
    method: Method,
    path: String,
    body: Option<Value>,
    /// Whether the security plugin is asked; else something that does not exist is changed.
    dry: bool,
}

/// What the questions came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answers {
    lacking: Vec<(For, String)>,
    unknown: usize,
}

/// Who we are to the store, and what we may do there.
pub(super) async fn look(report: &mut Report, client: &Client, setup: &Setup) {
    let user = match security::whoami(client).await {
        Ok(Some(user)) => user,
        Ok(None) => return report.ok("user", without_plugin(client.has_login())),
        Err(fault) => return report.unread("user", &fault),
    };
    filters(report, client, &user).await;
    let mut answers = Answers::default();
    let builtin = client.is_builtin().await.unwrap_or(false).then(|| client.builtin_prefix());
    for question in questions(setup, builtin) {
        match ask(client, &question).await {
            Ok(Leave::Given) => {}
            Ok(Leave::Lacking(named)) => {
                let one = || vec![question.permission.to_owned()];
                let named = if named.is_empty() { one() } else { named };
                answers.lacking.extend(named.into_iter().map(|name| (question.is_for, name)));
            }
            Ok(Leave::Unknown) => answers.unknown += 1,
            Err(fault) => return report.unread("rights", &fault),
        }
    }
    judge(report, &user, &answers, setup);
}

/// What is known of the user where nobody can be asked: Elasticsearch, which has a security of its own,
/// does not know the address either, and has let us in before it says so.
fn without_plugin(has_login: bool) -> &'static str {
    if has_login {
        "the store lets us in; it has no security plugin of OpenSearch that could tell our rights"
    } else {
        "the store asks for no login"
    }
}

async fn ask(client: &Client, question: &Question) -> Result<Leave, Error> {
    let (method, body) = (question.method, question.body.as_ref());
    if question.dry {
        return security::may(client, method, &question.path, body).await;
    }
    let (status, said) = client.exchange(method, &question.path, body).await?;
    Ok(match status {
        403 => {
            let fault = Error::refused(status, &said);
            Leave::Lacking(security::missing(&fault).map(str::to_owned).into_iter().collect())
        }
        404 => Leave::Given,
        _ => Leave::Unknown,
    })
}

/// `builtin` is the prefix of the indices that the built-in engine keeps monitors in, where that runs
/// them.
fn questions(setup: &Setup, builtin: Option<&str>) -> Vec<Question> {
    // Where records would go on a day of 1970, and nothing is.
    let index = setup.provisioning.index_pattern.replace('*', "700101");
    let missing = |permission, method, path: &str, body| Question {
        is_for: For::Provisioning,
        permission,
        method,
        path: format!("/_plugins/{path}/{NOBODY}"),
        body,
        dry: false,
    };
    let mut all = vec![
        dry(
            For::Records,
            "indices:data/write/index",
            Method::Put,
            format!("/{index}/_doc/{NOBODY}"),
            json!({}),
        ),
        dry(
            For::Records,
            "indices:data/write/update",
            Method::Post,
            format!("/{index}/_update/{NOBODY}"),
            json!({"doc": {}}),
        ),
        dry(For::Records, "indices:admin/create", Method::Put, format!("/{index}"), json!({})),
        dry(
            For::Series,
            "indices:data/write/index",
            Method::Put,
            format!("/{SERIES}/_doc/{NOBODY}"),
            json!({}),
        ),
        dry(
            For::Records,
            "indices:admin/mapping/put",
            Method::Put,
            format!("/{index}/_mapping"),
            json!({"properties": {}}),
        ),
    ];
    if setup.reconciles {
        all.extend(of_reconciling(&index));
    }
    if let Some(prefix) = builtin {
        all.extend(of_builtin(prefix, &index));
        return all;
    }
    if !setup.provisions {
        return all;
    }
    let channel = json!({"config": {"name": NOBODY, "description": "", "config_type": "webhook",
        "is_enabled": false, "webhook": {"url": "http://127.0.0.1:9/"}}});
    all.extend([
        dry(
            For::Provisioning,
            "indices:admin/template/put",
            Method::Put,
            format!("/_template/{NOBODY}"),
            json!({"index_patterns": [NOBODY]}),
        ),
        missing(
            "cluster:admin/opensearch/notifications/configs/update",
            Method::Put,
            "_notifications/configs",
            Some(channel),
        ),
        missing(
            "cluster:admin/opensearch/notifications/configs/delete",
            Method::Delete,
            "_notifications/configs",
            None,
        ),
        // Never the deletion of a monitor that is not there: 2.19.4 and 3.4.0 answer that twice, and the
        // second answer falls into those of others.
        dry(
            For::Provisioning,
            "cluster:admin/opendistro/alerting/monitor/delete",
            Method::Delete,
            format!("/_plugins/_alerting/monitors/{NOBODY}"),
            None,
        ),
        missing(
            "cluster:admin/opendistro/alerting/monitor/write",
            Method::Put,
            "_alerting/monitors",
            Some(monitor(&setup.provisioning.index_pattern)),
        ),
    ]);
    all
}

/// `index` is one of records; that of the leases need not be there.
fn of_reconciling(index: &str) -> [Question; 3] {
    let one = json!({"docs": [{"_index": index, "_id": NOBODY}]});
    let lease = format!("/{LEASES}/_doc/{NOBODY}");
    let of = |permission, method, path: &str, body| {
        dry(For::Reconciling, permission, method, path.to_owned(), body)
    };
    [
        of("indices:data/write/index", Method::Put, &lease, json!({})),
        of("indices:data/read/search", Method::Post, &format!("/{index}/_search"), json!({})),
        of("indices:data/read/mget", Method::Post, "/_mget", one),
    ]
}

/// `index` is one of records.
fn of_builtin(prefix: &str, index: &str) -> Vec<Question> {
    let mut all: Vec<_> = ["monitors", "alerts", "runs"]
        .into_iter()
        .flat_map(|word| {
            let path = format!("/{prefix}-{word}/_doc/{NOBODY}");
            let of = |permission, method| {
                dry(For::Monitors, permission, method, path.clone(), json!({}))
            };
            [
                of("indices:data/write/index", Method::Put),
                of("indices:data/write/delete", Method::Delete),
            ]
        })
        .collect();
    // What the monitors do in the store.
    for (permission, path) in [
        ("cluster:admin/scripts/painless/execute", "/_scripts/painless/_execute".to_owned()),
        ("indices:data/read/search/template/render", "/_render/template".to_owned()),
        ("indices:data/read/search", format!("/{index}/_search")),
    ] {
        all.push(dry(For::Monitors, permission, Method::Post, path, json!({})));
    }
    all
}

/// A question to the security plugin alone.
fn dry(
    is_for: For,
    permission: &'static str,
    method: Method,
    path: String,
    body: impl Into<Option<Value>>,
) -> Question {
    Question { is_for, permission, method, path, body: body.into(), dry: true }
}

/// The least monitor that Alerting reads; it looks for the right to search the index too.
fn monitor(pattern: &str) -> Value {
    json!({"type": "monitor", "monitor_type": "query_level_monitor", "name": NOBODY,
        "enabled": false, "schedule": {"period": {"interval": 1, "unit": "DAYS"}},
        "inputs": [{"search": {"indices": [pattern], "query": {"query": {"match_none": {}}}}}],
        "triggers": []})
}

fn judge(report: &mut Report, user: &User, answers: &Answers, setup: &Setup) {
    let User { name, roles, .. } = user;
    let of = |kind: For| {
        let names = answers.lacking.iter().filter(|(is_for, _)| *is_for == kind);
        names.map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let (records, reconciling) = (of(For::Records), of(For::Reconciling));
    let provisioning = of(For::Provisioning);
    let role = |file: &str| {
        format!("give it the role of provisioning/security/{file}.json; see docs/security.md")
    };
    if !records.is_empty() {
        let pattern = &setup.provisioning.index_pattern;
        let what = format!("{name:?} lacks {records} on {pattern}: alerts stay in the spool");
        report.fail("rights", what, role("alertloop"));
    }
    let series = of(For::Series);
    if !series.is_empty() {
        let what = format!(
            "{name:?} lacks {series} on {SERIES}: engagements of ntopng before 4.0 stay in the spool"
        );
        report.warn("rights", what, role("alertloop"));
    }
    if !reconciling.is_empty() {
        let what = format!(
            "{name:?} lacks {reconciling}: lost webhooks are not made up for, and no alert ends"
        );
        report.warn("rights", what, role("alertloop"));
    }
    if !provisioning.is_empty() {
        let what = format!("{name:?} lacks {provisioning}: provisioning stops there");
        let mend = format!("{}, or set ALERTLOOP_PROVISION=false", role("alertloop_provisioning"));
        report.warn("rights", what, mend);
    }
    let monitors = of(For::Monitors);
    if !monitors.is_empty() {
        let what = format!("{name:?} lacks {monitors}: alertloop cannot run the monitors");
        report.fail("rights", what, role("alertloop_monitors"));
    }
    if answers.lacking.is_empty() {
        let roles = roles.join(", ");
        let may = if answers.unknown == 0 {
            "may write what it has to"
        } else {
            "is let in (this version does not tell in advance what it may write)"
        };
        report.ok("rights", format!("{name:?} (roles {roles}) {may}"));
    }
}

/// Whether Alerting and Notifications hide from us what others made.
async fn filters(report: &mut Report, client: &Client, user: &User) {
    let filters = match cluster::backend_role_filters(client).await {
        Ok(filters) => filters,
        Err(fault) => {
            return report.warn("user", format!("cannot be looked at: {fault}"), mend_of(&fault));
        }
    };
    hidden(report, user, &filters);
}

fn hidden(report: &mut Report, user: &User, filters: &[&str]) {
    let name = &user.name;
    if filters.is_empty() {
        return report.ok("user", format!("{name:?} sees the monitors and channels of all users"));
    }
    let filters = filters.join(" and ");
    if user.backend_roles.is_empty() {
        let what = format!("{filters} is on, and {name:?} has no backend role: it is refused");
        report.fail("user", what, "give it a backend role that the makers of monitors have too");
    } else {
        let roles = user.backend_roles.join(", ");
        let what = format!("{filters} is on: {name:?} sees only what users of {roles} made");
        report.warn("user", what, "let the makers of monitors have one of these backend roles");
    }
}

#[cfg(test)]
mod tests {
    use super::{super::State, *};

    fn user(backend_roles: &[&str]) -> User {
        User {
            name: "al".to_owned(),
            roles: vec!["alertloop".to_owned()],
            backend_roles: backend_roles.iter().map(|one| (*one).to_owned()).collect(),
        }
    }

    #[test]
    fn a_login_that_was_let_in_is_not_called_none() {
        assert!(without_plugin(true).starts_with("the store lets us in"));
        assert_eq!(without_plugin(false), "the store asks for no login");
    }

    #[test]
    fn missing_rights_to_records_fail_and_those_to_provisioning_warn() {
        let lacks = |is_for, name: &str| (is_for, name.to_owned());
        for (lacking, unknown, want, text) in [
            (vec![], 0, vec![State::Ok], "\"al\" (roles alertloop) may write what it has to"),
            (vec![], 2, vec![State::Ok], "does not tell"),
            (
                vec![lacks(For::Records, "a"), lacks(For::Records, "b")],
                0,
                vec![State::Fail],
                "\"al\" lacks a, b on s-*",
            ),
            (vec![lacks(For::Provisioning, "a")], 1, vec![State::Warn], "lacks a: provisioning"),
            (
                vec![lacks(For::Monitors, "a")],
                0,
                vec![State::Fail],
                "lacks a: alertloop cannot run",
            ),
            (vec![lacks(For::Series, "a")], 0, vec![State::Warn], "lacks a on alertloop-series"),
            (vec![lacks(For::Reconciling, "a")], 0, vec![State::Warn], "lacks a: lost webhooks"),
            (
                vec![lacks(For::Provisioning, "a"), lacks(For::Records, "b")],
                0,
                vec![State::Fail, State::Warn],
                "lacks b on",
            ),
        ] {
            let mut report = Report::default();
            judge(&mut report, &user(&[]), &Answers { lacking, unknown }, &Setup::for_tests());
            let states: Vec<_> = report.findings.iter().map(|finding| finding.state).collect();
            assert_eq!(states, want);
            assert!(report.findings[0].what.contains(text), "{report}");
        }
    }

    #[test]
    fn a_filter_by_backend_role_is_told() {
        for (backend_roles, filters, want) in [
            (vec![], vec![], State::Ok),
            (vec!["soc"], vec![], State::Ok),
            (vec!["soc"], vec!["a"], State::Warn),
            (vec![], vec!["a", "b"], State::Fail),
        ] {
            let mut report = Report::default();
            hidden(&mut report, &user(&backend_roles), &filters);
            assert_eq!(report.findings[0].state, want, "{report}");
        }
    }

    #[test]
    fn no_question_names_anything_that_could_exist() {
        for builtin in [None, Some("p")] {
            for question in questions(&Setup::for_tests(), builtin) {
                assert!(question.path.contains(NOBODY) || question.dry, "{}", question.path);
                let deletes = question.method == Method::Delete;
                assert!(!deletes || !question.path.contains("/monitors/") || question.dry);
            }
        }
        let none = Setup { provisions: false, reconciles: false, ..Setup::for_tests() };
        let is_for_alerts = |one: &Question| matches!(one.is_for, For::Records | For::Series);
        assert!(questions(&none, None).iter().all(is_for_alerts));
    }
}
