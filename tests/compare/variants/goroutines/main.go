// The clock on goroutines, as gorilla's chat example has it: a hub, a read pump and a write pump for each client.
//
// Best settings: one PreparedMessage for all clients of a push, a pool for write buffers, a read buffer of 256 bytes. The read
// pump is a separate goroutine (`go readPump()`), so that the one of net/http ends, and with it its 8 KiB of buffers.
// A client whose channel is full is closed, as in the example. TCP_NODELAY is Go's default.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// Connections that may wait to be accepted.
	backlog = 4096
	// Messages that may wait for a client before it counts as too slow.
	waiting = 16
	// Time that a client has to take a message.
	writeWait = 10 * time.Second
	// Values that a reading can have, a prime.
	readings = 99991
)

var upgrader = websocket.Upgrader{
	ReadBufferSize:  256,
	WriteBufferSize: 256,
	WriteBufferPool: &sync.Pool{},
	CheckOrigin:     func(*http.Request) bool { return true },
}

type client struct {
	conn *websocket.Conn
	send chan *websocket.PreparedMessage
}

type hub struct {
	mutex   sync.Mutex
	clients map[string]*client
}

func (h *hub) register(id string, c *client) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if old := h.clients[id]; old != nil {
		close(old.send)
	}
	h.clients[id] = c
}

func (h *hub) unregister(id string, c *client) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.clients[id] == c {
		delete(h.clients, id)
		close(c.send)
	}
}

// Hands a message to every client; one whose channel is full is closed.
func (h *hub) broadcast(message *websocket.PreparedMessage) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for id, c := range h.clients {
		select {
		case c.send <- message:
		default:
			delete(h.clients, id)
			close(c.send)
			c.conn.Close()
		}
	}
}

func (h *hub) run(interval time.Duration, pad int) {
	for range time.Tick(interval) {
		message, err := websocket.NewPreparedMessage(websocket.TextMessage, payload(pad))
		if err == nil {
			h.broadcast(message)
		}
	}
}

func (c *client) writePump() {
	defer c.conn.Close()
	for message := range c.send {
		c.conn.SetWriteDeadline(time.Now().Add(writeWait))
		if c.conn.WritePreparedMessage(message) != nil {
			return
		}
	}
}

func (c *client) readPump(h *hub, id string) {
	defer h.unregister(id, c)
	for {
		_, message, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		obey(string(message))
	}
}

func echo(conn *websocket.Conn) {
	defer conn.Close()
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil || conn.WriteMessage(kind, message) != nil {
			return
		}
	}
}

// Blocks the caller for `sleep N` and `spin N` milliseconds, as a naive handler would.
func obey(text string) {
	verb, number, _ := strings.Cut(text, " ")
	milliseconds, err := strconv.Atoi(number)
	if err != nil {
		return
	}
	end := time.Now().Add(time.Duration(milliseconds) * time.Millisecond)
	switch verb {
	case "sleep":
		time.Sleep(time.Until(end))
	case "spin":
		for time.Now().Before(end) {
		}
	}
}

// The local time as Python's str(datetime.now()) prints it, padded with JSON that differs each time.
func payload(pad int) []byte {
	now := time.Now()
	microseconds := now.Nanosecond() / 1000
	text := now.Format("2006-01-02 15:04:05")
	if microseconds > 0 {
		text += fmt.Sprintf(".%06d", microseconds)
	}
	if pad <= len(text) {
		return []byte(text)
	}
	padded := []byte(fmt.Sprintf("%-26s", text))
	for id := 1; len(padded) < pad; id++ {
		value := microseconds * id % readings * id % readings
		padded = append(padded, fmt.Sprintf(`{"id":%d,"value":%d}`, id, value)...)
	}
	return padded[:pad]
}

// A listener with room for a storm of connections, which package net does not let us ask for.
func listen(port int) (net.Listener, error) {
	listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	raw, err := listener.(*net.TCPListener).SyscallConn()
	if err != nil {
		return nil, err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = syscall.Listen(int(fd), backlog) }); err != nil {
		return nil, err
	}
	return listener, failed
}

func serve(port int, interval time.Duration, pad int) error {
	h := &hub{clients: map[string]*client{}}
	go h.run(interval, pad)
	mux := http.NewServeMux()
	mux.HandleFunc("/websocket", func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		id := r.URL.Query().Get("Id")
		c := &client{conn, make(chan *websocket.PreparedMessage, waiting)}
		h.register(id, c)
		go c.writePump()
		go c.readPump(h, id)
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		if conn, err := upgrader.Upgrade(w, r, nil); err == nil {
			go echo(conn)
		}
	})
	listener, err := listen(port)
	if err != nil {
		return err
	}
	server := http.Server{Handler: mux}
	return server.Serve(listener)
}

func main() {
	port := flag.Int("port", 8888, "port to listen on, at 127.0.0.1")
	interval := flag.Duration("interval", time.Second, "time between two pushes")
	pad := flag.Int("pad", 0, "pad each push to this many bytes")
	version := flag.Bool("version", false, "print the version")
	flag.Parse()
	if *version {
		fmt.Println("gorilla/websocket on", runtime.Version())
		return
	}
	fmt.Fprintln(os.Stderr, "goroutines:", serve(*port, *interval, *pad))
	os.Exit(1)
}
