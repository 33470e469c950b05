package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The number of requests per second on each way.
const rate = 100

// way sends requests to one target, over new connections or over kept-alive connections.
type way struct {
	url, host string
	client    *http.Client
	mutex     sync.Mutex
	Answers   map[string]int `json:"answers"`
	// The first responses other than 200, in order of arrival.
	Others []string `json:"others"`
}

// client sends requests to targets, each written as NAME=URL or NAME=URL,HOST. It serves the number of responses so far
// on port 8080. A request for /ask?url=URL&host=HOST makes it send one more request, and returns the response.
func client(targets []string) {
	ways := map[string]*way{}
	for _, target := range targets {
		name, where, found := strings.Cut(target, "=")
		if !found {
			log.Fatalf("%q is not NAME=URL", target)
		}
		url, host, _ := strings.Cut(where, ",")
		for kind, transport := range map[string]*http.Transport{
			"new":  {DisableKeepAlives: true},
			"kept": {MaxIdleConnsPerHost: 16},
		} {
			client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
			asked := &way{url: url, host: host, client: client, Answers: map[string]int{}, Others: []string{}}
			ways[name+", "+kind] = asked
			go asked.ask()
		}
	}
	report := func(response http.ResponseWriter, _ *http.Request) {
		for _, asked := range ways {
			asked.mutex.Lock()
			defer asked.mutex.Unlock()
		}
		_ = json.NewEncoder(response).Encode(ways)
	}
	http.HandleFunc("/", report)
	http.HandleFunc("/ask", pass)
	log.Fatal(http.ListenAndServe(":8080", nil))
}

func pass(response http.ResponseWriter, request *http.Request) {
	asked, err := http.NewRequest(http.MethodGet, request.FormValue("url"), nil)
	if err == nil {
		asked.Host = request.FormValue("host")
		var answer *http.Response
		if answer, err = http.DefaultClient.Do(asked); err == nil {
			defer answer.Body.Close()
			var body []byte
			if body, err = io.ReadAll(answer.Body); err == nil {
				_ = json.NewEncoder(response).Encode(map[string]any{"status": answer.StatusCode, "body": string(body)})
				return
			}
		}
	}
	_ = json.NewEncoder(response).Encode(map[string]any{"status": 0, "body": err.Error()})
}

// ask sends requests continuously, regardless of the responses. A slow response delays at most a few later requests.
func (w *way) ask() {
	const atOnce = 16
	places := make(chan struct{}, atOnce)
	for range time.Tick(time.Second / rate) {
		places <- struct{}{}
		go func() {
			w.note(w.once())
			<-places
		}()
	}
}

func (w *way) once() string {
	request, err := http.NewRequest(http.MethodGet, w.url, nil)
	if err != nil {
		return err.Error()
	}
	request.Host = w.host
	response, err := w.client.Do(request)
	if err == nil {
		defer response.Body.Close()
		if _, err = io.Copy(io.Discard, response.Body); err == nil {
			if response.StatusCode != http.StatusOK {
				// Until kube-proxy applies a new Service, its cluster IP leads elsewhere. A connection to that
				// server must not be reused.
				w.client.CloseIdleConnections()
			}
			return fmt.Sprint(response.StatusCode)
		}
	}
	// Equal errors are counted together, so that the addresses are left out.
	var of *net.OpError
	if errors.As(err, &of) {
		return of.Op + ": " + of.Err.Error()
	}
	return err.Error()
}

func (w *way) note(answer string) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.Answers[answer]++
	if answer != "200" && len(w.Others) < 20 {
		w.Others = append(w.Others, time.Now().UTC().Format("15:04:05.000 ")+answer)
	}
}
