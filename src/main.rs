//! The program `threadcast`: options, logging, the server, the `send` thread, and a wait for a signal.
#![forbid(unsafe_code)]

mod clock;
mod lab;

use std::env;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::clock::clients::Clients;
use crate::clock::greeting::Greeting;
use crate::clock::handlers::Site;
use crate::clock::options::{Audience, Options};
use crate::clock::publish::{PublishHandler, Token};
use crate::clock::send_thread::{Rounds, SendThread};
use crate::clock::signals::Starting;
use crate::clock::stats::{Readings, StatsHandler};
use crate::clock::tls::Tls;
use crate::clock::topics::Topics;
use crate::clock::{console, fleet, handlers, logging, publish, redirect, signals, tls};
use crate::lab::beside::Beside;
use crate::lab::setup::{Lab, Running, Setup};
use crate::lab::{commands, page};
use chrono::Local;
use threadcast::{Application, Capacity, Connection, Error, Fleet, Result, Server, StaticFiles};

fn main() -> ExitCode {
    threadcast::begin_again();
    match Options::parse_from_args(env::args_os()) {
        Ok(options) => {
            let ended = signals::prepare().and_then(|()| run(&options));
            log::logger().flush();
            match ended {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    console::complain(format_args!("threadcast: {error}"));
                    ExitCode::FAILURE
                }
            }
        }
        Err((text, 0)) => {
            console::print(&text);
            ExitCode::SUCCESS
        }
        Err((text, code)) => {
            console::complain(text.trim_end());
            ExitCode::from(u8::try_from(code).unwrap_or(1))
        }
    }
}

/// Serves until a signal comes.
fn run(options: &Options) -> Result<()> {
    let starting = Starting::begin(options.log_file.is_some())?;
    let mut wishes = signals::listen()?;
    let log = logging::start(options.logging.filter(), options.log_file.as_deref())?;
    let clients = Arc::new(Clients::new());
    let (application, capacity, readings) = application(options, &clients)?;
    let (lab, application) = if options.lab {
        lab(options, &clients, application).map(|(lab, application)| (Some(lab), application))?
    } else {
        (None, application)
    };
    let tls = tls::from_options(options)?;
    let application = match &tls {
        Some(tls) => application.tls(tls.config.clone()),
        None => application,
    };
    starting.end();
    let server = bind(options, "--port", options.port, application, capacity)?;
    let redirect = options.http_port.map(|port| {
        let application = redirect::application(server.local_addr().port(), options.stack_size);
        let application = application.hosts(hosts(options));
        bind(options, "--http-port", port, application, redirect::CAPACITY)
    });
    let redirect = redirect.transpose()?;
    let lab = lab.map(|lab| lab.start(server.local_addr())).transpose()?;
    let rounds = Rounds {
        interval: options.interval,
        pad: options.pad,
        threads: options.push_threads,
        wall: Local::now,
    };
    let send = SendThread::start(clients, rounds, readings.rounds.clone())
        .map_err(Error::io("cannot start the thread send"))?;
    announce(&server, options.lab, tls.as_ref(), redirect.as_ref());
    drop(log.held);
    signals::wait_for_end(&mut wishes, log.file.as_ref(), || logging::print(readings.read()));
    signals::end_at_the_next(wishes, log.file);
    log::info!("{}", readings.read());
    log::info!("shutting down; another signal, a second or more from now, ends at once");
    // First, since its clients would be waited for.
    lab.into_iter().for_each(Running::stop);
    drop(redirect);
    server.shutdown();
    send.stop();
    // The handlers, which have it too, are gone.
    readings.fleet.and_then(Arc::into_inner).into_iter().for_each(Fleet::leave);
    Ok(())
}

fn bind(
    options: &Options,
    option: &str,
    port: u16,
    application: Application,
    capacity: Capacity,
) -> Result<Server> {
    let server = Server::bind_with(&addresses(options, port)[..], application, capacity);
    server.map_err(|error| with_another_port(error, option, port))
}

/// Says what to do about a port that cannot be had.
fn with_another_port(error: Error, option: &str, port: u16) -> Error {
    let Error::Io { source, .. } = &error else { return error };
    let another = match source.kind() {
        ErrorKind::AddrInUse => port.checked_add(1).unwrap_or(8888),
        ErrorKind::PermissionDenied => 8888,
        _ => return error,
    };
    Error::invalid(format!("{error}; choose another with {option}, such as {option} {another}"))
}

/// Returns where to listen: on IPv6 with IPv4 in it, or on IPv4 alone on a machine without IPv6.
fn addresses(options: &Options, port: u16) -> Vec<SocketAddr> {
    let all = || {
        if options.lab {
            vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]
        } else {
            vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)]
        }
    };
    let addresses = options.address.map_or_else(all, |address| vec![address]);
    addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect()
}

/// Returns the names to answer to; none for any. The lab's own clients come by the address, or by the loopback.
fn hosts(options: &Options) -> Vec<String> {
    let own = options.address.filter(|address| !address.is_unspecified()).map(|address| address.to_string());
    let of_the_lab = ["localhost".to_owned()].into_iter().chain(own).filter(|_| options.lab);
    options.host.iter().cloned().chain(of_the_lab).collect()
}

