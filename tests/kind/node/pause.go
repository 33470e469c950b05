package main

import (
	"os"
	"os/signal"
	"syscall"
)

// The process that holds a pod's namespaces.
func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
}
