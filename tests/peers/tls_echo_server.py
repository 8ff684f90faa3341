"""An echo server over TLS on a free port, a thread per connection."""
import socket
import ssl
import sys
import threading

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
context.minimum_version = context.maximum_version = ssl.TLSVersion[sys.argv[3]]


def serve(plain):
    try:
        stream = context.wrap_socket(plain, server_side=True)
        while part := stream.recv(65536):
            stream.sendall(part)
        stream.unwrap()
    except OSError as error:
        print(f"ended: {error}")
    plain.close()


with socket.create_server(("127.0.0.1", 0)) as listener:
    print("Listening on", listener.getsockname())
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
