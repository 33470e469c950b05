package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"
)

type runOptions struct {
	dir              string
	auditLog         bool
	untilStdinCloses bool
}

// description is the content of cluster.json, which tests read. The file is
// written when the cluster is ready.
type description struct {
	Kubeconfig string            `json:"kubeconfig"`
	Server     string            `json:"server"`
	Supervisor int               `json:"supervisor"`
	Pids       map[string]int    `json:"pids"`
	Ports      map[string]int    `json:"ports"`
	BinDir     string            `json:"binDir"`
	Binaries   map[string]string `json:"binaries"`
	AuditLog   string            `json:"auditLog,omitempty"`
}

type cluster struct {
	dir       string
	tools     *toolbox
	client    *http.Client
	about     description
	processes []*process // in the order of their start
	ended     chan *process
	held      []*process // killed and not restarted yet
}

// run starts a cluster, keeps it until ctx ends, and removes it.
func run(ctx context.Context, options runOptions) error {
	tools, err := build(ctx)
	if err != nil {
		return err
	}
	dir, lock, err := claimDir(options.dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	defer os.RemoveAll(dir)

	started := time.Now()
	c := &cluster{dir: dir, tools: tools, ended: make(chan *process, 2*len(components))}
	defer c.stop()
	if err := c.start(ctx, options.auditLog); err != nil {
		return err
	}
	if err := c.describe(); err != nil {
		return err
	}
	say("ready after %s in %s", time.Since(started).Round(100*time.Millisecond), dir)
	fmt.Println("export KUBECONFIG=" + c.about.Kubeconfig)
	return c.supervise(ctx)
}

// claimDir locks the folder of a cluster. The folder must be new or empty,
// because it is removed with its content.
func claimDir(dir string) (string, *os.File, error) {
	var err error
	if dir == "" {
		dir, err = os.MkdirTemp("", "phasegate-cluster-")
	} else if dir, err = filepath.Abs(dir); err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return "", nil, err
	}
	content, err := os.ReadDir(dir)
	if err != nil {
		return "", nil, err
	}
	if len(content) > 0 {
		return "", nil, fmt.Errorf("%s is not empty: name a new folder", dir)
	}
	lock, err := tryLock(filepath.Join(dir, "lock"), os.O_CREATE)
	if err != nil {
		return "", nil, err
	}
	// "cluster down" reads the process ID here.
	_, err = fmt.Fprintln(lock, os.Getpid())
	return dir, lock, err
}

func (c *cluster) file(name string) string { return filepath.Join(c.dir, name) }

func (c *cluster) describe() error {
	c.about.Supervisor = os.Getpid()
	c.about.BinDir = c.tools.dir
	c.about.Binaries = c.tools.path
	c.about.Pids = map[string]int{}
	for _, p := range c.processes {
		if !slices.Contains(c.held, p) {
			c.about.Pids[p.name] = p.cmd.Process.Pid
		}
	}
	text, err := json.MarshalIndent(c.about, "", "  ")
	if err != nil {
		return err
	}
	// Tests may read the file at any time, so that it is renamed into place.
	if err := os.WriteFile(c.file(".cluster.json"), append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(c.file(".cluster.json"), c.file("cluster.json"))
}

// supervise restarts a killed component on the same port, because tests of
// outages kill components. A component that exits otherwise ends the cluster.
func (c *cluster) supervise(ctx context.Context) error {
	for {
		// The removal of a .down file sends no event, so that held components are polled.
		var look <-chan time.Time
		if len(c.held) > 0 {
			look = time.After(100 * time.Millisecond)
		}
		select {
		case <-ctx.Done():
			return nil
		case p := <-c.ended:
			if !p.wasKilled() {
				return died(p)
			}
			say("%s was killed", p.name)
			c.held = append(c.held, p)
			if err := c.describe(); err != nil {
				return err
			}
		case <-look:
		}
		if err := c.startAgain(); err != nil {
			return err
		}
	}
}

// startAgain restarts the killed components that have no .down file.
func (c *cluster) startAgain() error {
	var held []*process
	for _, p := range c.held {
		if _, err := os.Stat(c.file(p.name + ".down")); err == nil {
			held = append(held, p)
			continue
		}
		say("starting %s again", p.name)
		if err := p.start(c.ended); err != nil {
			return err
		}
	}
	if len(held) == len(c.held) {
		return nil
	}
	c.held = held
	return c.describe()
}

func (c *cluster) stop() {
	for _, p := range slices.Backward(c.processes) {
		p.stop()
	}
}
