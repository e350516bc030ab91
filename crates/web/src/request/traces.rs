//! Traces: one span per sampled request, queued for an exporter. A span has the route, outcome, duration and request
//! id, but no query, address, user or secret.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use model::meter::Counter;
use model::{Rng, Timestamp};
use tokio::sync::mpsc;

use crate::request::latencies::Route;
use crate::request::start::RequestStart;
use crate::server::TrustedProxies;

/// Maximum number of spans waiting for export. Further spans are dropped and counted: an unreachable collector must not
/// delay requests.
const MAX_WAITING: usize = 4096;

/// A finished span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub trace: [u8; 16],
    pub id: [u8; 8],
    /// The calling span in another system.
    pub parent: Option<[u8; 8]>,
    pub began: Timestamp,
    pub took: Duration,
    pub method: &'static str,
    pub route: &'static str,
    pub status: StatusCode,
    /// `None` if no instance has the request's host.
    pub instance: Option<Arc<str>>,
    pub request: String,
}

/// Decides which requests are traced, and queues their spans.
pub struct Tracer {
    queue: mpsc::Sender<Span>,
    /// A trace is sampled if the last 56 bits of its id are below this value (W3C Trace Context 2 §3.2.2.3.1), so all
    /// nodes decide alike.
    threshold: u64,
    dropped: Arc<Counter>,
}

/// The exporter's end of the queue.
pub struct Spans {
    queue: mpsc::Receiver<Span>,
    dropped: Arc<Counter>,
}

impl Spans {
    /// Waits for at least one span and takes at most `most`. Returns false when the queue is closed.
    pub async fn take(&mut self, group: &mut Vec<Span>, most: usize) -> bool {
        self.queue.recv_many(group, most).await > 0
    }

    /// Counts spans that were taken but not exported.
    pub fn lost(&self, spans: usize) {
        self.dropped.add(spans as u64);
    }
}

/// 2^56, the number of values of the part of a trace id that decides about sampling.
const ALL: u64 = 1 << 56;

/// A span whose request is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenSpan {
    trace: [u8; 16],
    id: [u8; 8],
    parent: Option<[u8; 8]>,
}

/// An answered request, for its span.
pub(crate) struct AnsweredRequest<'a> {
    pub(crate) arrival: RequestStart,
    pub(crate) took: Duration,
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) status: StatusCode,
}

impl Tracer {
    /// A tracer that samples `ratio` (0 to 1) of the traces that start here, and the exporter's end of its queue.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "clamped")]
    pub fn new(ratio: f64) -> (Self, Spans) {
        let (queue, spans) = mpsc::channel(MAX_WAITING);
        let dropped = Arc::<Counter>::default();
        let threshold = (ratio.clamp(0.0, 1.0) * ALL as f64) as u64;
        (Self { queue, threshold, dropped: Arc::clone(&dropped) }, Spans { queue: spans, dropped })
    }

    /// The number of spans lost because the queue was full or the collector unreachable.
    pub fn dropped(&self) -> u64 {
        self.dropped.read()
    }

    /// Returns `None` if the request is not traced. Only a trusted proxy's `traceparent` is used; the proxy has decided
    /// then whether the trace is sampled.
    pub(crate) fn begin(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
        proxies: &TrustedProxies,
        rng: &mut dyn Rng,
    ) -> Option<OpenSpan> {
        let mut id = [0; 8];
        let believed = proxies.trusts(peer.to_canonical());
        if let Some(parent) = Some(headers).filter(|_| believed).and_then(traceparent) {
            rng.fill(&mut id);
            return parent.sampled.then_some(OpenSpan { trace: parent.trace, id, parent: Some(parent.id) });
        }
        let mut trace = [0; 16];
        rng.fill(&mut trace);
        let (_, tail) = trace.split_last_chunk::<8>()?;
        if u64::from_be_bytes(*tail) % ALL >= self.threshold {
            return None;
        }
        rng.fill(&mut id);
        Some(OpenSpan { trace, id, parent: None })
    }

    pub(crate) fn finish(&self, begun: OpenSpan, request: &AnsweredRequest<'_>, instance: Option<Arc<str>>) {
        let span = Span {
            trace: begun.trace,
            id: begun.id,
            parent: begun.parent,
            began: request.arrival.now,
            took: request.took,
            method: known_method(request.method),
            route: Route::of(request.path).name(),
            status: request.status,
            instance,
            request: request.arrival.id.to_string(),
        };
        if self.queue.try_send(span).is_err() {
            self.dropped.add(1);
        }
    }
}

