import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.Arrays;
import java.util.Base64;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.LockSupport;

/**
 * The clock on Java's virtual threads: blocking code, two virtual threads for each client, one that reads and one that
 * writes what its bounded queue has. A client whose queue is full is closed.
 *
 * <p>Best settings: a push is encoded once for all; small buffers; a heap of a fixed size and the serial collector; and it
 * warms itself up before its port is open: clients come and go until the code is compiled. The frames are made by
 * hand, since no WebSocket server for virtual threads comes without a stack of frameworks: so it checks less than the
 * others, which makes it faster.
 *
 * <p>Java 17 compiles it, which does not know virtual threads: they are started through a MethodHandle.
 */
public final class Clock {
    /** Connections that may wait to be accepted. */
    private static final int BACKLOG = 4096;
    /** Pushes that may wait for a client before it counts as too slow. */
    private static final int WAITING = 16;
    /** Bytes of a client's read buffer. */
    private static final int READ_BUFFER = 256;
    /** Longest message, in bytes. */
    private static final int LONGEST = 1 << 20;
    /** Values that a reading can have, a prime. */
    private static final int READINGS = 99_991;
    /** The warm-up: clients one after the other, pushes to each, and echoes of each. */
    private static final int WARM_CLIENTS = 100;
    private static final int WARM_ECHOES = 400;
    private static final String KEY = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    private static final MethodHandle START_VIRTUAL = startVirtual();

    private final ConcurrentHashMap<String, Client> clients = new ConcurrentHashMap<>();
    private final int pad;

    private Clock(int pad) {
        this.pad = pad;
    }

    public static void main(String[] words) throws Exception {
        if (Arrays.asList(words).contains("--version")) {
            System.out.println("virtual threads of Java " + System.getProperty("java.version"));
            return;
        }
        int port = Integer.parseInt(option(words, "--port", "8888"));
        Clock clock = new Clock(Integer.parseInt(option(words, "--pad", "0")));
        InetAddress host = InetAddress.getByName("127.0.0.1");
        try (ServerSocket warm = new ServerSocket(0, BACKLOG, host)) {
            virtual(() -> clock.accept(warm));
            clock.warmUp(warm.getLocalPort());
        }
        System.gc();
        long interval = nanoseconds(option(words, "--interval", "1s"));
        ServerSocket listener = new ServerSocket(port, BACKLOG, host);
        Thread send = new Thread(() -> clock.pushForEver(interval), "send");
        send.setDaemon(true);
        send.start();
        clock.accept(listener);
    }

    /** Pushes at multiples of the interval, however long a push takes. */
    private void pushForEver(long interval) {
        for (long due = System.nanoTime() + interval; ; ) {
            LockSupport.parkNanos(due - System.nanoTime());
            if (System.nanoTime() < due) {
                continue;
            }
            due = Math.max(due + interval, System.nanoTime());
            push(frame(1, payload()));
        }
    }

    private void push(byte[] frame) {
        for (Client client : clients.values()) {
            client.offer(frame);
        }
    }

    private void accept(ServerSocket listener) {
        while (!listener.isClosed()) {
            try {
                Socket socket = listener.accept();
                virtual(() -> serve(socket));
            } catch (IOException failed) {
                LockSupport.parkNanos(10_000_000);
            }
        }
    }

    /** A client's life, on its own virtual thread. */
    private void serve(Socket socket) {
        try (socket) {
            socket.setTcpNoDelay(true);
            DataInputStream input = new DataInputStream(new BufferedInputStream(socket.getInputStream(), READ_BUFFER));
            OutputStream output = socket.getOutputStream();
            String target = shakeHands(input, output);
            if (target.startsWith("/echo?")) {
                echo(input, output);
            } else if (target.startsWith("/websocket?Id=")) {
                tellTime(target.substring("/websocket?Id=".length()), socket, input, output);
            }
        } catch (IOException left) {
            // The client has left.
        }
    }

