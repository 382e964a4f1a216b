//! The OpenAPI document, made of the routes and of the types that parse and print.
//!
//! It stands in `openapi.json`, which the worker serves. The test below says when that is out of date, and
//! `UPDATE=1 cargo test --lib openapi` writes it again.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema, json_schema};
use serde_json::{Map, Value, json};

use super::params::{
    AuditQuery, ConversionsQuery, ListQuery, PostbackUrlQuery, PostbacksQuery, ReportQuery,
};
use super::report::Report;
use super::routes::{Operation, PREFIX, ROUTES, Route};
use super::urls::HandOut;
use super::view::{
    ConversionView, Decision, EntityState, Page, PostbackView, Problem, TestPostback, TestResult,
    Trace,
};
use crate::catalog::advertiser::Advertiser;
use crate::catalog::audit::Entry;
use crate::catalog::kind::Kind;
use crate::tracking::offer::Offer;
use crate::tracking::partner::Partner;
use crate::tracking::values::SubIds;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/api/openapi.json");

const DESCRIPTION: &str = "The management API of Tidemark, a click redirector and server-postback tracker. \
    Amounts of money are decimals in strings. Times are RFC 3339, in UTC. Unknown fields and parameters are refused. \
    Errors are problem details (RFC 9457).";

/// The schema of a time.
pub(crate) struct Time;

impl JsonSchema for Time {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time", "examples": ["2026-06-01T00:00:00Z"]})
    }
}

#[test]
fn openapi_is_up_to_date() {
    let document = serde_json::to_string(&document()).expect("json");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(FILE, &document).expect("written");
    }
    let served = include_str!("openapi.json");
    assert!(
        document == served || std::env::var_os("UPDATE").is_some(),
        "src/api/openapi.json is out of date: run UPDATE=1 cargo test --lib openapi"
    );
}

fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
    });
    let mut generator = settings.clone().for_serialize().into_generator();
    let mut inputs = settings.for_deserialize().into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for route in &ROUTES {
        let methods = paths
            .entry(format!("{PREFIX}{}", route.path))
            .or_insert_with(|| json!({}));
        methods[route.method.to_lowercase()] = operation(route, &mut generator, &mut inputs);
    }
    let mut schemas = generator.take_definitions(true);
    schemas.extend(inputs.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidemark",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "The network's ADMIN_TOKEN."},
            },
        },
    })
}

fn operation(route: &Route, shown: &mut SchemaGenerator, taken: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": operation_id(route.operation),
        "summary": route.summary,
        "tags": [route.path.split('/').nth(1)],
        "parameters": parameters(route),
        "responses": responses(route, shown),
    });
    let body = match route.operation {
        Operation::Create(kind) => Some(create_schema(kind, taken)),
        Operation::Change(kind) => Some(change_schema(kind, taken)),
        Operation::DecideConversion => Some(taken.subschema_for::<Decision>().to_value()),
        Operation::TestPostback => Some(taken.subschema_for::<TestPostback>().to_value()),
        _ => None,
    };
    if let Some(schema) = body {
        operation["requestBody"] =
            json!({"required": true, "content": {"application/json": {"schema": schema}}});
    }
    operation
}

fn operation_id(operation: Operation) -> String {
    match operation {
        Operation::List(kind) => format!("list_{}s", kind.name()),
        Operation::Create(kind) => format!("create_{}", kind.name()),
        Operation::Get(kind) => format!("get_{}", kind.name()),
        Operation::Change(kind) => format!("change_{}", kind.name()),
        // CamelCase to snake_case.
        other => format!("{other:?}")
            .chars()
            .flat_map(|c| {
                c.is_uppercase()
                    .then_some('_')
                    .into_iter()
                    .chain(c.to_lowercase())
            })
            .skip(1)
            .collect(),
    }
}