/// Returns what the machine allows, or what was asked for.
fn capacity(options: &Options, application: &Application) -> Capacity {
    let mut machine = Capacity::of_this_machine(application);
    if options.http_port.is_some() {
        machine.clients = machine.clients.saturating_sub(redirect::PLACES).max(1);
    }
    let Some(clients) = options.max_clients else { return machine };
    if clients > machine.clients {
        let Capacity { clients: most, limit, .. } = machine;
        console::warn(format_args!(
            "--max-clients {clients} is more than is safe here, which is {most} ({limit})"
        ));
    }
    Capacity::new(clients)
}

fn application(options: &Options, clients: &Arc<Clients>) -> Result<(Application, Capacity, Readings)> {
    let pages = match &options.www {
        Some(directory) => directory_with_index(directory)?,
        None => handlers::PAGES,
    };
    let application = Application::new();
    let meter = application.meter();
    let token = Token::find(options.publish_token_file.as_deref(), env::var_os(publish::TOKEN))?;
    let token = token.map(Arc::new);
    let channel = options.channel.as_deref();
    let meeting = fleet::options(options.redis.as_deref(), channel, env::var_os(fleet::URL))?;
    if channel.is_some() && meeting.is_none() {
        console::warn("--channel does nothing without --redis or THREADCAST_REDIS");
    }
    if !options.topics.is_empty() && token.is_none() && meeting.is_none() {
        console::warn(
            "--topics does nothing without --publish-token-file or --redis, or the variables for them",
        );
    }
    let topics =
        (token.is_some() || meeting.is_some()).then(|| Arc::new(Topics::new(options.topics.clone())));
    let greeting = Arc::new(Greeting::new(options.interval, options.lab));
    let fleet = meeting.as_ref().zip(topics.as_ref());
    let fleet = fleet.map(|(meeting, topics)| fleet::join(meeting, topics, &greeting, meter.clone()));
    let source = if options.redis.is_some() { "--redis" } else { fleet::URL };
    let named = |error| match error {
        Error::Invalid(what) => Error::invalid(format!("{source}: {what}")),
        other => other,
    };
    let fleet = fleet.transpose().map_err(named)?.map(Arc::new);
    let site = Site {
        clients: clients.clone(),
        pages,
        // The lab obeys: not to any page that somebody looks at.
        origins: Some(options.allow_origin.clone()).filter(|origins| options.lab || !origins.is_empty()),
        also: if options.lab { commands::run } else { |_: &str| {} },
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
        .delivery(options.delivery.into())
        .max_message(options.max_message)
        .max_backlog(options.max_backlog)
        .compression(options.compression.0)
        .ping_interval(options.ping_interval.0)
        .stack_size(options.stack_size)
        .client_memory(kept)
        .other_memory(logging::memory(options.logging.filter(), options.log_file.as_deref()));
    let application = match options.max_clients_per_address {
        Some(clients) => application.max_clients_per_address(clients),
        None => application,
    };
    let application = match options.max_connects_per_address {
        Some(rate) => application.max_connects_per_address(rate),
        None => application,
    };
    let application = match options.max_messages {
        Some(rate) => application.max_messages(rate),
        None => application,
    };
    let application = match options.max_bytes {
        Some(rate) => application.max_bytes(rate),
        None => application,
    };
    let application = application.over_limit(options.over_limit.into());
    let capacity = capacity(options, &application);
    let readings = Readings { meter, capacity: capacity.clients, rounds: Arc::default(), fleet, token };
    let (shown, public) = (readings.clone(), options.stats == Audience::Public);
    let application = application.page("/stats", move || StatsHandler { readings: shown.clone(), public });
    Ok((application, capacity, readings))
}

/// Returns the lab, and the application with its routes.
fn lab(options: &Options, clients: &Arc<Clients>, application: Application) -> Result<(Lab, Application)> {
    let beside: Result<_, _> = options.beside.iter().map(|text| Beside::parse(text)).collect();
    let clients = clients.clone();
    let setup = Setup {
        interval: options.interval,
        delivery: options.delivery.into(),
        pages: options.www.as_ref().map_or(Ok(page::PAGES), StaticFiles::directory)?,
        tls: options.tls_cert.is_some() || options.tls_self_signed,
        beside: beside.map_err(|error| Error::invalid(format!("--beside: {error}")))?,
        clients: Box::new(move || {
            let (connections, ids) = clients.snapshot(usize::MAX);
            connections.iter().map(Connection::id).zip(ids).collect()
        }),
    };
    Ok(Lab::new(setup, application))
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

/// Prints where it is, and how many it can serve.
fn announce(server: &Server, lab: bool, tls: Option<&Tls>, redirect: Option<&Server>) {
    let address = server.local_addr();
    let host = match address.ip() {
        ip if ip.is_unspecified() => "localhost".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let here = format!("{scheme}://{host}:{}", address.port());
    let Capacity { clients, limit, next, .. } = server.capacity();
    let next = next.map_or(String::new(), |(clients, limit)| format!("; then {} at {clients}", limit.name()));
    let mut lines = vec![format!("threadcast is at {here}/ for up to {clients} clients ({limit}{next})")];
    if let Some(tls) = tls {
        lines.push(format!("its WebSocket is at wss://{host}:{}/websocket?Id=NAME", address.port()));
        lines.extend(tls.note.clone());
    }
    if let Some(redirect) = redirect {
        lines.push(format!("http://{host}:{}/ leads there", redirect.local_addr().port()));
    }
    if lab {
        lines.push(format!("the lab is open: {here}/lab shows the threads, and lets you break them"));
    }
    lines.push("Ctrl-C ends it".to_owned());
    console::print(&(lines.join("\n") + "\n"));
}
