/* The clock on libwebsockets: one loop in C, its own way to broadcast: ask for a "writeable" callback of every client,
 * and write there. The frame is encoded in place, behind LWS_PRE bytes, once for each client.
 *
 * Best settings: libev for epoll, since the loop of the library itself polls all descriptors; small buffers; no
 * extensions. libwebsockets sets TCP_NODELAY itself. A client that has not taken its last push gets no further one: what
 * waits for it is one message, and it is closed after 10 s. A handler that blocks blocks the loop.
 */
#include <libwebsockets.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>

/* Bytes of the longest message, and of a push. */
#define LONGEST (1 << 17)
/* Bytes that are reserved for reading: for each client, as many as threadcast lets it have, and for all together. */
#define CLIENT_BUFFER 256
#define READ_BUFFER 4096
/* Values that a reading can have, a prime. */
#define READINGS 99991
/* Seconds without a push that could be written until a client is closed. */
#define PATIENCE 10

enum route { CLOCK, ECHO };

struct client {
	struct lws *wsi;
	enum route route;
	/* The bytes that an echo has to send back, behind LWS_PRE bytes; NULL for clients of the clock. */
	unsigned char *message;
	size_t length;
	int binary;
	/* Rounds that this client has been sent. */
	unsigned long round;
	struct client *next, **here;
};

static struct client *clients;
static unsigned char push[LWS_PRE + LONGEST];
static size_t push_length;
static unsigned long rounds;
static long long interval_us = 1000000;
static long pad;
static long long due_us;
static struct lws_context *context;
static lws_sorted_usec_list_t timer;

static long long monotonic_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

/* The local time as Python's str(datetime.now()) prints it, padded with JSON that differs each time. */
static size_t payload(char *text)
{
	struct timeval now;
	struct tm local;
	size_t length;
	gettimeofday(&now, NULL);
	localtime_r(&now.tv_sec, &local);
	length = strftime(text, LONGEST, "%Y-%m-%d %H:%M:%S", &local);
	if (now.tv_usec)
		length += sprintf(text + length, ".%06ld", (long)now.tv_usec);
	if (pad <= (long)length)
		return length;
	while (length < 26)
		text[length++] = ' ';
	for (long id = 1; (long)length < pad; id++)
		length += sprintf(text + length, "{\"id\":%ld,\"value\":%ld}", id,
				  now.tv_usec * id % READINGS * id % READINGS);
	return pad;
}

/* Blocks the loop for `sleep N` and `spin N` milliseconds, as a naive handler would. */
static void obey(const char *text, size_t length)
{
	char copy[32] = "";
	long milliseconds;
	memcpy(copy, text, length < sizeof copy ? length : sizeof copy - 1);
	if (sscanf(copy, "sleep %ld", &milliseconds) == 1) {
		struct timespec time = { milliseconds / 1000, milliseconds % 1000 * 1000000 };
		nanosleep(&time, NULL);
	} else if (sscanf(copy, "spin %ld", &milliseconds) == 1) {
		long long end = monotonic_us() + milliseconds * 1000;
		while (monotonic_us() < end)
			;
	}
}

/* A round: every client is asked for, and written to when the loop says that it is writeable. */
static void tick(lws_sorted_usec_list_t *own)
{
	long long now = monotonic_us();
	push_length = payload((char *)push + LWS_PRE);
	rounds++;
	for (struct client *client = clients; client; client = client->next) {
		if ((long long)(rounds - client->round) * interval_us > PATIENCE * LWS_USEC_PER_SEC + interval_us)
			lws_set_timeout(client->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC);
		else
			lws_callback_on_writable(client->wsi);
	}
	due_us = due_us + interval_us > now ? due_us + interval_us : now;
	lws_sul_schedule(context, 0, own, tick, due_us - now ? due_us - now : 1);
}