fn parameters(route: &Route) -> Vec<Value> {
    let mut parameters = Vec::new();
    for segment in route.path.split('/') {
        if let Some(name) = segment
            .strip_prefix('{')
            .and_then(|name| name.strip_suffix('}'))
        {
            let schema = match (name, route.operation) {
                ("transaction_id", _)
                | (_, Operation::GetConversion | Operation::DecideConversion) => {
                    json!({"type": "string", "minLength": 1})
                }
                _ => json!({"type": "integer", "minimum": 1, "maximum": 4_194_303}),
            };
            parameters
                .push(json!({"name": name, "in": "path", "required": true, "schema": schema}));
        }
    }
    let query = match route.operation {
        Operation::List(kind) => {
            let known = |name: &str| {
                ["limit", "cursor", "sort"].contains(&name) || kind.filters().contains(&name)
            };
            let mut parameters = ListQuery::parameters();
            parameters.retain(|(name, ..)| known(name));
            parameters
        }
        Operation::PostbackUrl => PostbackUrlQuery::parameters(),
        Operation::OfferPostbacks | Operation::UnattributedPostbacks => {
            PostbacksQuery::parameters()
        }
        Operation::ListConversions => ConversionsQuery::parameters(),
        Operation::Report => ReportQuery::parameters(),
        Operation::Audit => AuditQuery::parameters(),
        _ => vec![],
    };
    for (name, description, schema) in query {
        parameters.push(
            json!({"name": name, "in": "query", "description": description, "schema": schema}),
        );
    }
    if route.operation == Operation::TrackingLink {
        parameters.push(json!({
            "name": "partner_id", "in": "query", "required": true, "description": "Who gets the link.",
            "schema": {"type": "integer", "minimum": 1, "maximum": 4_194_303},
        }));
        for name in SubIds::NAMES {
            parameters.push(json!({"name": name, "in": "query", "schema": {"type": "string", "maxLength": 500}}));
        }
    }
    if is_conditional(route.operation) {
        parameters.push(json!({
            "name": "If-Match", "in": "header", "schema": {"type": "string"}, "example": "\"1\"",
            "description": "The ETag that was read: the change is refused if somebody else made one since.",
        }));
    }
    if is_keyed(route.operation) {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "minLength": 1, "maxLength": 200},
            "description": "Under the same key, the same request is done once within 24 hours.",
        }));
    }
    parameters
}

/// Whether it changes what was read before.
fn is_conditional(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::Change(_)
            | Operation::MakeToken
            | Operation::ApplyToken
            | Operation::ApprovePartner
            | Operation::RefusePartner
    )
}

/// Whether it takes an `Idempotency-Key`.
fn is_keyed(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::Create(_) | Operation::MakeToken | Operation::ApplyToken
    )
}

fn responses(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let status = if matches!(route.operation, Operation::Create(_)) {
        "201"
    } else {
        "200"
    };
    let mut content = json!({"application/json": {"schema": answer(route.operation, generator)}});
    if route.operation == Operation::ListConversions {
        content["text/csv"] = json!({"schema": {"type": "string"}});
    }
    let mut responses = json!({status: {"description": "Done.", "content": content}});
    if is_conditional(route.operation)
        || matches!(route.operation, Operation::Get(_) | Operation::Create(_))
    {
        responses[status]["headers"] = json!({
            "ETag": {"description": "The version, for If-Match.", "schema": {"type": "string"}},
        });
    }
    let problem = generator.subschema_for::<Problem>().to_value();
    let mut refuse = |status: &str, description: &str| {
        responses[status] = json!({
            "description": description, "content": {"application/problem+json": {"schema": problem}},
        });
    };
    refuse("400", "A parameter or a header is wrong.");
    refuse("401", "The token is missing or wrong.");
    refuse("503", "Not processed: send it again.");
    let has_segment = route.path.contains('{');
    if has_segment
        || matches!(
            route.operation,
            Operation::ListConversions | Operation::Report
        )
    {
        refuse("404", "There is no such thing.");
    }
    if matches!(route.method, "POST" | "PATCH") {
        refuse("413", "The body is too long.");
        refuse("422", "A field of the body is wrong.");
    }
    if is_conditional(route.operation) {
        refuse("412", "It was changed meanwhile.");
        refuse("422", "It cannot be done as things are.");
    }
    if matches!(
        route.operation,
        Operation::Create(_) | Operation::DecideConversion | Operation::PostbackUrl
    ) {
        refuse("409", "It does not fit what is there.");
    }
    responses
}

