use std::collections::BTreeSet;

use super::*;

/// Where the document is kept, for people.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");

fn json_of(prefix: &str) -> Value {
    serde_json::from_str(&text(&document(prefix))).unwrap()
}

/// Every object in it, with what it lies under.
fn walk(value: &Value, path: &str, visit: &mut impl FnMut(&str, &serde_json::Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            visit(path, object);
            for (key, value) in object {
                walk(value, &format!("{path}/{key}"), visit);
            }
        }
        Value::Array(list) => list.iter().for_each(|one| walk(one, path, visit)),
        _ => {}
    }
}

/// What the router has, but for the page: `GET /mapi/alerts (reader)`.
fn doors() -> BTreeSet<String> {
    let all = crate::http::doors("mapi").into_iter();
    let of_programs = |path: &str| {
        path.starts_with("/mapi/") || ["/livez", "/readyz", "/metrics"].contains(&path)
    };
    all.filter(|door| of_programs(&door.path) && !door.path.ends_with('/'))
        .map(|door| format!("{} {} ({})", door.method, door.path, door.needs))
        .collect()
}

#[test]
fn every_route_is_in_the_document_with_who_may_and_no_other_is() {
    let document = json_of("mapi");
    let mut described = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let needs = operation["description"].as_str().unwrap();
            let needs = needs.strip_prefix("For: ").unwrap().trim_end_matches('.');
            described.insert(format!("{} {path} ({needs})", method.to_uppercase()));
        }
    }
    let doors = doors();
    assert!(doors.contains("GET /mapi/alerts (reader)") && doors.len() > 25, "{doors:?}");
    assert_eq!(doors, described);
    let bare = json_of("");
    assert!(bare["paths"].get("/alerts/{id}").is_some() && bare["paths"].get("/readyz").is_some());
}

#[test]
fn every_reference_has_its_end_and_every_operation_an_id_of_its_own() {
    let document = json_of("mapi");
    assert_eq!(document["openapi"], "3.1.0");
    let (mut references, mut ids) = (0, BTreeSet::new());
    walk(&document, "", &mut |path, object| {
        if let Some(target) = object.get("$ref") {
            let pointer = target.as_str().unwrap().strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{path}: {target}");
            references += 1;
        }
        if let Some(id) = object.get("operationId") {
            assert!(ids.insert(id.to_string()), "{id} twice");
            assert!(object["summary"].is_string() && object["description"].is_string(), "{path}");
        }
    });
    assert!(references > 60 && ids.len() > 25, "{references} {}", ids.len());
    // A name that two types share would hide one of them.
    let mut schemas = std::collections::BTreeMap::new();
    let mut api = Document { prefix: String::new(), paths: Paths::new(), schemas: Vec::new() };
    operations::add(&mut api);
    for (name, schema) in api.schemas {
        let schema = serde_json::to_value(schema).unwrap();
        let known = schemas.entry(name.clone()).or_insert_with(|| schema.clone());
        assert_eq!(*known, schema, "two types have the name {name}");
    }
}

#[test]
fn every_example_is_what_its_type_reads() {
    fn reads<T: serde::de::DeserializeOwned>(example: &Value) {
        serde_json::from_value::<T>(example.clone())
            .unwrap_or_else(|fault| panic!("{fault}: {example}"));
    }
    let document = json_of("mapi");
    let mut examples = BTreeSet::new();
    walk(&document, "", &mut |path, object| {
        let (Some(example), Some(schema)) = (object.get("example"), object.get("schema")) else {
            return;
        };
        let name = schema["$ref"].as_str().unwrap_or(path).rsplit('/').next().unwrap();
        match name {
            "Received" => reads::<shapes::Received>(example),
            "Alerts" => reads::<crate::history::Page>(example),
            "Overview" => reads::<crate::history::Overview>(example),
            "ConditionHistory" => reads::<crate::monitors::Past>(example),
            "Conditions" => reads::<crate::monitors::List>(example),
            "DeliveriesReplayed" => reads::<shapes::DeliveriesReplayed>(example),
            "DeadLettersReplayed" => reads::<shapes::DeadLettersReplayed>(example),
            "DeadLettersDropped" => reads::<shapes::DeadLettersDropped>(example),
            "Pong" => reads::<shapes::Pong>(example),
            name => panic!("nothing reads the example of {name} at {path}"),
        }
        examples.insert(name.to_owned());
    });
    assert_eq!(examples.len(), 9);
}

#[test]
fn the_document_that_is_kept_is_the_one_that_is_served() {
    let served = text(&document("mapi"));
    if std::env::var_os("ALERTLOOP_WRITE_OPENAPI").is_some() {
        std::fs::write(KEPT, &served).unwrap();
    }
    let kept = std::fs::read_to_string(KEPT).unwrap_or_default();
    assert!(
        kept == served,
        "docs/openapi.json is not what is served; write it by \
         `ALERTLOOP_WRITE_OPENAPI=1 cargo test --lib openapi`"
    );
}
