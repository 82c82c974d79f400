//! The application that the options ask for: routes, limits, topics, the fleet.

use std::env;
use std::path::Path;
use std::sync::Arc;

use crate::clock::admin::{ADMINISTRATION, Administration};
use crate::clock::clients::Clients;
use crate::clock::configuration::Source;
use crate::clock::greeting::Greeting;
use crate::clock::handlers::Site;
use crate::clock::health::HealthHandler;
use crate::clock::metrics::MetricsHandler;
use crate::clock::options::{Audience, Options};
use crate::clock::publish::{PUBLISHING, PublishHandler};
use crate::clock::rounds::RoundStats;
use crate::clock::stats::{Readings, StatsHandler};
use crate::clock::token::{Purpose, Token};
use crate::clock::topics::Topics;
use crate::clock::{access_lines, console, fleet, handlers, logging, redirect};
use threadcast::{Application, Capacity, Error, Result, StaticFiles};

/// Returns the application that the options ask for: the routes with their limits, the capacity, and the readings.
/// `also` gets each message of a client; `predecessor` is the process that this one replaces.
///
/// # Errors
/// An option names a file, a directory or a Redis that cannot be used; the error says why.
pub fn make_application(
    options: &Options,
    clients: &Arc<Clients>,
    also: fn(&str),
    predecessor: Option<u32>,
) -> Result<(Application, Capacity, Readings)> {
    let pages = match &options.www {
        Some(directory) => directory_with_index(directory)?,
        None => handlers::PAGES,
    };
    let application = Application::new();
    let application = match predecessor {
        Some(process) => application.in_place_of(process),
        None => application,
    };
    let meter = application.meter();
    let token = |purpose: Purpose, file: Option<&Path>| {
        let token = Token::find(purpose, file, env::var_os(purpose.variable))?;
        Ok::<_, Error>(token.map(Arc::new))
    };
    let admin_token = token(ADMINISTRATION, options.messages.admin_token_file.as_deref())?;
    let token = token(PUBLISHING, options.messages.publish_token_file.as_deref())?;
    let channel = options.messages.channel.as_deref();
    let meeting = fleet::options(options.messages.redis.as_deref(), channel);
    if let Some(Source::File(path, _)) = options.values.source(fleet::OPTION)
        && options.messages.redis.as_deref().is_some_and(fleet::has_password)
    {
        console::warn_if_others_may_read(path, "password in");
    }
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
    let fleet = fleet.map(|(meeting, topics)| {
        if options.instead.check {
            return meeting.check().map(|()| None);
        }
        fleet::join(meeting, topics, &greeting, meter.clone()).map(Some)
    });
    let named = |error| match error {
        Error::Invalid(what) => Error::invalid(format!("{}: {what}", options.values.name(fleet::OPTION))),
        other => other,
    };
    let fleet = fleet.transpose().map_err(named)?.flatten().map(Arc::new);
    let site = Site {
        clients: clients.clone(),
        pages,
        // The lab takes orders, but not from pages of other origins.
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
    if let Some(token) = admin_token.clone() {
        let administration = Administration { token, clients: clients.clone(), fleet: fleet.clone() };
        application = administration.routes(application);
    }
    let application = behind_proxies(application, options)
        .hosts(hosts(options))
        .delivery(options.pushes.delivery.into())
        .max_message(options.clients.max_message)
        .max_backlog(options.clients.max_backlog)
        .compression(options.clients.compression.0)
        .ping_interval(options.clients.ping_interval.0)
        .stack_size(options.clients.stack_size)
        .client_memory(kept)
        .other_memory(logging::memory(&options.log));
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
    let application =
        if options.log.access_log { application.access_log(access_lines::write) } else { application };
    let capacity = capacity(options, &application)?;
    let rounds = Arc::new(RoundStats::new(options.pushes.interval));
    let clients = clients.clone();
    let tokens = token.into_iter().chain(admin_token).collect();
    let readings = Readings { meter, capacity: capacity.clients, clients, rounds, fleet, tokens };
    Ok((watched(application, &readings, options.stats == Audience::Public), capacity, readings))
}

/// Adds the pages for monitoring.
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

/// Takes the clients' addresses from trusted proxies.
pub fn behind_proxies(application: Application, options: &Options) -> Application {
    let proxies = options.proxies.trusted_proxy.iter().copied();
    application.trusted_proxies(proxies).proxy_protocol(options.proxies.proxy_protocol)
}

/// Returns the capacity that the options set, or that the machine allows.
fn capacity(options: &Options, application: &Application) -> Result<Capacity> {
    let mut machine = Capacity::of_this_machine(application);
    if options.tls.http_port.is_some() {
        machine.clients = machine.clients.saturating_sub(redirect::PLACES).max(1);
    }
    let Some(clients) = options.clients.max_clients else { return Ok(machine) };
    if clients > machine.clients {
        let Capacity { clients: most, limit, .. } = machine;
        let name = options.values.name("max-clients");
        let risk = format!("{name} {clients} is more than is safe here, which is {most} ({limit})");
        if options.instead.check {
            return Err(Error::invalid(risk));
        }
        console::warn(risk);
    }
    Ok(Capacity::new(clients))
}

/// Returns the host names to answer to; an empty list means any.
/// The lab's own clients come by the address, or by the loopback.
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