fn answer(operation: Operation, generator: &mut SchemaGenerator) -> Value {
    let schema = match operation {
        Operation::List(kind) => {
            let items = entity_schema(kind, generator);
            return json!({
                "type": "object",
                "properties": {"items": {"type": "array", "items": items}, "next": {"type": "string"}},
                "required": ["items"],
            });
        }
        Operation::Create(kind) | Operation::Get(kind) | Operation::Change(kind) => {
            return entity_schema(kind, generator);
        }
        Operation::MakeToken | Operation::ApplyToken => {
            return entity_schema(Kind::Advertiser, generator);
        }
        Operation::ApprovePartner | Operation::RefusePartner => {
            return entity_schema(Kind::Offer, generator);
        }
        Operation::TrackingLink | Operation::PostbackUrl => generator.subschema_for::<HandOut>(),
        Operation::OfferPostbacks | Operation::UnattributedPostbacks => {
            generator.subschema_for::<Page<PostbackView>>()
        }
        Operation::ListConversions => generator.subschema_for::<Page<ConversionView>>(),
        Operation::GetConversion | Operation::DecideConversion => {
            generator.subschema_for::<ConversionView>()
        }
        Operation::Trace => generator.subschema_for::<Trace>(),
        Operation::TestPostback => generator.subschema_for::<TestResult>(),
        Operation::Report => generator.subschema_for::<Report>(),
        Operation::Audit => generator.subschema_for::<Page<Entry>>(),
    };
    schema.to_value()
}

fn object_of(kind: Kind, generator: &mut SchemaGenerator) -> Value {
    let schema = match kind {
        Kind::Advertiser => Advertiser::json_schema(generator),
        Kind::Partner => Partner::json_schema(generator),
        Kind::Offer => Offer::json_schema(generator),
    };
    schema.to_value()
}

/// An entity as it is shown: its own fields, and its state.
fn entity_schema(kind: Kind, generator: &mut SchemaGenerator) -> Value {
    let name = format!("{}View", capitalized(kind.name()));
    if !generator.definitions().contains_key(&name) {
        let mut schema = object_of(kind, generator);
        let state = EntityState::json_schema(generator).to_value();
        for (field, property) in state["properties"].as_object().expect("properties") {
            schema["properties"][field] = property.clone();
            let required = schema["required"].as_array_mut().expect("required");
            required.push(json!(field));
        }
        schema["title"] = json!(name);
        generator.definitions_mut().insert(name.clone(), schema);
    }
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// An entity as it is created: `id` may be left out.
fn create_schema(kind: Kind, generator: &mut SchemaGenerator) -> Value {
    let mut schema = object_of(kind, generator);
    without_read_only(&mut schema);
    if let Some(required) = schema["required"].as_array_mut() {
        required.retain(|name| name != "id");
    }
    define(
        generator,
        &format!("New{}", capitalized(kind.name())),
        schema,
    )
}

/// A JSON merge patch of an entity: any of its fields, and null for those that can be absent.
fn change_schema(kind: Kind, generator: &mut SchemaGenerator) -> Value {
    let mut schema = object_of(kind, generator);
    without_read_only(&mut schema);
    let object = schema.as_object_mut().expect("an object");
    let required = object.remove("required").unwrap_or_default();
    let required: Vec<&str> = required
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let properties = object["properties"].as_object_mut().expect("properties");
    properties.remove("id");
    properties.remove("link_version");
    for (name, property) in properties {
        if !required.contains(&name.as_str()) {
            let description = property["description"].take();
            *property =
                json!({"description": description, "anyOf": [property.clone(), {"type": "null"}]});
            property["anyOf"][0]
                .as_object_mut()
                .expect("a schema")
                .remove("description");
        }
    }
    define(
        generator,
        &format!("Change{}", capitalized(kind.name())),
        schema,
    )
}

fn without_read_only(schema: &mut Value) {
    let properties = schema["properties"].as_object_mut().expect("properties");
    properties.remove("next_security_token");
}

fn define(generator: &mut SchemaGenerator, name: &str, mut schema: Value) -> Value {
    schema["title"] = json!(name);
    generator.definitions_mut().insert(name.to_owned(), schema);
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn capitalized(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    first.to_uppercase() + rest
}
