//! `GET /metrics` on a separate address: figures in the Prometheus text format.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use flows::Instance;
use flows::server::SeatFigures;
use flows::server::health::CheckState;
use http::{HeaderValue, StatusCode, header};
use model::HostName;
use model::meter::{Counter, HistogramSnapshot, NamedCounters};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::timeout;

use crate::health;
use crate::health::InstanceNames;
use crate::request::context::AppState;
use crate::request::headers;
use crate::request::render;
use crate::site::VERSION;

/// `/metrics`, `/healthz` and `/readyz`, for a listener inside the operator's network. `hosts` are its names.
pub fn router(state: Arc<AppState>, hosts: Vec<HostName>) -> Router {
    let known = Arc::new((Arc::clone(&state), hosts));
    let doors = Router::new().route("/metrics", get(metrics)).merge(health::router(InstanceNames::Shown));
    doors.with_state(state).layer(from_fn_with_state(known, at_known_host))
}

/// Rejects unknown hosts, against DNS rebinding: a browser inside the network, on another site's page whose name was
/// rebound to this address, still sends that name (RFC 9110 §7.4). An address cannot be rebound.
async fn at_known_host(
    State(known): State<Arc<(Arc<AppState>, Vec<HostName>)>>,
    request: Request,
    next: Next,
) -> Response {
    let (state, hosts) = &*known;
    let is_known = |host: &HostName| {
        host.address().is_some() || host.is_loopback() || hosts.contains(host) || state.server.is_claimed(host)
    };
    let host = headers::host_of(&request).ok().and_then(HostName::of);
    if host.is_some_and(|host| is_known(&host)) {
        return next.run(request).await;
    }
    let what = "Ask by address, or list the name as [metrics] hosts in the configuration.\n";
    render::no_store(render::text(StatusCode::MISDIRECTED_REQUEST, what))
}

async fn metrics(State(state): State<Arc<AppState>>) -> Response {
    // If the database does not answer, all other figures are still reported.
    let seats = timeout(PATIENCE, Arc::clone(&state.server).seats_aside()).await.ok().flatten().unwrap_or_default();
    let mut registry = Registry::default();
    registry.register_collector(Box::new(GatheredFigures { state, seats }));
    let mut body = String::with_capacity(64 * 1024);
    if text::encode(&mut body, &registry).is_err() {
        return render::text(StatusCode::INTERNAL_SERVER_ERROR, "the figures cannot be written\n");
    }
    let mut response = render::no_store(render::text(StatusCode::OK, body));
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Time limit for the seats, which are read from the database.
const PATIENCE: Duration = Duration::from_secs(2);

struct GatheredFigures {
    state: Arc<AppState>,
    seats: Vec<SeatFigures>,
}

impl fmt::Debug for GatheredFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Figures")
    }
}

impl Collector for GatheredFigures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = MetricsText(encoder);
        page.family("gatehouse_build", "The version that runs", None, MetricType::Info, |m| {
            m.0.encode_info(&[("version", VERSION)])
        })?;
        self.health(&mut page)?;
        self.seats(&mut page)?;
        self.sessions(&mut page)?;
        self.tokens(&mut page)?;
        self.store(&mut page)?;
        self.queues(&mut page)?;
        self.connections(&mut page)?;
        let unit = Unit::Seconds;
        page.family("gatehouse_request_duration", "Time to an answer", Some(&unit), MetricType::Histogram, |m| {
            for (route, status, took) in self.state.latencies.read() {
                m.seconds(&[("route", route), ("status", status)], &took)?;
            }
            Ok(())
        })
    }
}

