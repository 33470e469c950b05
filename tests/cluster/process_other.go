//go:build !linux

package main

import "syscall"

// childAttributes give a child its own process group, so that Ctrl-C in a
// terminal reaches only this program.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
