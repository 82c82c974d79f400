//! The application that the options ask for: routes, limits, topics, the fleet.

use std::env;
use std::path::Path;
use std::sync::Arc;

use crate::clock::clients::Clients;
use crate::clock::greeting::Greeting;
use crate::clock::handlers::Site;
use crate::clock::health::HealthHandler;
use crate::clock::metrics::MetricsHandler;
use crate::clock::options::{Audience, Options};
use crate::clock::publish::{PublishHandler, Token};
use crate::clock::rounds::RoundStats;
use crate::clock::stats::{Readings, StatsHandler};
use crate::clock::topics::Topics;
use crate::clock::{console, fleet, handlers, logging, publish, redirect};
use threadcast::{Application, Capacity, Error, Result, StaticFiles};

/// Returns what the options ask for: the routes with their limits, how many clients there may be, and what can be read
/// of it all. `also` gets each message of a client.
///
/// # Errors
/// What is wrong with an option that names something outside: a file, a directory, a Redis.
pub fn from_options(
    options: &Options,
    clients: &Arc<Clients>,
    also: fn(&str),
) -> Result<(Application, Capacity, Readings)> {
    let pages = match &options.www {
        Some(directory) => directory_with_index(directory)?,
        None => handlers::PAGES,
    };
    let application = Application::new();
    let meter = application.meter();
    let token = Token::find(options.messages.publish_token_file.as_deref(), env::var_os(publish::TOKEN))?;
    let token = token.map(Arc::new);
    let channel = options.messages.channel.as_deref();
    let meeting = fleet::options(options.messages.redis.as_deref(), channel, env::var_os(fleet::URL))?;
    if channel.is_some() && meeting.is_none() {
        console::warn("--channel does nothing without --redis or THREADCAST_REDIS");
    }
    if !options.messages.topics.is_empty() && token.is_none() && meeting.is_none() {
        console::warn(
            "--topics does nothing without --publish-token-file or --redis, or the variables for them",
        );
    }
    let topics = (token.is_some() || meeting.is_some())
        .then(|| Arc::new(Topics::new(options.messages.topics.clone())));
    let greeting = Arc::new(Greeting::new(options.pushes.interval, options.lab.lab));
    let fleet = meeting.as_ref().zip(topics.as_ref());
    let fleet = fleet.map(|(meeting, topics)| fleet::join(meeting, topics, &greeting, meter.clone()));
    let source = if options.messages.redis.is_some() { "--redis" } else { fleet::URL };
    let named = |error| match error {
        Error::Invalid(what) => Error::invalid(format!("{source}: {what}")),
        other => other,
    };
    let fleet = fleet.transpose().map_err(named)?.map(Arc::new);
    let site = Site {
        clients: clients.clone(),
        pages,
        // The lab obeys: not to any page that somebody looks at.
        origins: Some(options.allow_origin.clone()).filter(|origins| options.lab.lab || !origins.is_empty()),
        also,
        greeting,
        topics: topics.clone(),
        fleet: fleet.clone(),
    };
    let mut application = handlers::routes(application, site);
    let kept = topics.as_ref().map_or(0, |topics| topics.memory());
    if let (Some(token), Some(topics)) = (token.clone(), topics) {
        let handler = move || PublishHandler { token: token.clone(), topics: topics.clone() };
        application = application.page("/publish", handler);
    }
    let application = application
        .hosts(hosts(options))
        .delivery(options.pushes.delivery.into())
        .max_message(options.clients.max_message)
        .max_backlog(options.clients.max_backlog)
        .compression(options.clients.compression.0)
        .ping_interval(options.clients.ping_interval.0)
        .stack_size(options.clients.stack_size)
        .client_memory(kept)
        .other_memory(logging::memory(options.log.logging.filter(), options.log.log_file.as_deref()));
    let application = match options.clients.max_clients_per_address {
        Some(clients) => application.max_clients_per_address(clients),
        None => application,
    };
    let application = match options.clients.max_connects_per_address {
        Some(rate) => application.max_connects_per_address(rate),
        None => application,
    };
    let application = match options.clients.max_messages {
        Some(rate) => application.max_messages(rate),
        None => application,
    };
    let application = match options.clients.max_bytes {
        Some(rate) => application.max_bytes(rate),
        None => application,
    };
    let application = application.over_limit(options.clients.over_limit.into());
    let capacity = capacity(options, &application);
    let rounds = Arc::new(RoundStats::new(options.pushes.interval));
    let clients = clients.clone();
    let readings = Readings { meter, capacity: capacity.clients, clients, rounds, fleet, token };
    Ok((watched(application, &readings, options.stats == Audience::Public), capacity, readings))
}

/// Adds the pages for those who watch the program.
fn watched(application: Application, readings: &Readings, public: bool) -> Application {
    let health = |for_newcomers| {
        let readings = readings.clone();
        move || HealthHandler { readings: readings.clone(), for_newcomers }
    };
    let (stats, registry) = (readings.clone(), Arc::new(MetricsHandler::registry(readings.clone())));
    application
        .page("/stats", move || StatsHandler { readings: stats.clone(), public })
        .page("/metrics", move || MetricsHandler { registry: registry.clone(), public })
        .page_for_any_host("/health", health(false))
        .page_for_any_host("/ready", health(true))
}

/// Returns what the machine allows, or what was asked for.
fn capacity(options: &Options, application: &Application) -> Capacity {
    let mut machine = Capacity::of_this_machine(application);
    if options.tls.http_port.is_some() {
        machine.clients = machine.clients.saturating_sub(redirect::PLACES).max(1);
    }
    let Some(clients) = options.clients.max_clients else { return machine };
    if clients > machine.clients {
        let Capacity { clients: most, limit, .. } = machine;
        console::warn(format_args!(
            "--max-clients {clients} is more than is safe here, which is {most} ({limit})"
        ));
    }
    Capacity::new(clients)
}

/// Returns the names to answer to; none for any. The lab's own clients come by the address, or by the loopback.
pub fn hosts(options: &Options) -> Vec<String> {
    let own = options.address.filter(|address| !address.is_unspecified()).map(|address| address.to_string());
    let of_the_lab = ["localhost".to_owned()].into_iter().chain(own).filter(|_| options.lab.lab);
    options.host.iter().cloned().chain(of_the_lab).collect()
}

fn directory_with_index(directory: &Path) -> Result<StaticFiles> {
    let files = StaticFiles::directory(directory)?;
    match files.read("index.html") {
        Ok(_) => Ok(files),
        Err(_) => Err(Error::invalid(format!(
            "cannot serve the directory {}: it has no index.html",
            directory.display()
        ))),
    }
}
