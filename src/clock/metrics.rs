//! The page `/metrics`, for Prometheus and the like. Runs on `client-N`.
//!
//! It only reads existing counters, so no other thread does more work for it. Labels are closed sets: an Id, a path
//! or an address would make a new series for each client.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeMetric, NoLabelSet, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::clock::log_thread;
use crate::clock::process::ProcessReading;
use crate::clock::stats::{Readings, check_audience};
use accept::prefers_openmetrics;
use threadcast::{Error, Exchange, RequestHandler, Result};

mod accept;

/// Sizes of a backlog: how many clients have more than each of these.
const BEHIND: [u64; 4] = [0, 4 << 10, 64 << 10, 512 << 10];
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Writes families, each with its help and type.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn counter(&mut self, name: &str, help: &str, count: u64) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        family.encode_counter::<NoLabelSet, _, u64>(&count, None)
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        counts: impl Iterator<Item = (&'static str, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (value, count) in counts {
            family.encode_family(&[(label, value)])?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) -> fmt::Result {
        histogram.encode(self.0.encode_descriptor(name, help, None, MetricType::Histogram)?)
    }
}

impl Collector for Readings {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        self.encode_clients(&mut families)?;
        self.encode_pushes(&mut families)?;
        self.encode_fleet(&mut families)?;
        families.counter(
            "threadcast_unauthorized",
            "Requests without the right token",
            self.unauthorized(),
        )?;
        families.counter(
            "threadcast_log_lines_lost",
            "Lines that a place of the log did not get",
            log_thread::lost(),
        )?;
        let mut build = families.0.encode_descriptor(
            "threadcast_build",
            "Which program it is",
            None,
            MetricType::Info,
        )?;
        build.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        encode_process(&mut families, &ProcessReading::read())
    }
}

impl Readings {
    /// Clients: connected, accepted, refused, and gone.
    fn encode_clients(&self, families: &mut Families<'_>) -> fmt::Result {
        let server = self.meter.stats();
        families.gauge("threadcast_clients", "Connections open now, pages and WebSockets", server.clients)?;
        families.gauge("threadcast_websockets", "WebSockets open now", server.websockets)?;
        families.gauge("threadcast_clients_limit", "Most WebSockets at a time", self.capacity)?;
        families.gauge(
            "threadcast_draining",
            "Whether new clients should go to another server",
            u32::from(self.meter.is_draining()),
        )?;
        families.counter("threadcast_connections_accepted", "Connections accepted", server.accepted)?;
        families.counters(
            "threadcast_connections_rejected",
            "Connections rejected for want of room, or by a limit of an address",
            "reason",
            server.rejections.by_reason(),
        )?;
        families.counters(
            "threadcast_connections_closed",
            "Connections that have ended, by what ended them",
            "reason",
            server.disconnects.by_reason(),
        )?;
        families.counters(
            "threadcast_handshakes",
            "Requests for a WebSocket",
            "result",
            server.handshakes.by_result(),
        )?;
        families.counters(
            "threadcast_tls_handshakes",
            "Handshakes of TLS",
            "result",
            server.tls_handshakes.by_result(),
        )?;
        families.counters(
            "threadcast_limited",
            "How often a client sent more than it may",
            "limit",
            server.limited.by_limit(),
        )
    }

    /// Messages sent and waiting, and the duration of rounds.
    fn encode_pushes(&self, families: &mut Families<'_>) -> fmt::Result {
        let server = self.meter.stats();
        families.counter("threadcast_frames_pushed", "Frames accepted for sending", server.pushes)?;
        families.counter("threadcast_pushed_bytes", "Bytes in those, as they are sent", server.bytes)?;
        families.counter(
            "threadcast_pushed_uncompressed_bytes",
            "Bytes that would be in those if none was compressed",
            server.bytes_uncompressed,
        )?;
        families.gauge("threadcast_pumps", "Threads that write to a full socket now", server.pumps)?;
        let mut all = 0;
        let mut behind = [0_u64; BEHIND.len()];
        for backlog in self.clients.snapshot(0).0.iter().map(threadcast::Connection::backlog) {
            all += backlog;
            for (count, _) in behind.iter_mut().zip(BEHIND).filter(|(_, above)| backlog > *above) {
                *count += 1;
            }
        }
        families.gauge("threadcast_backlog_bytes", "Bytes that wait for the clients", all)?;
        let mut family = families.0.encode_descriptor(
            "threadcast_clients_behind",
            "Clients with a backlog above this size",
            None,
            MetricType::Gauge,
        )?;
        for (above, count) in BEHIND.iter().zip(behind) {
            family.encode_family(&[("above_bytes", above.to_string())])?.encode_gauge(&count)?;
        }
        let rounds = &self.rounds;
        families.counter(
            "threadcast_rounds_late",
            "Rounds of pushes that took longer than the interval",
            rounds.counts().1,
        )?;
        families.histogram(
            "threadcast_round_duration_seconds",
            "How long a round of pushes took",
            &rounds.durations,
        )?;
        families.histogram(
            "threadcast_round_lateness_seconds",
            "How late a round of pushes began",
            &rounds.lateness,
        )?;
        families.gauge(
            "threadcast_last_round_timestamp_seconds",
            "When the last round of pushes was done, since 1970",
            rounds.last_timestamp(),
        )
    }

