package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// execute runs a program. It ends the program when stdin closes. On Linux the
// program also ends when this process is killed.
func execute(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return wrongUsage("exec needs a program")
	}
	program := exec.CommandContext(ctx, args[0], args[1:]...)
	program.Stdout, program.Stderr = os.Stdout, os.Stderr
	program.SysProcAttr = childAttributes()
	program.Cancel = func() error { return program.Process.Signal(syscall.SIGTERM) }
	program.WaitDelay = 10 * time.Second
	err := program.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) && ctx.Err() == nil {
		return &failure{max(ended.ExitCode(), 1), args[0] + ": " + ended.String()}
	}
	if ctx.Err() != nil {
		return nil // ended by stdin or a signal
	}
	return err
}
