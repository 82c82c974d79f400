//! Asks the name, waits 3 s, greets, sends a history, echoes until silent for a minute: with async and await, on axum.
//!
//!     greeter-async --port 9000 --history 127.0.0.1:9001

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::routing::get;
use axum::{Error, Router};
use clap::Parser;
use compare_rivals::Greeter;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Time to say a name.
const PATIENCE: Duration = Duration::from_secs(3);
/// Time without a message that ends a conversation.
const SILENCE: Duration = Duration::from_secs(60);

async fn talk(mut socket: WebSocket, history: SocketAddr) -> Result<(), Error> {
    socket.send("who are you?".into()).await?;
    let Ok(name) = timeout(PATIENCE, next(&mut socket)).await else {
        let close = CloseFrame { code: 4408, reason: "no name in time".into() };
        return socket.send(Message::Close(Some(close))).await;
    };
    let Some(name) = name? else { return Ok(()) };
    socket.send(format!("welcome, {}", name.to_text()?).into()).await?;
    let mut lines = BufReader::new(TcpStream::connect(history).await.map_err(Error::new)?).lines();
    while let Some(line) = lines.next_line().await.map_err(Error::new)? {
        socket.send(line.into()).await?;
    }
    while let Ok(message) = timeout(SILENCE, next(&mut socket)).await {
        match message? {
            Some(message) => socket.send(message).await?,
            None => return Ok(()),
        }
    }
    socket.send(Message::Close(Some(CloseFrame { code: 1000, reason: "".into() }))).await
}

/// The next text or binary message; None when the client has left.
async fn next(socket: &mut WebSocket) -> Result<Option<Message>, Error> {
    loop {
        match socket.recv().await.transpose()? {
            Some(Message::Ping(_) | Message::Pong(_)) => {}
            Some(Message::Close(_)) | None => return Ok(None),
            message => return Ok(message),
        }
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let Greeter { port, history } = Greeter::parse();
    let welcome = move |upgrade: WebSocketUpgrade| async move {
        upgrade.read_buffer_size(256).write_buffer_size(0).on_upgrade(move |socket| async move {
            if let Err(error) = talk(socket, history).await {
                eprintln!("a conversation ended: {error}");
            }
        })
    };
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, Router::new().route("/", get(welcome))).await
}
