//! Spans as a request of OTLP/HTTP with JSON encoding (OpenTelemetry Protocol 1.5): names in lowerCamelCase, ids in
//! hexadecimal digits, 64-bit numbers as strings, enums as numbers.
//!
//! Why not the crate `opentelemetry-otlp` 0.30: with its SDK and reqwest it has 108 crates, 19 of them new here, for
//! one request whose form is stable.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::Span;

/// `SPAN_KIND_INTERNAL` and `SPAN_KIND_SERVER`.
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;

/// `STATUS_CODE_ERROR`.
const ERROR: u8 = 2;

/// The body of an `ExportTraceServiceRequest`.
pub(crate) fn export_request(spans: &[Span], instance: &str) -> String {
    let resource = [
        ("service.name", "classroom"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", instance),
    ];
    let resource: Vec<Value> = resource.into_iter().map(|(key, value)| attribute(key, value)).collect();
    let scope = json!({ "name": "classroom", "version": env!("CARGO_PKG_VERSION") });
    let spans: Vec<Value> = spans.iter().map(span).collect();
    let scope_spans = json!([{ "scope": scope, "spans": spans }]);
    json!({ "resourceSpans": [{ "resource": { "attributes": resource }, "scopeSpans": scope_spans }] }).to_string()
}

fn span(span: &Span) -> Value {
    let attributes: Vec<Value> = span.attributes.iter().map(|(key, value)| attribute(key, value)).collect();
    let mut value = json!({
        "traceId": hex(&span.context.trace),
        "spanId": hex(&span.context.span),
        "name": span.name,
        "kind": if attributes.is_empty() { INTERNAL } else { SERVER },
        "startTimeUnixNano": nanoseconds(span.begin),
        "endTimeUnixNano": nanoseconds(span.end.max(span.begin)),
        "attributes": attributes,
    });
    if let Some(parent) = &span.parent {
        value["parentSpanId"] = hex(parent).into();
    }
    if let Some(message) = span.error {
        value["status"] = json!({ "code": ERROR, "message": message });
    }
    value
}

fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn nanoseconds(at: SystemTime) -> String {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}
