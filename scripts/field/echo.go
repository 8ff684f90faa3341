// Echo server with goroutines, for scripts/bench-field.
package main

import (
	"fmt"
	"log"
	"net"
	"runtime"
)

// As in io.Copy. That would use splice(2) here, which costs two more system calls per message.
const bufferBytes = 32 << 10

func main() {
	runtime.GOMAXPROCS(1)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("Listening on %s\n", listener.Addr())
	for {
		// Accepted connections have TCP_NODELAY.
		stream, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go echo(stream)
	}
}

func echo(stream net.Conn) {
	defer stream.Close()
	buffer := make([]byte, bufferBytes)
	for {
		received, err := stream.Read(buffer)
		if err != nil {
			return
		}
		if _, err := stream.Write(buffer[:received]); err != nil {
			return
		}
	}
}
