// A gateway for tests on real nodes. It responds with a description of the request and of itself, and its environment
// variables set its faults.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "client" {
		client(os.Args[2:])
	}
	// "EXIT=3" makes it log a line and exit at once with that code.
	if code := os.Getenv("EXIT"); code != "" {
		log.Print("told to end with exit code " + code)
		os.Exit(int(code[0] - '0'))
	}
	// "GROW=true" makes it allocate memory until it is killed.
	for held := [][]byte{}; os.Getenv("GROW") == "true"; {
		block := make([]byte, 1<<20)
		for i := range block {
			block[i] = 1
		}
		held = append(held, block)
	}
	wait("LISTEN_AFTER")

	address := os.Getenv("LISTEN")
	if address == "" {
		address = ":8080"
	}
	server := &http.Server{Addr: address, ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(answer)}
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-told
		if os.Getenv("IGNORE_SIGTERM") == "true" {
			return
		}
		wait("END_AFTER")
		ending, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(ending); err != nil {
			log.Print(err)
		}
		os.Exit(0)
	}()
	log.Fatal(server.ListenAndServe())
}

func wait(variable string) {
	if value := os.Getenv(variable); value != "" {
		duration, err := time.ParseDuration(value)
		if err != nil {
			log.Fatalf("%s: %v", variable, err)
		}
		time.Sleep(duration)
	}
}

// answer responds with the pod's name, the ECHO_ variables, and the host and path of the request.
func answer(response http.ResponseWriter, request *http.Request) {
	if status := os.Getenv("HEALTH"); request.URL.Path == "/healthz" && status != "" && status != "200" {
		http.Error(response, "told to be unwell", http.StatusInternalServerError)
		return
	}
	pod, _ := os.Hostname()
	variables := map[string]string{}
	for _, variable := range os.Environ() {
		if name, value, found := strings.Cut(variable, "="); found && strings.HasPrefix(name, "ECHO_") {
			variables[name] = value
		}
	}
	response.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(response).Encode(map[string]any{
		"host": request.Host, "path": request.URL.Path, "pod": pod, "variables": variables,
	})
}