    /// The state of the link to the other machines, if there are any.
    fn encode_fleet(&self, families: &mut Families<'_>) -> fmt::Result {
        let Some(fleet) = self.fleet.as_ref().map(|fleet| fleet.stats()) else { return Ok(()) };
        families.gauge(
            "threadcast_fleet_connected",
            "Whether messages reach the other machines now",
            u32::from(fleet.is_linked),
        )?;
        families.gauge("threadcast_fleet_machines", "Machines, this one included", fleet.machines)?;
        families.counter("threadcast_fleet_messages_sent", "Messages that Redis has taken", fleet.sent)?;
        families.counter(
            "threadcast_fleet_messages_received",
            "Messages of other machines that were pushed here",
            fleet.received,
        )?;
        let lost = &fleet.lost;
        let lost =
            [("full", lost.full), ("stale", lost.stale), ("refused", lost.refused), ("unsure", lost.unsure)];
        families.counters(
            "threadcast_fleet_messages_lost",
            "Messages that did not reach another machine, or may not have",
            "reason",
            lost.into_iter(),
        )
    }
}

/// Under the names that every client library of Prometheus uses. Leaves out unknown values.
fn encode_process(families: &mut Families<'_>, process: &ProcessReading) -> fmt::Result {
    if let Some(seconds) = process.cpu_seconds {
        let mut family = families.0.encode_descriptor(
            "process_cpu_seconds",
            "Seconds of all threads on a processor",
            None,
            MetricType::Counter,
        )?;
        family.encode_counter::<NoLabelSet, _, f64>(&seconds, None)?;
    }
    if let Some(seconds) = process.start_time {
        families.gauge("process_start_time_seconds", "When the process began, since 1970", seconds)?;
    }
    let bytes = |kib: Option<u64>| kib.map(|kib| kib << 10);
    for (name, help, value) in [
        ("process_threads", "Threads of the process", process.threads),
        ("process_resident_memory_bytes", "Memory of the process", bytes(process.resident_kib)),
        ("process_virtual_memory_bytes", "Addresses of the process", bytes(process.virtual_kib)),
        ("process_open_fds", "Descriptors that are open", process.open_fds),
        ("process_max_fds", "Most descriptors that may be open", process.max_fds),
    ] {
        value.map_or(Ok(()), |value| families.gauge(name, help, value))?;
    }
    Ok(())
}

/// The page.
pub struct MetricsHandler {
    /// The metrics that it shows.
    pub registry: Arc<Registry>,
    /// Whether others than this machine may see it.
    pub public: bool,
}

impl MetricsHandler {
    /// Makes what a handler of each request shows.
    pub fn registry(readings: Readings) -> Registry {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(readings));
        registry
    }
}

impl RequestHandler for MetricsHandler {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        check_audience(exchange, self.public)?;
        let mut page = String::new();
        let (written, content_type) = if prefers_openmetrics(&exchange.header("Accept").unwrap_or_default()) {
            (text::encode(&mut page, &self.registry), OPENMETRICS)
        } else {
            (prometheus_text::encode(&mut page, &self.registry), prometheus_text::CONTENT_TYPE)
        };
        written.map_err(|_| Error::invalid("cannot write the metrics"))?;
        exchange.set_header("Content-Type", content_type)?;
        exchange.set_header("Cache-Control", "no-store")?;
        exchange.set_header("Vary", "Accept")?;
        exchange.write(page);
        Ok(())
    }
}
