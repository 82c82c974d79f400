"""A guestbook in Tornado, whose port is tornado_port.rs: pages, a form, a login by a secure cookie, a feed."""

import asyncio
import sys

from tornado.escape import xhtml_escape
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler
from tornado.websocket import WebSocketHandler

entries = []  # (author, text)
feeds = {}  # the WebSockets that follow an author


def checked(name):
    if not 1 <= len(name.encode()) <= 40 or not name.isprintable():
        raise HTTPError(400)
    return name


class BaseHandler(RequestHandler):
    def get_current_user(self):
        user = self.get_secure_cookie("user")
        return user and user.decode()


class IndexHandler(BaseHandler):
    def get(self):
        if not self.current_user:
            self.redirect("/login")
            return
        self.write(f"<h1>Hello {xhtml_escape(self.current_user)}</h1>")
        for number, (author, text) in enumerate(entries):
            self.write(f'<p><a href="/entry/{number}">{xhtml_escape(author)}</a>: {xhtml_escape(text)}</p>')
        self.write('<form method="post"><input name="text"><button>Write</button></form>')

    def post(self):
        if not self.current_user:
            raise HTTPError(403)
        text = self.get_body_argument("text")
        entries.append((self.current_user, text))
        for feed in feeds.get(self.current_user, ()):
            feed.write_message({"number": len(entries) - 1, "text": text})
        self.redirect(f"/entry/{len(entries) - 1}")


class LoginHandler(BaseHandler):
    def get(self):
        self.write('<form method="post"><input name="name"><button>Log in</button></form>')

    def post(self):
        self.set_secure_cookie("user", checked(self.get_body_argument("name")))
        self.redirect("/")


class LogoutHandler(BaseHandler):
    def get(self):
        self.clear_cookie("user")
        self.redirect("/login")


class EntryHandler(BaseHandler):
    def get(self, number):
        if int(number) >= len(entries):
            raise HTTPError(404)
        author, text = entries[int(number)]
        self.write(f"<h1>{xhtml_escape(author)}</h1><p>{xhtml_escape(text)}</p>")


class FeedHandler(BaseHandler, WebSocketHandler):
    def prepare(self):
        if not self.current_user:
            raise HTTPError(403)
        checked(self.path_args[0])

    def open(self, author):
        self.author = author
        feeds.setdefault(author, set()).add(self)
        self.write_message({"following": author})

    def on_message(self, message):
        count = sum(author == self.author for author, _ in entries)
        self.write_message({"re": message, "count": count})

    def on_close(self):
        feeds[self.author].discard(self)


async def main():
    application = Application(
        [
            (r"/", IndexHandler),
            (r"/login", LoginHandler),
            (r"/logout", LogoutHandler),
            (r"/entry/([0-9]+)", EntryHandler),
            (r"/feed/([^/]+)", FeedHandler),
        ],
        cookie_secret="a secret that both have",
    )
    host, port = (sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8888").split(":")
    sockets = bind_sockets(int(port), host)
    HTTPServer(application).add_sockets(sockets)
    print(f"tornado is at http://{host}:{sockets[0].getsockname()[1]}/", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
