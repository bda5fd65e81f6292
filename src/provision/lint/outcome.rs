//! What the store's answers about a monitor mean. Pure.

use serde_json::Value;

use super::{super::shape, judge::Fault};
use crate::{
    finding::{Finding, State},
    opensearch::{self, words},
};

/// A monitor that the store does not run.
pub fn refused(name: &str, fault: &opensearch::Error) -> Finding {
    let what = format!("it cannot be run: {fault}");
    match fault.status() {
        Some(401 | 403) => {
            let mend =
                "give the store's user the right cluster:admin/opendistro/alerting/monitor/execute";
            Finding::warn(name, what, mend)
        }
        Some(400 | 405) => {
            Finding::fail(name, what, "correct it; the store refuses such a monitor")
        }
        Some(_) => Finding::fail(name, what, "correct its query"),
        None => {
            let mend = "see whether the store is up; a bucket-level monitor never ends where the key of a bucket holds `{{`";
            Finding::fail(name, what, mend)
        }
    }
}

/// A message that the store does not render.
pub fn not_rendered(fault: &opensearch::Error) -> Fault {
    let state = State::Fail;
    match fault.status() {
        Some(401 | 403) => Fault {
            state: State::Warn,
            what: format!("it cannot be rendered: {fault}"),
            mend: "give the store's user the right indices:data/read/search/template/render"
                .to_owned(),
        },
        Some(_) => Fault {
            state,
            what: format!("its message is no good Mustache: {fault}"),
            mend: "close each `{{#x}}` by `{{/x}}`, and each `{{` by `}}`".to_owned(),
        },
        None => Fault {
            state,
            what: format!("it cannot be rendered: {fault}"),
            mend: "start the store, or correct OPENSEARCH_URL".to_owned(),
        },
    }
}

/// Why the query failed in a dry run; it may be an empty text.
pub fn fault_of_query(report: &Value) -> Option<&str> {
    let query = [report.pointer("/input_results/error"), report.get("error")];
    query.into_iter().flatten().find_map(Value::as_str)
}

/// The query of a bucket-level monitor whose pattern fits no index: the store fails on it
/// (`NullPointerException`), and of other kinds it finds nothing.
pub fn no_index() -> Fault {
    let what = "no index fits its pattern yet, so its query cannot be tried, and each run fails";
    let mend = "look again when there is one".to_owned();
    Fault { state: State::Warn, what: what.to_owned(), mend }
}

/// What the report of a dry run says of the query and of each trigger.
pub fn faults_of_run(report: &Value, monitor: &Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    if let Some(why) = fault_of_query(report) {
        let why = if why.is_empty() { "the store does not say why" } else { why };
        faults.push(Fault {
            state: State::Fail,
            what: format!("its query fails: {why}"),
            mend: "correct indices, query and the condition's script; try the query in Dev Tools"
                .to_owned(),
        });
        return faults; // the triggers fail for want of results
    }
    let results = report.get("trigger_results").and_then(Value::as_object).into_iter().flatten();
    for (id, result) in results {
        let Some(error) = result.get("error").and_then(Value::as_str) else { continue };
        let trigger = shape::triggers(monitor)
            .find(|trigger| trigger.get("id").and_then(Value::as_str) == Some(id));
        let name = result.get("name").or_else(|| trigger?.get("name")).and_then(Value::as_str);
        let name = name.unwrap_or(id);
        let (compiles, why) = words::script_fault(error);
        faults.push(if compiles {
            Fault {
                state: State::Warn,
                what: format!("trigger {name:?} throws on what the query finds now: {why}"),
                mend: "let its script look whether what it reads is there".to_owned(),
            }
        } else {
            Fault {
                state: State::Fail,
                what: format!("trigger {name:?} does not compile: {why}"),
                mend: "correct its script".to_owned(),
            }
        });
    }
    faults
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_report_of_a_run_says_what_fails() {
        let script = |reason: &str, inner: &str| {
            let error = json!({"type": "script_exception", "reason": reason,
                "caused_by": {"type": "x", "reason": inner, "caused_by": {"type": "y", "reason": null}}});
            json!({"t1": {"name": "over", "error": error.to_string()}})
        };
        for (report, want) in [
            (
                json!({"input_results": {"error": null}, "trigger_results": {"t1": {"error": null}}}),
                vec![],
            ),
            (
                json!({"input_results": {"error": "no such index [x]"}}),
                vec![(State::Fail, "no such index [x]")],
            ),
            (json!({"input_results": {"error": ""}}), vec![(State::Fail, "does not say why")]),
            (
                json!({"trigger_results": script("compile error", "invalid")}),
                vec![(State::Fail, "\"over\" does not compile: invalid")],
            ),
            (
                json!({"trigger_results": script("runtime error", "null")}),
                vec![(State::Warn, "\"over\" throws")],
            ),
            (
                json!({"trigger_results": {"t1": {"error": "odd text"}}}),
                vec![(State::Fail, "\"named\" does not compile: odd text")],
            ),
        ] {
            let monitor =
                json!({"triggers": [{"query_level_trigger": {"id": "t1", "name": "named"}}]});
            let faults = faults_of_run(&report, &monitor);
            assert_eq!(faults.len(), want.len(), "{report}");
            for (fault, (state, what)) in faults.iter().zip(want) {
                assert_eq!(fault.state, state, "{report}");
                assert!(fault.what.contains(what), "{report}: {}", fault.what);
            }
        }
    }
}
