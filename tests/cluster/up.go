package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// up finds or starts the one background cluster. Its folder is "local" in the
// cache. The lock in that folder is held exactly while the cluster runs.
func up(ctx context.Context, options runOptions) error {
	if _, err := build(ctx); err != nil {
		return err
	}
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	starting, err := waitForLock(ctx, filepath.Join(cache, "local.starting"), `another "cluster up" is at work`)
	if err != nil {
		return err
	}
	defer starting.Close()

	dir := filepath.Join(cache, "local")
	logPath := filepath.Join(cache, "local.log")
	ended := make(chan struct{})
	lock, err := tryLock(filepath.Join(dir, "lock"), 0)
	if errors.Is(err, errLocked) {
		say("a cluster runs already")
	} else {
		if err == nil {
			lock.Close()
		}
		// A killed cluster leaves these behind.
		if err := errors.Join(os.RemoveAll(dir), os.RemoveAll(logPath)); err != nil {
			return err
		}
		if err := detach(dir, logPath, options.auditLog, ended); err != nil {
			return err
		}
		say("starting a cluster (its log: %s)", logPath)
	}

	deadline := time.After(readyTimeout + 10*time.Second)
	for {
		about, err := readDescription(dir)
		if err == nil {
			err = exec.CommandContext(ctx, about.Binaries["kubectl"], "--kubeconfig="+about.Kubeconfig,
				"--request-timeout=5s", "get", "--raw=/readyz").Run()
		}
		if err == nil {
			fmt.Println("export KUBECONFIG=" + about.Kubeconfig)
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New(`interrupted; the cluster goes on starting, "cluster down" ends it`)
		case <-ended:
			log, _ := os.ReadFile(logPath)
			return fmt.Errorf("the cluster did not start:\n%s", lastLines(log, 30))
		case <-deadline:
			return fmt.Errorf(`the cluster in %s is not ready: see %s; "cluster down" ends it`, dir, logPath)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// detach starts "cluster run" in its own session, so that it outlives this
// process and its terminal.
func detach(dir, logPath string, auditLog bool, ended chan<- struct{}) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(program, "run", "--dir", dir)
	if auditLog {
		cmd.Args = append(cmd.Args, "--audit-log")
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		cmd.Wait()
		close(ended)
	}()
	return nil
}

func readDescription(dir string) (about description, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "cluster.json"))
	if err == nil {
		err = json.Unmarshal(text, &about)
	}
	return about, err
}

func down(ctx context.Context) error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	dir := filepath.Join(cache, "local")
	lock, err := os.Open(filepath.Join(dir, "lock"))
	if errors.Is(err, os.ErrNotExist) {
		say("no cluster runs")
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := relock(lock); err == nil {
		say("no cluster runs; removing what a killed one left")
		return os.RemoveAll(dir)
	} else if !errors.Is(err, errLocked) {
		return err
	}

	text, err := io.ReadAll(lock)
	if err != nil {
		return err
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		return fmt.Errorf("%s: %w", lock.Name(), err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return err
	}
	say("ending the cluster in %s", dir)
	// The open file remains the same lock after the folder is removed.
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for relock(lock) != nil {
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("waiting for process %d to end: %w", pid, err)
		}
	}
	return nil
}
