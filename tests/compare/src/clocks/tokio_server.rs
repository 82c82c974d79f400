//! The common part of the tokio variants: the runtime, the accept loop, the handshake, the echo.

use std::net::SocketAddr;

use clap::ValueEnum;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use crate::clocks::options::ClockOptions;
use crate::clocks::{tls, tokio_channel, tokio_direct};
use crate::failure::{Failure, While};

/// Bytes of tungstenite's read buffer for each client: as many as in threadcast. Its default is 128 KiB.
const READ_BUFFER: usize = 256;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// How a push reaches a client.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Through a channel to the client's task, which writes
    Channel,
    /// The broadcasting task writes to the socket; the client's task only finishes what did not fit
    Direct,
}

/// The route that a client asked for.
pub(crate) enum Route {
    /// The time, for the client of this name.
    Clock(String),
    /// Every message back.
    Echo,
}

/// Serves until the process ends. 0 `workers` means one for each core. `tls` is for clients that have a channel.
pub fn run(options: ClockOptions, workers: usize, delivery: Delivery, tls: bool) -> Result<(), Failure> {
    let acceptor = tls.then(tls::acceptor).transpose()?;
    let workers = match workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let mut builder = if workers == 1 {
        runtime::Builder::new_current_thread()
    } else {
        let mut builder = runtime::Builder::new_multi_thread();
        builder.worker_threads(workers);
        builder
    };
    let runtime = builder.enable_all().build().doing("start tokio")?;
    runtime.block_on(async {
        let listener = listen(options.address()).doing(format!("listen on port {}", options.port))?;
        let serving = async move {
            match delivery {
                Delivery::Channel => tokio_channel::serve(listener, options, acceptor).await,
                Delivery::Direct => tokio_direct::serve(listener, options, workers).await,
            }
        };
        if workers == 1 {
            serving.await;
            return Ok(());
        }
        // Awaited directly, it would run on this thread, which is not a worker.
        tokio::spawn(serving).await.doing("serve")
    })
}

/// A listener with room for a storm of connections.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The next client, with TCP_NODELAY set. Survives errors of a single accept.
pub(crate) async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) if stream.set_nodelay(true).is_ok() => return stream,
            Ok(_) => {}
            // Probably out of descriptors: let other tasks run, and end, before the next try.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    }
}

/// Upgrades a connection, and returns its route.
pub(crate) async fn upgrade<S>(stream: S) -> Option<(WebSocketStream<S>, Route)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut route = None;
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER).write_buffer_size(0);
    #[expect(clippy::result_large_err, reason = "the type is tungstenite's")]
    let choose = |request: &Request, response: Response| match choose_route(request) {
        Some(chosen) => {
            route = Some(chosen);
            Ok(response)
        }
        None => {
            let mut refusal = ErrorResponse::new(None);
            *refusal.status_mut() = StatusCode::NOT_FOUND;
            Err(refusal)
        }
    };
    let socket = accept_hdr_async_with_config(stream, choose, Some(config)).await.ok()?;
    Some((socket, route?))
}

/// The route in a request's path and query.
fn choose_route(request: &Request) -> Option<Route> {
    let query = request.uri().query().unwrap_or_default();
    let id = query.split('&').find_map(|pair| pair.strip_prefix("Id="))?;
    match request.uri().path() {
        "/websocket" => Some(Route::Clock(id.to_owned())),
        "/echo" => Some(Route::Echo),
        _ => None,
    }
}

/// Sends every message back until the client leaves.
pub(crate) async fn echo<S>(mut socket: WebSocketStream<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
}