impl GatheredFigures {
    /// Reports each check's worst state over all instances, without details. Figures per instance are separate.
    fn health(&self, page: &mut MetricsText<'_>) -> fmt::Result {
        let checks = self.state.server.health();
        let is_ready = checks.iter().all(|check| check.state != CheckState::Failed);
        page.gauge("gatehouse_ready", "Whether /readyz answers 200", |m| m.value(&NO_LABELS, u64::from(is_ready)))?;
        let mut names: Vec<&'static str> = checks.iter().map(|check| check.name).collect();
        names.sort_unstable();
        names.dedup();
        page.gauge("gatehouse_check_failed", "Checks of /readyz that fail, by check", |m| {
            names.iter().try_for_each(|name| {
                let failed = checks.iter().any(|check| check.name == *name && check.state == CheckState::Failed);
                m.value(&[("check", *name)], u64::from(failed))
            })
        })
    }

    fn seats(&self, page: &mut MetricsText<'_>) -> fmt::Result {
        let instances = || self.state.server.instances().iter().zip(&self.seats);
        page.gauge("gatehouse_seats_total", "Licence seats; none where they are unlimited", |m| {
            let mut limited = instances().filter_map(|(instance, seats)| Some((instance, seats.total?)));
            limited.try_for_each(|(i, total)| m.value(&[("instance", &*i.info.name)], u64::from(total)))
        })?;
        page.gauge("gatehouse_seats_used", "Seats that live API sessions hold", |m| {
            instances().try_for_each(|(i, seats)| m.value(&[("instance", &*i.info.name)], seats.used))
        })?;
        page.gauge("gatehouse_seats_reserved", "Accounts that are guaranteed a seat", |m| {
            instances().try_for_each(|(i, seats)| m.value(&[("instance", &*i.info.name)], seats.reserved as u64))
        })
    }

    fn sessions(&self, page: &mut MetricsText<'_>) -> fmt::Result {
        let instances = || self.state.server.instances().iter();
        page.counter("gatehouse_api_sessions_opened", "API sessions opened here", |m| {
            instances().try_for_each(|i| m.count(&[("instance", &*i.info.name)], &i.meters().sessions_opened))
        })?;
        page.counter("gatehouse_api_sessions_refused", "API sessions not opened, by cause", |m| {
            instances().try_for_each(|i| m.tally(&i.info.name, "cause", &i.meters().sessions_refused))
        })?;
        page.counter("gatehouse_api_sessions_closed", "API sessions closed by whichever node, by reason", |m| {
            instances().try_for_each(|i| m.tally(&i.info.name, "reason", &i.meters().sessions_closed))
        })?;
        page.counter("gatehouse_api_calls_refused", "API calls that were not let in or not done, by cause", |m| {
            instances().try_for_each(|i| m.tally(&i.info.name, "cause", &i.meters().calls_refused))
        })
    }

    fn tokens(&self, page: &mut MetricsText<'_>) -> fmt::Result {
        let instances = || self.state.server.instances().iter();
        page.counter("gatehouse_tokens_issued", "Answers of the token endpoint with a token, by grant", |m| {
            instances().try_for_each(|i| m.tally(&i.info.name, "grant", &i.meters().tokens_issued))
        })?;
        page.counter("gatehouse_tokens_refused", "Answers of the token endpoint without one, by cause", |m| {
            instances().try_for_each(|i| m.tally(&i.info.name, "cause", &i.meters().tokens_refused))
        })?;
        page.counter("gatehouse_sign_ins", "Tries to sign in, by outcome", |m| {
            instances().try_for_each(|i| m.tally(&i.info.name, "outcome", &i.meters().sign_ins))
        })
    }

    fn store(&self, page: &mut MetricsText<'_>) -> fmt::Result {
        let figures = self.state.server.store_figures();
        page.gauge("gatehouse_store_writes_waiting", "Changes that wait to be committed, or are being", |m| {
            m.value(&NO_LABELS, figures.waiting as u64)
        })?;
        page.counter("gatehouse_store_commits", "Durable commits", |m| m.number(&NO_LABELS, figures.commits))?;
        page.counter("gatehouse_store_changes", "Changes that were committed", |m| {
            m.number(&NO_LABELS, figures.batches)
        })?;
        page.family(
            "gatehouse_store_commit_changes",
            "Changes that shared one commit",
            None,
            MetricType::Histogram,
            |m| m.spread(&NO_LABELS, &figures.sizes.read(), 1.0),
        )?;
        let unit = Unit::Seconds;
        page.family("gatehouse_store_commit_duration", "Time of one commit", Some(&unit), MetricType::Histogram, |m| {
            m.seconds(&NO_LABELS, &figures.latency.read())
        })
    }

