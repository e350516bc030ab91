//! Exports spans by OTLP over HTTP in its JSON encoding (OpenTelemetry Protocol 1.x §"JSON Protobuf Encoding"), in a
//! background task. An unreachable collector loses spans and has no other effect.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use tokio::time::timeout;
use url::Url;
use web::traces::{Span, Spans};

use crate::http_client;
use crate::problem::StartupProblem;

/// Maximum number of spans in one export.
const GROUP: usize = 512;
/// Time for which spans are collected before an export.
const GATHERING: Duration = Duration::from_secs(2);
/// Timeout of one export.
const PATIENCE: Duration = Duration::from_secs(10);

/// Address of an OTLP collector.
#[derive(Clone, Debug)]
pub struct Collector {
    url: Url,
}

impl Collector {
    /// Takes the base address as in `OTEL_EXPORTER_OTLP_ENDPOINT` and appends `/v1/traces`.
    pub fn new(base: &str) -> Result<Self, &'static str> {
        const WRITE: &str = "write the collector's address like http://127.0.0.1:4318";
        let mut url = Url::parse(base).map_err(|_| WRITE)?;
        let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() || !plain {
            return Err(WRITE);
        }
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(Self { url })
    }

    /// Exports until the span channel closes.
    pub async fn export(self, mut spans: Spans) {
        let mut well = true;
        loop {
            let mut group = Vec::new();
            if !spans.take(&mut group, GROUP).await {
                return;
            }
            let gathering = async { while group.len() < GROUP && spans.take(&mut group, GROUP).await {} };
            // On timeout or a closed channel alike, the collected spans are exported.
            let _gathered = timeout(GATHERING, gathering).await;
            match self.send(&group).await {
                Ok(()) => well = true,
                Err(problem) => {
                    spans.lost(group.len());
                    if std::mem::take(&mut well) {
                        tracing::warn!(%problem, spans = group.len(), "traces are not exported");
                    }
                }
            }
        }
    }

    async fn send(&self, spans: &[Span]) -> Result<(), StartupProblem> {
        let mend = "check `otlp` under [traces], and the collector there";
        let sent = timeout(PATIENCE, http_client::post_json(&self.url, document(spans))).await;
        let status = match sent {
            Ok(Ok(status)) if status.is_success() => return Ok(()),
            Ok(Ok(status)) => format!("the collector answered {status}"),
            Ok(Err(error)) => format!("the collector at {} cannot be reached: {error:#}", self.url),
            Err(_) => format!("the collector at {} does not answer", self.url),
        };
        Err(StartupProblem::new(status, mend))
    }
}

/// `ExportTraceServiceRequest`, reduced to the members that these spans need.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Export<'a> {
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
    attributes: Vec<Attribute<'a>>,
}

#[derive(Serialize)]
struct ScopeSpans<'a> {
    scope: Scope<'a>,
    spans: Vec<OtlpSpan<'a>>,
}

#[derive(Serialize)]
struct Scope<'a> {
    name: &'a str,
    version: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OtlpSpan<'a> {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    name: String,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Attribute<'a>>,
    status: Status,
}

#[derive(Serialize)]
struct Status {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u8>,
}

#[derive(Serialize)]
struct Attribute<'a> {
    key: &'a str,
    value: AnyValue<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum AnyValue<'a> {
    StringValue(&'a str),
    /// This encoding writes 64-bit integers as strings.
    IntValue(String),
}

fn text<'a>(key: &'a str, value: &'a str) -> Attribute<'a> {
    Attribute { key, value: AnyValue::StringValue(value) }
}

const SERVER: u8 = 2;
const ERROR: u8 = 2;

fn document(spans: &[Span]) -> Vec<u8> {
    let resource =
        Resource { attributes: vec![text("service.name", "gatehouse"), text("service.version", web::VERSION)] };
    let scope = Scope { name: "gatehouse", version: web::VERSION };
    let scope_spans = [ScopeSpans { scope, spans: spans.iter().map(otlp).collect() }];
    let export = Export { resource_spans: [ResourceSpans { resource, scope_spans }] };
    serde_json::to_vec(&export).expect("spans are strings and numbers")
}

fn otlp(span: &Span) -> OtlpSpan<'_> {
    let began = u128::try_from(span.began.micros()).unwrap_or(0) * 1000;
    let status = span.status.as_u16();
    let mut attributes = vec![
        text("http.request.method", span.method),
        text("http.route", span.route),
        Attribute { key: "http.response.status_code", value: AnyValue::IntValue(status.to_string()) },
        text("gatehouse.request_id", &span.request),
    ];
    attributes.extend(span.instance.as_deref().map(|name| text("gatehouse.instance", name)));
    OtlpSpan {
        trace_id: hex(&span.trace),
        span_id: hex(&span.id),
        parent_span_id: span.parent.map(|id| hex(&id)),
        name: format!("{} {}", span.method, span.route),
        kind: SERVER,
        start_time_unix_nano: began.to_string(),
        end_time_unix_nano: (began + span.took.as_nanos()).to_string(),
        attributes,
        // Only server errors (5xx) set the error status: a refusal is a normal answer.
        status: Status { code: (status >= 500).then_some(ERROR) },
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_collectors_address_is_a_base_to_which_the_path_is_added() {
        let url = |base: &str| Collector::new(base).map(|collector| collector.url.to_string());
        assert_eq!(url("http://127.0.0.1:4318").as_deref(), Ok("http://127.0.0.1:4318/v1/traces"));
        assert_eq!(url("https://otlp.example.com/team/").as_deref(), Ok("https://otlp.example.com/team/v1/traces"));
        for bad in ["127.0.0.1:4318", "grpc://x", "http://u:p@x", "http://x?y", ""] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }
}