/// The method's name, or `_OTHER` for unknown methods (OpenTelemetry HTTP conventions), so clients cannot add names.
fn known_method(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

struct Parent {
    trace: [u8; 16],
    id: [u8; 8],
    sampled: bool,
}

/// W3C Trace Context §3.2: `version-trace-parent-flags` in lower-case hexadecimal, neither id all zeros. A later
/// version may add more after another hyphen.
fn traceparent(headers: &HeaderMap) -> Option<Parent> {
    let mut lines = headers.get_all("traceparent").iter();
    let (line, None) = (lines.next()?.to_str().ok()?, lines.next()) else { return None };
    let mut parts = line.trim().split('-');
    let (version, trace, id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let [version] = hex::<1>(version)?;
    if version == 0xff || (version == 0 && parts.next().is_some()) {
        return None;
    }
    let (trace, id, [flags]) = (hex::<16>(trace)?, hex::<8>(id)?, hex::<1>(flags)?);
    (trace != [0; 16] && id != [0; 8]).then_some(Parent { trace, id, sampled: flags & 1 == 1 })
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if text.len() != 2 * N || !text.bytes().all(digits) {
        return None;
    }
    let mut bytes = [0; N];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";
    const PROXY: [u8; 4] = [10, 0, 0, 1];

    /// Knuth's linear congruential generator: the same numbers in every run, spread well enough.
    struct SampleSequence(u64);

    impl Rng for SampleSequence {
        fn fill(&mut self, bytes: &mut [u8]) {
            for byte in bytes {
                self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *byte = self.0.to_be_bytes()[0];
            }
        }
    }

    fn begin(ratio: f64, peer: [u8; 4], traceparents: &[&str]) -> Option<OpenSpan> {
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().expect("a network")]);
        let mut headers = HeaderMap::new();
        for line in traceparents {
            headers.append("traceparent", line.parse().expect("a header value"));
        }
        let (tracer, _spans) = Tracer::new(ratio);
        tracer.begin(&headers, peer.into(), &proxies, &mut SampleSequence(7))
    }

    #[test]
    fn a_proxy_of_ours_says_which_trace_it_is_and_whether_it_is_sampled() {
        let begun = begin(0.0, PROXY, &[&format!("00-{TRACE}-{SPAN}-01")]).expect("sampled there");
        assert_eq!(begun.trace, hex(TRACE).expect("hex"));
        assert_eq!(begun.parent, hex(SPAN));
        assert_ne!(begun.id, hex(SPAN).expect("hex"), "a span of its own");
        assert_eq!(begin(1.0, PROXY, &[&format!("00-{TRACE}-{SPAN}-00")]), None, "not sampled there");
    }

    #[test]
    fn nobody_else_is_believed_and_nonsense_is_not_either() {
        let good = format!("00-{TRACE}-{SPAN}-01");
        let begun = begin(1.0, [192, 0, 2, 1], &[&good]).expect("sampled here");
        assert_eq!(begun.parent, None);
        for bad in [
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}"),
            "x".to_owned(),
            String::new(),
        ] {
            assert_eq!(begin(1.0, PROXY, &[&bad]).expect("begins here").parent, None, "{bad}");
        }
        assert_eq!(begin(1.0, PROXY, &[&good, &good]).expect("begins here").parent, None, "two of them");
        assert!(begin(1.0, PROXY, &[&format!("01-{TRACE}-{SPAN}-01-more")]).expect("later version").parent.is_some());
    }

    #[test]
    fn the_ratio_is_of_traces() {
        assert_eq!(begin(0.0, [192, 0, 2, 1], &[]), None);
        assert!(begin(1.0, [192, 0, 2, 1], &[]).is_some());
        let (tracer, _spans) = Tracer::new(0.25);
        let mut rng = SampleSequence(0);
        let begun = (0..1000).filter(|_| {
            let proxies = TrustedProxies::default();
            tracer.begin(&HeaderMap::new(), [0; 4].into(), &proxies, &mut rng).is_some()
        });
        let sampled = begun.count();
        assert!((150..350).contains(&sampled), "{sampled}");
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (tracer, mut spans) = Tracer::new(1.0);
        let arrival = RequestStart {
            id: model::audit::RequestId::new(Timestamp(0), 1, 1),
            now: Timestamp(0),
            peer: PROXY.into(),
            is_https_only: false,
        };
        for _ in 0..=MAX_WAITING {
            let begun = OpenSpan { trace: [1; 16], id: [2; 8], parent: None };
            let request = AnsweredRequest {
                arrival,
                took: Duration::ZERO,
                method: &Method::GET,
                path: "/id/account/login",
                status: StatusCode::OK,
            };
            tracer.finish(begun, &request, None);
        }
        assert_eq!(tracer.dropped(), 1);
        assert_eq!(spans.queue.try_recv().expect("one waits").route, "page");
    }
}
