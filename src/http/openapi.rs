//! The OpenAPI document of every route, made of the types that the routes take and give. A test holds
//! it against the route table.

use std::{borrow::Cow, sync::Arc};

use axum::{http::header, response::IntoResponse};
use serde_json::{Value, json};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{
        Components, Content, HttpMethod, Info, License, OpenApi, Paths, Ref, RefOr, Required,
        Response, Tag,
        path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        schema::{Object, Schema, Type},
        security::{
            ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
        },
    },
};

use super::{caller::Reader, doors::Needs};

mod operations;
mod shapes;

const JSON: &str = "application/json";

/// The routes as they are added.
struct Document {
    prefix: String,
    paths: Paths,
    schemas: Vec<(String, RefOr<Schema>)>,
}

/// The document, for routes with this prefix (`mapi`).
#[must_use]
pub fn document(prefix: &str) -> OpenApi {
    let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
    let mut document = Document { prefix, paths: Paths::new(), schemas: Vec::new() };
    operations::add(&mut document);
    let mut info = Info::new("alertloop", env!("CARGO_PKG_VERSION"));
    info.description = Some(
        "Takes alerts in, and tells what became of them. Times are RFC 3339 in UTC. A slash at the end \
         of a path changes nothing. Errors are `{\"error\": \"what is wrong, and what to do\"}`."
            .to_owned(),
    );
    info.license = Some(License::new("Apache-2.0"));
    let mut api = OpenApi::new(info, document.paths);
    let mut components = Components::new();
    components.schemas.extend(document.schemas);
    components.schemas.insert("Failure".to_owned(), shapes::Failure::schema());
    let basic = HttpBuilder::new().scheme(HttpAuthScheme::Basic);
    let basic = basic.description(Some(
        "ALERTLOOP_ADMIN_USER and ALERTLOOP_ADMIN_PASSWORD; or, from a proxy that is trusted, the user \
         and the roles that it tells. Neither is needed on this machine where no login is configured.",
    ));
    components.add_security_scheme("login", SecurityScheme::Http(basic.build()));
    let secret = ApiKeyValue::with_description(
        "X-Alertloop-Token",
        "The intake secret; also as `Authorization: Bearer`, as a Basic password, in the query, or in \
         the body as ntopng sends it.",
    );
    components.add_security_scheme("secret", SecurityScheme::ApiKey(ApiKey::Header(secret)));
    api.components = Some(components);
    let tag = |name: &str, what: &str| {
        let mut tag = Tag::new(name);
        tag.description = Some(what.to_owned());
        tag
    };
    api.tags = Some(vec![
        tag("intake", "Alerts come in"),
        tag("alerts", "Alerts that are and were"),
        tag("conditions", "What fires: the monitors of OpenSearch"),
        tag("deliveries", "What callbacks were run, and how it went"),
        tag("dead letters", "What was refused"),
        tag("health", "How this replica fares"),
    ]);
    api
}

/// What answers `GET /mapi/openapi.json`.
pub(super) fn served(
    prefix: &str,
) -> impl Fn(Reader) -> std::future::Ready<axum::response::Response> + Clone + Send + Sync + 'static
{
    let text: Arc<str> = text(&document(prefix)).into();
    move |_: Reader| {
        let kind = [(header::CONTENT_TYPE, JSON)];
        std::future::ready((kind, text.to_string()).into_response())
    }
}

/// As it is served, and kept in `docs/openapi.json`.
#[must_use]
pub fn text(document: &OpenApi) -> String {
    // What is made of strings and lists is always JSON.
    let mut text = serde_json::to_string_pretty(document).unwrap_or_default();
    text.push('\n');
    text
}

/// One route as it is described.
struct Route {
    method: HttpMethod,
    path: String,
    needs: Needs,
    operation: OperationBuilder,
    schemas: Vec<(String, RefOr<Schema>)>,
}

impl Document {
    /// A route below the prefix.
    fn describe(&self, method: HttpMethod, path: &str, needs: Needs) -> Route {
        self.bare(method, &format!("{}{path}", self.prefix), needs)
    }

    /// A route that the prefix does not belong to.
    #[expect(clippy::unused_self, reason = "it stands beside `describe`")]
    fn bare(&self, method: HttpMethod, path: &str, needs: Needs) -> Route {
        let operation = OperationBuilder::new();
        let mut route =
            Route { method, path: path.to_owned(), needs, operation, schemas: Vec::new() };
        for name in path.split('/').filter_map(|part| part.strip_prefix('{')) {
            let name = name.trim_end_matches('}');
            route = route.parameter(name);
        }
        route
    }

    fn add(&mut self, route: Route) {
        self.schemas.extend(route.schemas.iter().cloned());
        let (path, method) = (route.path.clone(), route.method.clone());
        self.paths.add_path_operation(path, vec![method], route.operation());
    }
}

impl Route {
    /// What it is for, and under which heading.
    fn about(mut self, tag: &str, id: &str, summary: &str) -> Self {
        self.operation = self.operation.tag(tag).operation_id(Some(id)).summary(Some(summary));
        self
    }

