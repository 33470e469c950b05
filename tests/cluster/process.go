package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is one component of a cluster. It can be restarted.
type process struct {
	name string
	args []string // the program, then its arguments
	dir  string   // the folder of its log
	cmd  *exec.Cmd
	done chan struct{}
}

// start starts the process, and sends to ended when it has exited.
func (p *process) start(ended chan<- *process) error {
	log, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Dir = p.dir
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// The settings of another etcd, of a proxy, or in ~/.kwok must not apply.
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "TMPDIR=" + p.dir}
	p.cmd.SysProcAttr = childAttributes()
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	cmd, done := p.cmd, make(chan struct{})
	p.done = done
	go func() {
		cmd.Wait()
		close(done)
		ended <- p
	}()
	return nil
}

func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		killGroup(p.cmd.Process)
		<-p.done
	}
}

// wasKilled reports whether SIGKILL ended the process.
func (p *process) wasKilled() bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

func (p *process) logPath() string { return filepath.Join(p.dir, p.name+".log") }

func (p *process) logTail() string {
	log, _ := os.ReadFile(p.logPath())
	return lastLines(log, 20)
}

func lastLines(text []byte, count int) string {
	lines := strings.Split(string(bytes.TrimSpace(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}

func killGroup(leader *os.Process) error {
	return syscall.Kill(-leader.Pid, syscall.SIGKILL)
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

var errLocked = errors.New("locked by another process")

// tryLock locks a file until it is closed or this process ends.
func tryLock(path string, mode int) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|mode, 0o600)
	if err != nil {
		return nil, err
	}
	if err := relock(file); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func relock(file *os.File) error {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == syscall.EWOULDBLOCK {
		return errLocked
	}
	return err
}

func waitForLock(ctx context.Context, path, reason string) (*os.File, error) {
	for waiting := false; ; waiting = true {
		lock, err := tryLock(path, os.O_CREATE)
		if !errors.Is(err, errLocked) {
			return lock, err
		}
		if !waiting {
			say("%s; waiting for it", reason)
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

func sleep(ctx context.Context, duration time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(duration):
		return nil
	}
}
