//! A port of `tornado_port.py`, to read side by side: `cargo run --example tornado_port`. A handler's request and
//! connection are arguments in Rust, and the module's globals are in a `Site`, which each handler has a clone of.

use std::sync::{Arc, Mutex};

use serde_json::json;
use threadcast::{Application, Connection, CookieSecret, Error, Exchange, Hub, Message, xhtml_escape};
use threadcast::{RequestHandler, Result, Server, WebSocketHandler};

/// The state that all handlers share: the entries, author and text, and a topic for each author's feed.
#[derive(Clone, Default)]
struct Site {
    entries: Arc<Mutex<Vec<(String, String)>>>, // locked while one is published too, so that feeds have its order
    feeds: Hub,
}

fn current_user(exchange: &Exchange<'_>) -> Result<String> {
    let user = exchange.get_secure_cookie("user")?.and_then(|user| String::from_utf8(user).ok());
    user.ok_or_else(|| Error::refused(403, "Log in first."))
}

fn checked(name: &str) -> Result<String> {
    match name.len() {
        1..=40 if !name.contains(char::is_control) => Ok(name.to_owned()),
        _ => Err(Error::refused(400, "A name has 1 to 40 bytes of text.")),
    }
}

struct IndexHandler(Site);
struct LoginHandler;
struct LogoutHandler;
struct EntryHandler(Site);
struct FeedHandler(Site, String);

impl RequestHandler for IndexHandler {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        let Ok(user) = current_user(exchange) else { return exchange.redirect("/login") };
        exchange.write(format!("<h1>Hello {}</h1>", xhtml_escape(&user)));
        for (number, (author, text)) in self.0.entries.lock().unwrap().iter().enumerate() {
            let (author, text) = (xhtml_escape(author), xhtml_escape(text));
            exchange.write(format!(r#"<p><a href="/entry/{number}">{author}</a>: {text}</p>"#));
        }
        exchange.write(r#"<form method="post"><input name="text"><button>Write</button></form>"#);
        Ok(())
    }
    fn post(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        let user = current_user(exchange)?;
        let text = exchange.get_body_argument("text")?;
        let mut entries = self.0.entries.lock().unwrap();
        self.0.feeds.publish(&user, json!({ "number": entries.len(), "text": text }))?;
        entries.push((user, text));
        exchange.redirect(&format!("/entry/{}", entries.len() - 1))
    }
    fn methods(&self) -> &'static [&'static str] {
        &["GET", "HEAD", "POST"]
    }
}

impl RequestHandler for LoginHandler {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        exchange.write(r#"<form method="post"><input name="name"><button>Log in</button></form>"#);
        Ok(())
    }
    fn post(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        exchange.set_secure_cookie("user", checked(&exchange.get_body_argument("name")?)?)?;
        exchange.redirect("/")
    }
    fn methods(&self) -> &'static [&'static str] {
        &["GET", "HEAD", "POST"]
    }
}

impl RequestHandler for LogoutHandler {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        exchange.clear_cookie("user").and_then(|()| exchange.redirect("/login"))
    }
}

impl RequestHandler for EntryHandler {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        let entries = self.0.entries.lock().unwrap();
        let number = exchange.path_argument("number").parse::<usize>(); // any text, not [0-9]+
        let entry = number.ok().and_then(|number| entries.get(number));
        let (author, text) = entry.ok_or_else(|| Error::refused(404, "No such entry."))?;
        exchange.write(format!("<h1>{}</h1><p>{}</p>", xhtml_escape(author), xhtml_escape(text)));
        Ok(())
    }
}

impl WebSocketHandler for FeedHandler {
    fn open(&mut self, connection: &Connection, _: &mut Exchange<'_>) -> Result<()> {
        self.0.feeds.subscribe(&self.1, connection)?;
        connection.write_message(json!({ "following": self.1 }))
    }
    fn on_message(&mut self, connection: &Connection, message: Message) -> Result<()> {
        let count = self.0.entries.lock().unwrap().iter().filter(|(author, _)| *author == self.1).count();
        connection.write_message(json!({ "re": message.as_text(), "count": count }))
    }
}

fn main() -> Result<()> {
    let site = Site::default();
    let (index, entry, feed) = (site.clone(), site.clone(), site);
    let application = Application::new()
        .cookie_secret(CookieSecret::new("a secret that both have")?)
        .page("/", move || IndexHandler(index.clone()))
        .page("/login", || LoginHandler)
        .page("/logout", || LogoutHandler)
        .page("/entry/{number}", move || EntryHandler(entry.clone()))
        .websocket_with("/feed/{author}", move |exchange| {
            current_user(exchange)?;
            Ok(FeedHandler(feed.clone(), checked(exchange.path_argument("author"))?))
        });
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8888".to_owned());
    let server = Server::bind(address, application)?;
    println!("tornado_port is at http://{}/", server.local_addr());
    server.join();
    Ok(())
}