    fn parameter(mut self, name: &str) -> Self {
        let (kind, what) = match name {
            "source" => (Type::String, "opensearch, graylog, ntopng or alertmanager"),
            _ if self.path.contains("/deliveries/") || self.path.contains("/dead-letters/") => {
                (Type::Integer, "Its number")
            }
            _ if self.path.contains("/conditions/") => (Type::String, "The monitor's id"),
            _ => (Type::String, "`_id` of its record, or the alert's own id"),
        };
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some(what))
            .schema(Some(Schema::Object(Object::with_type(kind))));
        self.operation = self.operation.parameter(parameter);
        self
    }

    /// What its query may hold.
    fn query<T: IntoParams>(mut self) -> Self {
        for parameter in T::into_params(|| Some(ParameterIn::Query)) {
            self.operation = self.operation.parameter(without_null(parameter));
        }
        self
    }

    /// What its body is.
    fn body<T: ToSchema>(mut self) -> Self {
        let content = Content::new(Some(self.known::<T>()));
        let body = RequestBodyBuilder::new().content(JSON, content).required(Some(Required::True));
        self.operation = self.operation.request_body(Some(body.build()));
        self
    }

    /// That its body may be anything.
    fn any_body(mut self) -> Self {
        let any = Content::new(Some(Schema::Object(Object::new())));
        let body = RequestBodyBuilder::new()
            .description(Some("As the source sends it; no body is refused for its content"))
            .content("*/*", any);
        self.operation = self.operation.request_body(Some(body.build()));
        self
    }

    /// That it is called by `POST` without a body, as JSON all the same: so that no page elsewhere can
    /// have a browser do it.
    fn empty_json(mut self) -> Self {
        let none = Content::new(Some(Schema::Object(Object::new())));
        let body = RequestBodyBuilder::new()
            .description(Some("Nothing; but `Content-Type: application/json` has to be there"))
            .content(JSON, none);
        self.operation = self.operation.request_body(Some(body.build()));
        self
    }

    /// What it answers with this status.
    fn answers<T: ToSchema>(mut self, status: u16, what: &str, example: Option<Value>) -> Self {
        let mut content = Content::new(Some(self.known::<T>()));
        content.example = example;
        let mut response = Response::new(what);
        response.content.insert(JSON.to_owned(), RefOr::T(content));
        self.operation = self.operation.response(status.to_string(), response);
        self
    }

    /// That it answers an object of any kind.
    fn answers_object(mut self, what: &str) -> Self {
        let any = Content::new(Some(Schema::Object(Object::with_type(Type::Object))));
        let mut response = Response::new(what);
        response.content.insert(JSON.to_owned(), RefOr::T(any));
        self.operation = self.operation.response("200", response);
        self
    }

    /// That it answers text.
    fn answers_text(mut self, kind: &str, what: &str) -> Self {
        let text = Content::new(Some(Schema::Object(Object::with_type(Type::String))));
        let mut response = Response::new(what);
        response.content.insert(kind.to_owned(), RefOr::T(text));
        self.operation = self.operation.response("200", response);
        self
    }

    /// That it refuses with this status, and when.
    fn refuses(mut self, status: u16, what: &str) -> Self {
        let failure = Ref::from_schema_name("Failure");
        let mut response = Response::new(what);
        response.content.insert(JSON.to_owned(), RefOr::T(Content::new(Some(failure))));
        self.operation = self.operation.response(status.to_string(), response);
        self
    }

    /// A type, and the types that it is made of; gives what points to it.
    fn known<T: ToSchema>(&mut self) -> RefOr<Schema> {
        let name: Cow<'static, str> = T::name();
        self.schemas.push((name.to_string(), T::schema()));
        T::schemas(&mut self.schemas);
        RefOr::Ref(Ref::from_schema_name(name.to_string()))
    }

    fn operation(mut self) -> Operation {
        let requires = |names: &[&str]| -> Vec<_> {
            names.iter().map(|name| SecurityRequirement::new(*name, [] as [&str; 0])).collect()
        };
        let securities = match self.needs {
            Needs::Nothing => Vec::new(),
            Needs::Secret => requires(&["secret"]),
            Needs::SecretOrReader => requires(&["login", "secret"]),
            Needs::Reader | Needs::Operator | Needs::Admin => requires(&["login"]),
        };
        if self.needs != Needs::Nothing {
            self = self.refuses(401, "No secret or login, or a wrong one");
        }
        if matches!(self.needs, Needs::Reader | Needs::Operator | Needs::Admin) {
            self = self.refuses(404, "No such thing; or the API is off, as there is no login");
        }
        if matches!(self.needs, Needs::Operator | Needs::Admin) {
            self = self.refuses(403, "Known, but without the role that this needs");
        }
        let text = format!("For: {}.", self.needs);
        self.operation.securities(Some(securities)).description(Some(text)).build()
    }
}

/// In a query, what is not said is not there: there is no `null`.
fn without_null(mut parameter: Parameter) -> Parameter {
    if let Some(RefOr::T(schema)) = &mut parameter.schema
        && let Ok(mut plain) = serde_json::to_value(&*schema)
        && let Some(kinds) = plain["type"].as_array()
        && let Some(kind) = kinds.iter().find(|kind| **kind != json!("null")).cloned()
    {
        plain["type"] = kind;
        if let Ok(plain) = serde_json::from_value(plain) {
            *schema = plain;
        }
    }
    parameter
}

#[cfg(test)]
mod tests;
