/* Echo server with libevent's bufferevents, for scripts/bench-field. */

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BACKLOG 4096
/* Unsent bytes of a connection above which nothing is received. */
#define HIGH_WATER (64 << 10)

/* Moves the input to the output, without a copy. */
static void on_read(struct bufferevent *stream, void *context) {
    (void)context;
    struct evbuffer *output = bufferevent_get_output(stream);
    evbuffer_add_buffer(output, bufferevent_get_input(stream));
    if (evbuffer_get_length(output) > HIGH_WATER)
        bufferevent_disable(stream, EV_READ);
}

/* All output is sent. */
static void on_written(struct bufferevent *stream, void *context) {
    (void)context;
    if (!(bufferevent_get_enabled(stream) & EV_READ))
        bufferevent_enable(stream, EV_READ);
}

static void on_end(struct bufferevent *stream, short events, void *context);

/* All output is sent, and the input has ended. */
static void on_last_written(struct bufferevent *stream, void *context) {
    (void)context;
    bufferevent_free(stream);
}

/* After the end of the input, what is unsent is still sent. */
static void on_end(struct bufferevent *stream, short events, void *context) {
    (void)context;
    if (!(events & BEV_EVENT_EOF) || evbuffer_get_length(bufferevent_get_output(stream)) == 0)
        bufferevent_free(stream);
    else
        bufferevent_setcb(stream, NULL, on_last_written, on_end, NULL);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t descriptor, struct sockaddr *peer, int length,
                      void *context) {
    (void)peer, (void)length, (void)context;
    int on = 1;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct bufferevent *stream =
        bufferevent_socket_new(evconnlistener_get_base(listener), descriptor, BEV_OPT_CLOSE_ON_FREE);
    if (!stream) {
        evutil_closesocket(descriptor);
        return;
    }
    bufferevent_setcb(stream, on_read, on_written, on_end, NULL);
    bufferevent_enable(stream, EV_READ | EV_WRITE);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    struct event_base *base = event_base_new();
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    unsigned flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE;
    struct evconnlistener *listener =
        base ? evconnlistener_new_bind(base, on_accept, NULL, flags, BACKLOG, (struct sockaddr *)&address, length) : NULL;
    if (!listener || getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&address, &length) < 0) {
        perror("cannot listen");
        return 1;
    }
    printf("Listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return event_base_dispatch(base) < 0;
}