    fn connections(&self, page: &mut MetricsText<'_>) -> fmt::Result {
        let figures = &self.state.connections;
        page.gauge("gatehouse_connections_open", "Open client connections", |m| {
            m.value(&NO_LABELS, figures.open() as u64)
        })?;
        let (name, help) = ("gatehouse_connections_held", "Memory held for unfinished requests and unread responses");
        page.family(name, help, Some(&Unit::Bytes), MetricType::Gauge, |m| m.value(&NO_LABELS, figures.held() as u64))?;
        page.counter("gatehouse_connections_ended", "Connections closed to free resources for others, by cause", |m| {
            let mut counts = figures.ended_early().into_iter();
            counts.try_for_each(|(cause, count)| m.number(&[("cause", cause)], count))
        })
    }

    fn queues(&self, page: &mut MetricsText<'_>) -> fmt::Result {
        let server = &self.state.server;
        let passwords = server.password_queue();
        page.gauge("gatehouse_passwords_waiting", "Passwords that wait to be hashed", |m| {
            m.value(&NO_LABELS, passwords.waiting as u64)
        })?;
        page.gauge("gatehouse_passwords_waiting_limit", "When so many wait, the next is told to come back", |m| {
            m.value(&NO_LABELS, passwords.most as u64)
        })?;
        let unit = Unit::Bytes;
        page.family(
            "gatehouse_audit_waiting",
            "Audit events in memory that are not written yet",
            Some(&unit),
            MetricType::Gauge,
            |m| {
                server
                    .instances()
                    .iter()
                    .try_for_each(|i| m.value(&[("instance", &*i.info.name)], i.audit_buffer_fill().waiting as u64))
            },
        )?;
        page.counter(
            "gatehouse_audit_alarms",
            "Breaks of the audit's chain, and events that it does not vouch for",
            |m| server.instances().iter().try_for_each(|i| m.tally(&i.info.name, "kind", i.audit_alarms())),
        )?;
        page.counter(
            "gatehouse_audit_refusals",
            "Refusals of unauthenticated requests, by how the audit records them",
            |m| server.instances().iter().try_for_each(|i| m.tally(&i.info.name, "kept", i.refusals_kept())),
        )?;
        page.gauge(
            "gatehouse_audit_refusals_held_back",
            "1 while refusals of unauthenticated requests are only counted, because the disk is nearly full",
            |m| {
                let held_back = |i: &Instance| u64::from(i.are_refusals_held_back());
                server.instances().iter().try_for_each(|i| m.value(&[("instance", &*i.info.name)], held_back(i)))
            },
        )?;
        if let Some(age) = server.feed_age() {
            let unit = Unit::Seconds;
            page.family(
                "gatehouse_feed_age",
                "Since memory last followed what other nodes changed",
                Some(&unit),
                MetricType::Gauge,
                |m| m.0.encode_gauge(&age.as_secs_f64()),
            )?;
        }
        page.gauge("gatehouse_memory_behind", "Memory lacks a change that is committed", |m| {
            let mut instances = server.instances().iter();
            instances.try_for_each(|i| m.value(&[("instance", &*i.info.name)], u64::from(i.behind().is_some())))
        })?;
        page.counter("gatehouse_database_rewinds", "Times that the database was found to have gone back", |m| {
            let mut instances = server.instances().iter();
            instances.try_for_each(|i| m.number(&[("instance", &*i.info.name)], i.meters().database_rewinds.read()))
        })?;
        let unit = Unit::Seconds;
        page.family(
            "gatehouse_task_idle",
            "Since the last turn of a background task",
            Some(&unit),
            MetricType::Gauge,
            |m| server.idle_tasks().try_for_each(|(task, idle)| m.span(&[("task", task)], idle)),
        )?;
        page.counter("gatehouse_task_panics", "Panics in background tasks, by task", |m| {
            server.task_panics().into_iter().try_for_each(|(task, count)| m.number(&[("task", task)], count))
        })?;
        page.counter("gatehouse_faults", "Faults of requests and background tasks, by kind", |m| {
            server.faults().counts().into_iter().try_for_each(|(kind, count)| m.number(&[("kind", kind)], count))
        })?;
        let (sent, lost) = server.letters();
        page.counter("gatehouse_letters", "Mail to people, by outcome", |m| {
            m.number(&[("outcome", "sent")], sent)?;
            m.number(&[("outcome", "lost")], lost)
        })?;
        let spans_lost = self.state.tracer.as_ref().map_or(0, crate::request::traces::Tracer::dropped);
        page.counter("gatehouse_spans_dropped", "Spans that were sampled and not exported", |m| {
            m.number(&NO_LABELS, spans_lost)
        })
    }
}

