//! Spans in OTLP's JSON form (OpenTelemetry Protocol 1.0, the message `ExportTraceServiceRequest`).

use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{Span, TraceContext, Value};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: Resource<'a>,
    scope_spans: [ScopeSpans<'a>; 1],
}

#[derive(Serialize)]
struct Resource<'a> {
    attributes: &'a [Attribute<'a>],
}

#[derive(Serialize)]
struct ScopeSpans<'a> {
    scope: Scope,
    spans: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
    version: &'static str,
}

/// A span: 64-bit numbers are texts, and ids are hexadecimal.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    flags: u32,
    name: &'a str,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Attribute<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<[Link; 1]>,
    status: Status,
}

#[derive(Serialize)]
struct Attribute<'a> {
    key: &'a str,
    value: &'a Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    trace_id: String,
    span_id: String,
}

#[derive(Serialize)]
struct Status {
    /// The status code: 0 is unset, 2 is an error.
    #[serde(skip_serializing_if = "is_unset")]
    code: u8,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde wants it
const fn is_unset(code: &u8) -> bool {
    *code == 0
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Text(text) => map.serialize_entry("stringValue", text)?,
            Self::Number(number) => map.serialize_entry("intValue", &number.to_string())?,
        }
        map.end()
    }
}

impl<'a> From<&'a Span> for Row<'a> {
    fn from(span: &'a Span) -> Self {
        let begun = span.begun.duration_since(SystemTime::UNIX_EPOCH);
        let begun = begun.unwrap_or(Duration::ZERO);
        let attributes = span.attributes.iter();
        Self {
            trace_id: trace_id(span.context),
            span_id: span_id(span.context.span),
            parent_span_id: span.parent.map(span_id),
            flags: 1,
            name: &span.name,
            kind: span.kind as u8,
            start_time_unix_nano: begun.as_nanos().to_string(),
            end_time_unix_nano: (begun + span.took).as_nanos().to_string(),
            attributes: attributes
                .map(|(key, value)| Attribute { key, value })
                .collect(),
            links: span.link.map(|link| {
                [Link {
                    trace_id: trace_id(link),
                    span_id: span_id(link.span),
                }]
            }),
            status: Status {
                code: if span.is_failed { 2 } else { 0 },
            },
        }
    }
}

fn trace_id(context: TraceContext) -> String {
    format!("{:032x}", context.trace)
}

fn span_id(span: u64) -> String {
    format!("{span:016x}")
}

/// Returns the body of a request with these spans.
pub(super) fn body(instance: &str, spans: &[Span]) -> String {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    let values = ["roomcast", VERSION, instance].map(|text| Value::Text(text.to_owned().into()));
    let keys = ["service.name", "service.version", "service.instance.id"];
    let attributes = keys.into_iter().zip(&values);
    let attributes: Vec<_> = attributes
        .map(|(key, value)| Attribute { key, value })
        .collect();
    let request = Request {
        resource_spans: [ResourceSpans {
            resource: Resource {
                attributes: &attributes,
            },
            scope_spans: [ScopeSpans {
                scope: Scope {
                    name: "roomcast",
                    version: VERSION,
                },
                spans: spans.iter().map(Row::from).collect(),
            }],
        }],
    };
    serde_json::to_string(&request).unwrap_or_default() // texts and numbers always serialize
}