static int answer(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t length)
{
	struct client *client = user;
	char path[32];
	enum lws_write_protocol kind;

	switch (reason) {
	case LWS_CALLBACK_ESTABLISHED:
		memset(client, 0, sizeof *client);
		client->wsi = wsi;
		lws_hdr_copy(wsi, path, sizeof path, WSI_TOKEN_GET_URI);
		if (!strcmp(path, "/echo")) {
			client->route = ECHO;
			break;
		}
		client->round = rounds;
		client->next = clients;
		client->here = &clients;
		if (clients)
			clients->here = &client->next;
		clients = client;
		break;
	case LWS_CALLBACK_CLOSED:
		free(client->message);
		if (client->here) {
			*client->here = client->next;
			if (client->next)
				client->next->here = client->here;
		}
		break;
	case LWS_CALLBACK_RECEIVE:
		if (client->route == CLOCK) {
			obey(in, length);
			break;
		}
		if (client->length + length > LONGEST)
			return -1;
		client->message = realloc(client->message, LWS_PRE + client->length + length);
		if (!client->message)
			return -1;
		memcpy(client->message + LWS_PRE + client->length, in, length);
		client->length += length;
		client->binary = lws_frame_is_binary(wsi);
		if (lws_is_final_fragment(wsi) && !lws_remaining_packet_payload(wsi)) {
			/* The next message waits until this one is back. */
			lws_rx_flow_control(wsi, 0);
			lws_callback_on_writable(wsi);
		}
		break;
	case LWS_CALLBACK_SERVER_WRITEABLE:
		if (client->route == ECHO) {
			kind = client->binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT;
			if (client->length && lws_write(wsi, client->message + LWS_PRE, client->length, kind) < 0)
				return -1;
			client->length = 0;
			lws_rx_flow_control(wsi, 1);
		} else if (client->round != rounds) {
			client->round = rounds;
			if (lws_write(wsi, push + LWS_PRE, push_length, LWS_WRITE_TEXT) < 0)
				return -1;
		}
		break;
	default:
		break;
	}
	return 0;
}

static long number(const char *text, char **unit)
{
	long value = strtol(text, unit, 10);
	if (*unit == text || value < 0) {
		fprintf(stderr, "libwebsockets: %s: it is a number\n", text);
		exit(2);
	}
	return value;
}

int main(int argc, char **argv)
{
	static const struct lws_protocols protocols[] = {
		{ "clock", answer, sizeof(struct client), CLIENT_BUFFER, 0, NULL, 0 }, { NULL, NULL, 0, 0, 0, NULL, 0 }
	};
	struct lws_context_creation_info info;
	struct rlimit files;
	char *unit;

	memset(&info, 0, sizeof info);
	for (int at = 1; at < argc; at++) {
		if (!strcmp(argv[at], "--version")) {
			printf("libwebsockets %s\n", lws_get_library_version());
			return 0;
		}
		if (at + 1 == argc)
			break;
		if (!strcmp(argv[at], "--port"))
			info.port = number(argv[at + 1], &unit);
		else if (!strcmp(argv[at], "--pad"))
			pad = number(argv[at + 1], &unit);
		else if (!strcmp(argv[at], "--interval")) {
			interval_us = number(argv[at + 1], &unit) * 1000;
			if (*unit == 's')
				interval_us *= 1000;
		}
		at++;
	}
	if (pad > LONGEST - 64)
		pad = LONGEST - 64;
	signal(SIGPIPE, SIG_IGN);
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	lws_set_log_level(0, NULL);
	info.protocols = protocols;
	info.iface = "127.0.0.1";
	info.options = LWS_SERVER_OPTION_LIBEV | LWS_SERVER_OPTION_DISABLE_IPV6;
	info.pt_serv_buf_size = READ_BUFFER;
	context = lws_create_context(&info);
	if (!context) {
		fprintf(stderr, "libwebsockets: cannot listen on port %d, or libwebsockets-evlib-ev is missing\n", info.port);
		return 1;
	}
	due_us = monotonic_us() + interval_us;
	lws_sul_schedule(context, 0, &timer, tick, interval_us);
	while (lws_service(context, 0) >= 0)
		;
	lws_context_destroy(context);
	return 0;
}
