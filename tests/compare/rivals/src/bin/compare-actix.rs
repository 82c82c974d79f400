//! The clock on actix-web with actix-ws, as actix-ws's chat example broadcasts: a list of sessions behind a mutex, and all
//! sends of a round awaited at once. A session's messages go through its channel to the worker that has its
//! connection, which encodes and writes them.
//!
//! Best settings: TCP_NODELAY, a worker for each core. As in the example, the server pings each client every
//! 5 s, and closes it after 10 s without an answer. So it finds a client that never reads, for which the broadcast
//! waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, rt, web};
use actix_ws::{Message, Session};
use bytestring::ByteString;
use clap::Parser;
use compare_rivals::{BACKLOG, version};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use threadcast_compare::clocks::options::ClockOptions;
use threadcast_compare::command_line;
use threadcast_compare::program::commands;
use tokio::sync::Mutex;
use tokio::time::MissedTickBehavior;

/// Between two pings of a client.
const PING: Duration = Duration::from_secs(5);
/// Without an answer a client is closed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A clock on actix-web
#[derive(Parser)]
#[command(name = "actix-web", version = version("actix-web"))]
struct Options {
    #[command(flatten)]
    clock: ClockOptions,
}

/// The clients that get the time.
type Sessions = web::Data<Mutex<Vec<Session>>>;

#[actix_web::main]
async fn main() {
    if let Err(error) = serve(command_line::options::<Options>().clock).await {
        eprintln!("compare-actix: {error}");
        std::process::exit(1);
    }
}

async fn serve(options: ClockOptions) -> std::io::Result<()> {
    let sessions = Sessions::new(Mutex::default());
    let (address, cores) = (options.address(), std::thread::available_parallelism()?);
    rt::spawn(push(sessions.clone(), options));
    let app = move || {
        App::new()
            .app_data(sessions.clone())
            .route("/websocket", web::get().to(clock))
            .route("/echo", web::get().to(echo))
    };
    let server = HttpServer::new(app).workers(cores.get()).backlog(BACKLOG).tcp_nodelay(true);
    server.disable_signals().bind(address)?.run().await
}

/// Sends the time to all sessions, once each interval.
async fn push(sessions: Sessions, options: ClockOptions) {
    let mut due = tokio::time::interval(options.interval.max(Duration::from_millis(1)));
    due.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        due.tick().await;
        let text = ByteString::from(options.payload());
        let mut sessions = sessions.lock().await;
        let mut sends: FuturesUnordered<_> = sessions
            .drain(..)
            .map(|mut session| {
                let text = text.clone();
                async move { session.text(text).await.map(|()| session) }
            })
            .collect();
        while let Some(outcome) = sends.next().await {
            sessions.extend(outcome);
        }
    }
}

async fn clock(
    request: HttpRequest,
    body: web::Payload,
    sessions: Sessions,
) -> actix_web::Result<HttpResponse> {
    let (response, session, mut messages) = actix_ws::handle(&request, body)?;
    sessions.lock().await.push(session.clone());
    let heard = Arc::new(Mutex::new(Instant::now()));
    rt::spawn(keep_alive(session.clone(), Arc::clone(&heard)));
    rt::spawn(async move {
        while let Some(Ok(message)) = messages.recv().await {
            match message {
                Message::Text(text) => commands::run(&text),
                Message::Pong(_) => *heard.lock().await = Instant::now(),
                Message::Close(_) => break,
                _ => {}
            }
        }
        let _ = session.close(None).await;
    });
    Ok(response)
}

async fn keep_alive(mut session: Session, heard: Arc<Mutex<Instant>>) {
    let mut due = tokio::time::interval(PING);
    loop {
        due.tick().await;
        if session.ping(b"").await.is_err() {
            return;
        }
        if heard.lock().await.elapsed() > PATIENCE {
            let _ = session.close(None).await;
            return;
        }
    }
}

async fn echo(request: HttpRequest, body: web::Payload) -> actix_web::Result<HttpResponse> {
    let (response, mut session, mut messages) = actix_ws::handle(&request, body)?;
    rt::spawn(async move {
        while let Some(Ok(message)) = messages.recv().await {
            let sent = match message {
                Message::Text(text) => session.text(text).await,
                Message::Binary(bytes) => session.binary(bytes).await,
                Message::Close(_) => break,
                _ => Ok(()),
            };
            if sent.is_err() {
                break;
            }
        }
    });
    Ok(response)
}