    private void tellTime(String id, Socket socket, DataInputStream input, OutputStream output) throws IOException {
        Client client = new Client(socket);
        clients.put(id, client);
        virtual(() -> client.write(output));
        try {
            for (Message message = read(input); message != null; message = read(input)) {
                if (message.opcode == 1) {
                    obey(new String(message.payload, StandardCharsets.UTF_8));
                } else if (message.opcode == 9) {
                    client.offer(frame(10, message.payload));
                }
            }
        } finally {
            clients.remove(id, client);
            client.offer(Client.END);
        }
    }

    private static void echo(DataInputStream input, OutputStream output) throws IOException {
        for (Message message = read(input); message != null; message = read(input)) {
            if (message.opcode < 8) {
                output.write(frame(message.opcode, message.payload));
            } else if (message.opcode == 9) {
                output.write(frame(10, message.payload));
            }
        }
    }

    /** Answers the request of a client, and returns its target. */
    private static String shakeHands(InputStream input, OutputStream output) throws IOException {
        ByteArrayOutputStream head = new ByteArrayOutputStream(READ_BUFFER);
        for (int end = 0; end != 0x0d0a0d0a; ) {
            int next = input.read();
            if (next < 0 || head.size() > 16_384) {
                throw new EOFException();
            }
            head.write(next);
            end = end << 8 | next;
        }
        String[] lines = head.toString(StandardCharsets.ISO_8859_1).split("\r\n");
        String key = "";
        for (String line : lines) {
            if (line.regionMatches(true, 0, "Sec-WebSocket-Key:", 0, 18)) {
                key = line.substring(18).trim();
            }
        }
        output.write(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            + accept(key) + "\r\n\r\n").getBytes(StandardCharsets.ISO_8859_1));
        return lines[0].split(" ")[1];
    }

    private static String accept(String key) throws IOException {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-1");
            return Base64.getEncoder().encodeToString(digest.digest((key + KEY).getBytes(StandardCharsets.ISO_8859_1)));
        } catch (java.security.NoSuchAlgorithmException missing) {
            throw new IOException(missing);
        }
    }

    /** Reads a frame, and unmasks it; null for a Close. */
    private static Message read(DataInputStream input) throws IOException {
        int opcode = input.readUnsignedByte() & 15;
        int second = input.readUnsignedByte();
        long length = second & 127;
        if (length == 126) {
            length = input.readUnsignedShort();
        } else if (length == 127) {
            length = input.readLong();
        }
        if (length < 0 || length > LONGEST || second < 128) {
            throw new IOException("not a frame of a client");
        }
        int mask = input.readInt();
        byte[] payload = new byte[(int) length];
        input.readFully(payload);
        for (int at = 0; at < payload.length; at++) {
            payload[at] ^= (byte) (mask >> (24 - 8 * (at & 3)));
        }
        return opcode == 8 ? null : new Message(opcode, payload);
    }

    /** Returns a frame, not masked. */
    private static byte[] frame(int opcode, byte[] payload) {
        int length = payload.length;
        int header = length < 126 ? 2 : length < 65_536 ? 4 : 10;
        byte[] frame = new byte[header + length];
        frame[0] = (byte) (128 | opcode);
        frame[1] = (byte) (header == 2 ? length : header == 4 ? 126 : 127);
        for (int at = 2; at < header; at++) {
            int shift = 8 * (header - 1 - at);
            frame[at] = shift > 24 ? 0 : (byte) (length >> shift);
        }
        System.arraycopy(payload, 0, frame, header, length);
        return frame;
    }

    /** The local time as Python's str(datetime.now()) prints it, padded with JSON that differs each time. */
    private byte[] payload() {
        LocalDateTime now = LocalDateTime.now();
        int microseconds = now.getNano() / 1000;
        StringBuilder text = new StringBuilder(DateTimeFormatter.ofPattern("yyyy-MM-dd HH:mm:ss").format(now));
        if (microseconds > 0) {
            text.append(String.format(".%06d", microseconds));
        }
        if (pad > text.length()) {
            while (text.length() < 26) {
                text.append(' ');
            }
            for (long id = 1; text.length() < pad; id++) {
                long value = microseconds * id % READINGS * id % READINGS;
                text.append("{\"id\":").append(id).append(",\"value\":").append(value).append('}');
            }
            text.setLength(pad);
        }
        return text.toString().getBytes(StandardCharsets.UTF_8);
    }

    /** Blocks the caller for `sleep N` and `spin N` milliseconds, as a naive handler would. */
    private static void obey(String text) {
        String[] words = text.split(" ");
        if (words.length != 2 || !words[1].matches("\\d{1,6}")) {
            return;
        }
        long end = System.nanoTime() + Long.parseLong(words[1]) * 1_000_000;
        while (System.nanoTime() < end) {
            if (words[0].equals("sleep")) {
                LockSupport.parkNanos(end - System.nanoTime());
            } else if (!words[0].equals("spin")) {
                return;
            }
        }
    }

    /** Lets its own clients come, get pushes and echoes, and leave. */
    @SuppressWarnings("deprecation")
    private void warmUp(int port) throws IOException {
        byte[] message = frame(1, "an echo of thirty-two characters".getBytes(StandardCharsets.UTF_8));
        byte[] masked = new byte[message.length + 4];
        masked[0] = message[0];
        masked[1] = (byte) (message[1] | 128);
        System.arraycopy(message, 2, masked, 6, message.length - 2);
        for (int client = 0; client < WARM_CLIENTS; client++) {
            String route = client % 2 == 0 ? "/echo" : "/websocket";
            try (Socket socket = new Socket("127.0.0.1", port)) {
                socket.setTcpNoDelay(true);
                OutputStream output = socket.getOutputStream();
                DataInputStream input = new DataInputStream(new BufferedInputStream(socket.getInputStream()));
                output.write(("GET " + route + "?Id=" + client + " HTTP/1.1\r\nSec-WebSocket-Key: key\r\n\r\n")
                    .getBytes(StandardCharsets.ISO_8859_1));
                while (!input.readLine().isEmpty()) {
                    // The head of the answer.
                }
                for (int count = 0; count < WARM_ECHOES; count++) {
                    if (route.equals("/echo")) {
                        output.write(masked);
                    } else {
                        while (!clients.containsKey(String.valueOf(client))) {
                            Thread.onSpinWait();
                        }
                        push(message);
                    }
                    input.readUnsignedByte();
                    input.skipNBytes(input.readUnsignedByte());
                }
            }
        }
    }

    private static void virtual(Runnable life) {
        try {
            Object started = START_VIRTUAL.invoke(life);
        } catch (Throwable impossible) {
            throw new IllegalStateException(impossible);
        }
    }

    private static MethodHandle startVirtual() {
        try {
            MethodType type = MethodType.methodType(Thread.class, Runnable.class);
            return MethodHandles.publicLookup().findStatic(Thread.class, "startVirtualThread", type);
        } catch (ReflectiveOperationException old) {
            throw new ExceptionInInitializerError("Java 21 or later has virtual threads");
        }
    }

    private static String option(String[] words, String name, String otherwise) {
        int at = Arrays.asList(words).indexOf(name);
        return at < 0 || at + 1 == words.length ? otherwise : words[at + 1];
    }

    private static long nanoseconds(String text) {
        boolean milliseconds = text.endsWith("ms");
        long number = Long.parseLong(text.replaceAll("[hms]+$", ""));
        return number * (milliseconds ? 1_000_000L : text.endsWith("m") ? 60_000_000_000L : text.endsWith("h") ? 3_600_000_000_000L : 1_000_000_000L);
    }

    private record Message(int opcode, byte[] payload) {}

    /** The clients that get the time. */
    private static final class Client {
        static final byte[] END = {};
        final Socket socket;
        final BlockingQueue<byte[]> waiting = new ArrayBlockingQueue<>(WAITING);

        Client(Socket socket) {
            this.socket = socket;
        }

        void offer(byte[] frame) {
            if (!waiting.offer(frame)) {
                close();
            }
        }

        /** Writes queued frames, on its own virtual thread. */
        void write(OutputStream output) {
            try {
                for (byte[] frame = waiting.take(); frame != END; frame = waiting.take()) {
                    output.write(frame);
                }
            } catch (IOException | InterruptedException left) {
                close();
            }
        }

        void close() {
            try {
                socket.close();
            } catch (IOException closed) {
                // It is closed, then.
            }
        }
    }
}
