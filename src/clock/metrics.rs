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
        families.counter("threadcast_unauthorized", "Requests without a valid token", self.unauthorized())?;
        families.counter(
            "threadcast_log_lines_lost",
            "Lines that standard output or the log file did not get",
            log_thread::lost(),
        )?;
        let mut build = families.0.encode_descriptor(
            "threadcast_build",
            "Version of the program",
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
        families.gauge("threadcast_clients_limit", "Most concurrent WebSockets", self.capacity)?;
        families.gauge(
            "threadcast_draining",
            "Whether new clients should go to another server",
            u32::from(self.meter.is_draining()),
        )?;
        families.counter("threadcast_connections_accepted", "Connections accepted", server.accepted)?;
        families.counters(
            "threadcast_connections_rejected",
            "Connections rejected, by reason",
            "reason",
            server.rejections.by_reason(),
        )?;
        families.counters(
            "threadcast_connections_closed",
            "Connections that ended, by reason",
            "reason",
            server.disconnects.by_reason(),
        )?;
        families.counters(
            "threadcast_handshakes",
            "WebSocket handshakes, by result",
            "result",
            server.handshakes.by_result(),
        )?;
        families.counters(
            "threadcast_tls_handshakes",
            "TLS handshakes, by result",
            "result",
            server.tls_handshakes.by_result(),
        )?;
        families.counters(
            "threadcast_limited",
            "How often a client exceeded a limit, by limit",
            "limit",
            server.limited.by_limit(),
        )
    }

    /// Messages sent and waiting, and the duration of rounds.
    fn encode_pushes(&self, families: &mut Families<'_>) -> fmt::Result {
        let server = self.meter.stats();
        families.counter("threadcast_frames_pushed", "Frames accepted for sending", server.pushes)?;
        families.counter("threadcast_pushed_bytes", "Bytes of those frames, as sent", server.bytes)?;
        families.counter(
            "threadcast_pushed_uncompressed_bytes",
            "Bytes of those frames before compression",
            server.bytes_uncompressed,
        )?;
        families.gauge("threadcast_pumps", "Threads now writing to a full socket", server.pumps)?;
        let mut all = 0;
        let mut behind = [0_u64; BEHIND.len()];
        for backlog in self.clients.snapshot(0).0.iter().map(threadcast::Connection::backlog) {
            all += backlog;
            for (count, _) in behind.iter_mut().zip(BEHIND).filter(|(_, above)| backlog > *above) {
                *count += 1;
            }
        }
        families.gauge("threadcast_backlog_bytes", "Bytes queued for clients", all)?;
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
            "Duration of a round of pushes",
            &rounds.durations,
        )?;
        families.histogram(
            "threadcast_round_lateness_seconds",
            "Delay of the start of a round of pushes",
            &rounds.lateness,
        )?;
        families.gauge(
            "threadcast_last_round_timestamp_seconds",
            "End of the last round of pushes, since 1970",
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
        families.counter("threadcast_fleet_messages_sent", "Messages that Redis accepted", fleet.sent)?;
        families.counter(
            "threadcast_fleet_messages_received",
            "Messages from other machines, pushed to clients of this one",
            fleet.received,
        )?;
        let lost = &fleet.lost;
        let lost =
            [("full", lost.full), ("stale", lost.stale), ("refused", lost.refused), ("unsure", lost.unsure)];
        families.counters(
            "threadcast_fleet_messages_lost",
            "Messages that did not reach another machine, or may not have, by reason",
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
            "Seconds of CPU time of all threads",
            None,
            MetricType::Counter,
        )?;
        family.encode_counter::<NoLabelSet, _, f64>(&seconds, None)?;
    }
    if let Some(seconds) = process.start_time {
        families.gauge("process_start_time_seconds", "Start of the process, since 1970", seconds)?;
    }
    let bytes = |kib: Option<u64>| kib.map(|kib| kib << 10);
    for (name, help, value) in [
        ("process_threads", "Threads of the process", process.threads),
        ("process_resident_memory_bytes", "Resident memory of the process", bytes(process.resident_kib)),
        ("process_virtual_memory_bytes", "Virtual memory of the process", bytes(process.virtual_kib)),
        ("process_open_fds", "Open file descriptors", process.open_fds),
        ("process_max_fds", "Limit of open file descriptors", process.max_fds),
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