const NO_LABELS: [(&str, &str); 0] = [];

/// The metrics text being written.
struct MetricsText<'a>(DescriptorEncoder<'a>);

impl MetricsText<'_> {
    fn gauge(&mut self, name: &str, help: &str, fill: impl FnOnce(&mut Metric<'_>) -> fmt::Result) -> fmt::Result {
        self.family(name, help, None, MetricType::Gauge, fill)
    }

    fn counter(&mut self, name: &str, help: &str, fill: impl FnOnce(&mut Metric<'_>) -> fmt::Result) -> fmt::Result {
        self.family(name, help, None, MetricType::Counter, fill)
    }

    fn family(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        kind: MetricType,
        fill: impl FnOnce(&mut Metric<'_>) -> fmt::Result,
    ) -> fmt::Result {
        fill(&mut Metric(self.0.encode_descriptor(name, help, unit, kind)?))
    }
}

struct Metric<'a>(MetricEncoder<'a>);

impl Metric<'_> {
    fn value(&mut self, labels: &impl EncodeLabelSet, value: u64) -> fmt::Result {
        self.0.encode_family(labels)?.encode_gauge(&value)
    }

    fn span(&mut self, labels: &impl EncodeLabelSet, span: Duration) -> fmt::Result {
        self.0.encode_family(labels)?.encode_gauge(&span.as_secs_f64())
    }

    fn number(&mut self, labels: &impl EncodeLabelSet, value: u64) -> fmt::Result {
        self.0.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn count(&mut self, labels: &impl EncodeLabelSet, count: &Counter) -> fmt::Result {
        self.number(labels, count.read())
    }

    fn tally(&mut self, instance: &str, by: &str, tally: &NamedCounters) -> fmt::Result {
        let counts = tally.read();
        counts.into_iter().try_for_each(|(name, count)| self.number(&[("instance", instance), (by, name)], count))
    }

    /// Converts from microseconds.
    fn seconds(&mut self, labels: &impl EncodeLabelSet, spread: &HistogramSnapshot) -> fmt::Result {
        self.spread(labels, spread, 1e-6)
    }

    #[expect(clippy::cast_precision_loss, reason = "figures need no 53 bits")]
    fn spread(&mut self, labels: &impl EncodeLabelSet, spread: &HistogramSnapshot, unit: f64) -> fmt::Result {
        let bound = |bound: Option<u64>| bound.map_or(f64::INFINITY, |bound| bound as f64 * unit);
        let buckets: Vec<(f64, u64)> = spread.buckets.iter().map(|(most, count)| (bound(*most), *count)).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = spread.sum as f64 * unit;
        self.0.encode_family(labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}
