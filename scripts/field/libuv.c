/* Echo server with libuv, for scripts/bench-field. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define BACKLOG 4096

/* Of all connections: what the socket does not accept at once is copied. */
static char buffer[64 << 10];

struct rest {
    uv_write_t request;
    char bytes[];
};

static void check(int status, const char *what) {
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", what, uv_strerror(status));
        exit(1);
    }
}

static void on_closed(uv_handle_t *handle) {
    free(handle);
}

static void close_stream(uv_stream_t *stream) {
    if (!uv_is_closing((uv_handle_t *)stream))
        uv_close((uv_handle_t *)stream, on_closed);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out) {
    (void)handle, (void)suggested;
    *out = uv_buf_init(buffer, sizeof buffer);
}

static void on_read(uv_stream_t *stream, ssize_t received, const uv_buf_t *from);

static void on_written(uv_write_t *request, int status) {
    uv_stream_t *stream = request->handle;
    free(request->data);
    if (status < 0 || uv_read_start(stream, on_alloc, on_read) < 0)
        close_stream(stream);
}

/* Writes later, and receives nothing until then. */
static int write_later(uv_stream_t *stream, const char *bytes, size_t length) {
    struct rest *rest = malloc(sizeof *rest + length);
    if (!rest)
        return UV_ENOMEM;
    memcpy(rest->bytes, bytes, length);
    rest->request.data = rest;
    uv_read_stop(stream);
    uv_buf_t out = uv_buf_init(rest->bytes, length);
    int status = uv_write(&rest->request, stream, &out, 1, on_written);
    if (status < 0)
        free(rest);
    return status;
}

static void on_read(uv_stream_t *stream, ssize_t received, const uv_buf_t *from) {
    if (received == 0)
        return;
    int status = received;
    if (received > 0) {
        uv_buf_t out = uv_buf_init(from->base, received);
        status = uv_try_write(stream, &out, 1);
        if (status == UV_EAGAIN)
            status = 0;
        if (status >= 0 && status < received)
            status = write_later(stream, from->base + status, received - status);
    }
    if (status < 0)
        close_stream(stream);
}

static void on_connection(uv_stream_t *listener, int status) {
    check(status, "accept");
    uv_tcp_t *stream = malloc(sizeof *stream);
    if (!stream)
        return check(UV_ENOMEM, "accept");
    check(uv_tcp_init(listener->loop, stream), "socket");
    if (uv_accept(listener, (uv_stream_t *)stream) < 0 || uv_tcp_nodelay(stream, 1) < 0 ||
        uv_read_start((uv_stream_t *)stream, on_alloc, on_read) < 0)
        close_stream((uv_stream_t *)stream);
}

int main(void) {
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t listener;
    struct sockaddr_in address;
    int length = sizeof address;
    check(uv_ip4_addr("127.0.0.1", 0, &address), "address");
    check(uv_tcp_init(loop, &listener), "socket");
    check(uv_tcp_bind(&listener, (struct sockaddr *)&address, 0), "bind");
    check(uv_listen((uv_stream_t *)&listener, BACKLOG, on_connection), "listen");
    check(uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &length), "getsockname");
    printf("Listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return uv_run(loop, UV_RUN_DEFAULT);
}
